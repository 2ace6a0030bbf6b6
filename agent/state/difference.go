package state

import (
	"bytes"
	"reflect"
	"slices"
)

// Differences lists the namespaces in which two states under one table differ, sorted: in a count, in which pods there
// are, or in what is known of one. Waivers count as they do at the moment of each state.
func (s *ClusterState) Differences(other *ClusterState) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	other.mu.RLock()
	defer other.mu.RUnlock()
	c := comparison{s, other, make(map[[2]uint32]bool)}
	var names []string
	for name, ns := range s.namespaces {
		if !c.same(ns, other.namespaces[name]) {
			names = append(names, name)
		}
	}
	for name := range other.namespaces {
		if s.namespaces[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// A comparison is one of two states. Both locks are held.
type comparison struct {
	one, other *ClusterState
	interned   map[[2]uint32]bool // whether two interned, one of each, are the same
}

// same tells whether two namespaces are, of which the other may not be there.
func (c *comparison) same(one, other *NamespaceState) bool {
	if other == nil || one.pods.pods != other.pods.pods || !reflect.DeepEqual(one.LiveMetrics, other.LiveMetrics) {
		return false
	}
	for reference := range one.pods.all() {
		pod := one.pods.at(reference)
		_, there, ok := other.pods.find(pod.name)
		if !ok || !bytes.Equal(pod.uid, there.uid) || !c.sameVerdict(pod.judgement, there.judgement) {
			return false
		}
	}
	return true
}

func (c *comparison) sameVerdict(one, other uint32) bool {
	pair := [2]uint32{one, other}
	same, known := c.interned[pair]
	if !known {
		same = c.one.interned.byID[one].is(c.other.interned.byID[other])
		c.interned[pair] = same
	}
	return same
}
