package state

import (
	"slices"
	"time"

	"github.com/kube-devops/kube-devops/rules"
)

// A Change is a pod, named without its UID, and how its violations changed.
type Change struct {
	Pod
	Transition
}

// ExpireWaivers moves the time at which waivers are evaluated forward to now. Violations whose waiver has expired count
// again. It returns the pods that fail other checks than before, sorted. An earlier time than the current one changes
// nothing.
func (s *ClusterState) ExpireWaivers(now time.Time) []Change {
	// The date of a waiver is one of the wall clock, so that this is the clock that must not go backward: with its
	// monotonic reading a later time may name an earlier date.
	now = now.Round(0)
	if moment := s.moment(); !now.After(moment) || !s.expiresBetween(moment, now) {
		s.advance(now)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.now
	if !now.After(before) {
		return nil // somebody else has moved it further meanwhile
	}
	var changes []Change
	for namespace, ns := range s.namespaces {
		for reference := range ns.pods.all() {
			known := ns.pods.at(reference)
			c := s.contributed(known)
			if !slices.ContainsFunc(c.violations, func(v rules.Violation) bool { return expires(v.Waiver, before, now) }) {
				continue
			}
			s.now = before
			failed := s.failedChecks(c)
			s.count(ns, c, -1)
			s.now = now
			s.count(ns, c, +1)
			if t := (Transition{Before: failed, After: s.failedChecks(c)}); t.Changed() {
				changes = append(changes, Change{Pod{Namespace: namespace, Name: known.name}, t})
			}
		}
	}
	s.now = now
	slices.SortFunc(changes, func(a, b Change) int { return a.compare(b.Pod) })
	return changes
}

// NextExpiry is when the next waiver expires; false where none will.
func (s *ClusterState) NextExpiry() (time.Time, bool) {
	now := s.moment()
	var next time.Time
	for _, w := range s.table.Waivers() {
		if w.Active(now) && (next.IsZero() || w.Expires.Before(next)) {
			next = w.Expires
		}
	}
	return next, !next.IsZero()
}

func (s *ClusterState) moment() time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now
}

// advance moves the moment where no waiver is in between.
func (s *ClusterState) advance(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.After(s.now) {
		s.now = now
	}
}

func (s *ClusterState) expiresBetween(before, now time.Time) bool {
	return slices.ContainsFunc(s.table.Waivers(), func(w *rules.Waiver) bool { return expires(w, before, now) })
}

// expires tells whether a waiver holds at one moment and no longer at the other.
func expires(w *rules.Waiver, before, now time.Time) bool {
	return w != nil && w.Active(before) && !w.Active(now)
}
