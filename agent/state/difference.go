package state

import (
	"maps"
	"reflect"
	"slices"
)

// Differences lists the namespaces in which two states under one table differ, sorted: in a count, in their pods, or in what
// is known of a pod. Waivers count as they do at the time of each state.
func (s *ClusterState) Differences(other *ClusterState) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	other.mu.RLock()
	defer other.mu.RUnlock()
	differ := make(map[string]bool)
	for name, ns := range s.namespaces {
		if !ns.equal(other.namespaces[name]) {
			differ[name] = true
		}
	}
	for name := range other.namespaces {
		if s.namespaces[name] == nil {
			differ[name] = true
		}
	}
	return slices.Sorted(maps.Keys(differ))
}

// equal compares two namespaces; other may be nil.
func (ns *namespaceState) equal(other *namespaceState) bool {
	return other != nil && reflect.DeepEqual(ns.LiveMetrics, other.LiveMetrics) &&
		maps.EqualFunc(ns.pods, other.pods, func(a, b podState) bool { return a.uid == b.uid && a.verdict.equal(b.verdict) })
}
