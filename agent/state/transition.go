package state

import "slices"

// A Transition says how an event changed the checks that a pod fails. Both sides hold the indexes of the checks, each once, in
// the order of the table.
type Transition struct {
	// Before lists the checks that the pod failed before the event, After those it fails now.
	Before, After []int
	// Recreated says that the event replaced a pod by another one of the same name: what failed Before is gone.
	Recreated bool
}

// Changed reports whether the event changed what fails.
func (t Transition) Changed() bool {
	return !slices.Equal(t.Before, t.After) || t.Recreated && len(t.After) > 0
}

// transition compares two states of a pod; either may be zero. The caller holds s.mu.
func (s *ClusterState) transition(before, after podState) Transition {
	return Transition{
		Before:    s.failedChecks(before.verdict),
		After:     s.failedChecks(after.verdict),
		Recreated: before.uid.differs(after.uid),
	}
}

// failedChecks lists the checks of the violations without an active waiver. Violations are in the order of the table. The
// caller holds s.mu.
func (s *ClusterState) failedChecks(verdict *internedVerdict) []int {
	if verdict == nil {
		return nil
	}
	var checks []int
	for _, v := range verdict.violations {
		if n := len(checks); !waived(&v, s.now) && (n == 0 || checks[n-1] != v.Check) {
			checks = append(checks, v.Check)
		}
	}
	return checks
}
