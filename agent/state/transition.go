package state

import (
	"cmp"
	"slices"
)

// A Transition says how an event changed the checks that a pod fails. Both sides hold the indexes of the checks, each
// once, in the order of the table.
type Transition struct {
	// Before is what the pod failed before the event, After what it fails now.
	Before, After []int
	// Recreated says that the event replaced a pod by another one of the same name: what failed Before is gone.
	Recreated bool
}

// Changed tells whether there is anything to say about the event.
func (t Transition) Changed() bool {
	return !slices.Equal(t.Before, t.After) || t.Recreated && len(t.After) > 0
}

// transition compares two contributions of a pod, of which either may be none.
func (s *ClusterState) transition(before, after contribution) Transition {
	return Transition{
		Before:    s.failedChecks(before),
		After:     s.failedChecks(after),
		Recreated: otherUID(before.uid, after.uid),
	}
}

// failedChecks lists the checks of violations that no waiver accepts. Violations are in the order of the table.
func (s *ClusterState) failedChecks(c contribution) []int {
	if c.judgement == nil {
		return nil
	}
	var checks []int
	for _, v := range c.violations {
		if n := len(checks); !s.waived(v) && (n == 0 || checks[n-1] != v.Check) {
			checks = append(checks, v.Check)
		}
	}
	return checks
}

func (p Pod) compare(other Pod) int {
	return cmp.Or(cmp.Compare(p.Namespace, other.Namespace), cmp.Compare(p.Name, other.Name))
}
