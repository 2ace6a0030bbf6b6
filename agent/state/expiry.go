package state

import (
	"slices"
	"time"

	"github.com/kube-devops/kube-devops/rules"
)

// A Change is a pod, named without its UID, and how the checks that it fails changed.
type Change struct {
	Pod
	Transition
}

// ExpireWaivers moves the time at which waivers are evaluated forward to now. Violations whose waiver has expired count
// again. It returns the pods that fail other checks than before, sorted. A time before the current one changes nothing.
func (s *ClusterState) ExpireWaivers(now time.Time) []Change {
	// Waivers expire by the wall clock, so it is the wall clock that must not go backward: with its monotonic reading a later
	// time may have an earlier date.
	now = now.Round(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.now
	if !now.After(before) {
		return nil
	}
	s.now = now
	expires := func(w *rules.Waiver) bool { return w != nil && w.Active(before) && !w.Active(now) }
	if !slices.ContainsFunc(s.table.Waivers(), expires) && !s.expiries.within(before, now) {
		return nil
	}
	var changes []Change
	for namespace, ns := range s.namespaces {
		for name, pod := range ns.pods {
			if !slices.ContainsFunc(pod.verdict.violations, func(v rules.Violation) bool { return expires(v.Waiver) }) {
				continue
			}
			s.now = before
			failed := s.failedChecks(pod.verdict)
			s.count(ns, pod.verdict, -1)
			s.now = now
			s.count(ns, pod.verdict, +1)
			if t := (Transition{Before: failed, After: s.failedChecks(pod.verdict)}); t.Changed() {
				changes = append(changes, Change{Pod{Namespace: namespace, Name: name}, t})
			}
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return a.compare(b.Pod) })
	return changes
}

// NextExpiry is when the next waiver expires; false if none will.
func (s *ClusterState) NextExpiry() (time.Time, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	now := s.now
	var next time.Time
	for _, w := range s.table.Waivers() {
		if w.Active(now) && (next.IsZero() || w.Expires.Before(next)) {
			next = w.Expires
		}
	}
	for at := range s.expiries {
		if at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next, !next.IsZero()
}

// expiries counts the interned violations that an annotation of a pod accepts, by the moment until which it does. The moments are days,
// so they are few.
type expiries map[time.Time]int

// count adds the violations of an interned verdict, or subtracts them.
func (e expiries) count(verdict *internedVerdict, sign int) {
	for i := range verdict.violations {
		if w := verdict.violations[i].Waiver; w != nil && w.FromAnnotation() {
			if e[w.Expires] += sign; e[w.Expires] == 0 {
				delete(e, w.Expires)
			}
		}
	}
}

// within reports whether one of the moments is after before, and not after now.
func (e expiries) within(before, now time.Time) bool {
	for at := range e {
		if before.Before(at) && !now.Before(at) {
			return true
		}
	}
	return false
}

func (s *ClusterState) time() time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.now
}

// waived reports whether a waiver accepts the violation at that time.
func waived(v *rules.Violation, now time.Time) bool { return v.Waiver != nil && v.Waiver.Active(now) }
