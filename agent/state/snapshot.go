package state

import (
	"cmp"
	"slices"

	"github.com/kube-devops/kube-devops/rules"
)

// A Snapshot is the state at one moment. It shares nothing with the live state.
type Snapshot struct {
	Table *rules.Table
	// Namespaces are sorted by name. Each has pods, though there may be no verdict of any of them.
	Namespaces []NamespaceSnapshot
	// Violations are sorted by namespace, pod, check and subject; nil where they were not asked for.
	Violations []PodViolation
}

// NamespaceSnapshot are the counts of one namespace.
type NamespaceSnapshot struct {
	Name string
	LiveMetrics
}

// PodViolation is one violation and the pod that has it.
type PodViolation struct {
	Pod
	rules.Violation
}

// Totals sums the counts of the namespaces.
func (s *Snapshot) Totals() LiveMetrics {
	checks := len(s.Table.Checks())
	sum := LiveMetrics{Violations: make([]int, checks), Subjects: make([]int, checks)}
	for _, ns := range s.Namespaces {
		sum.TotalPods += ns.TotalPods
		sum.Unevaluated += ns.Unevaluated
		for i := range checks {
			sum.Violations[i] += ns.Violations[i]
			sum.Subjects[i] += ns.Subjects[i]
		}
	}
	return sum
}

// Snapshot copies the counts.
func (s *ClusterState) Snapshot() *Snapshot {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.snapshot()
}

// SnapshotWithViolations copies the counts and the violations of the same moment.
func (s *ClusterState) SnapshotWithViolations() *Snapshot {
	snap := s.withViolations()
	// The violations of a pod are in order already, and the sort is stable.
	slices.SortStableFunc(snap.Violations, func(a, b PodViolation) int { return a.compare(b.Pod) })
	return snap
}

func (s *ClusterState) withViolations() *Snapshot {
	s.mu.RLock()
	defer s.mu.RUnlock()
	snap := s.snapshot()
	snap.Violations = []PodViolation{}
	for namespace, ns := range s.namespaces {
		for name, c := range ns.pods {
			for _, v := range c.violations {
				snap.Violations = append(snap.Violations, PodViolation{Pod{namespace, name, c.uid}, v})
			}
		}
	}
	return snap
}

// snapshot copies the counts; the lock is held.
func (s *ClusterState) snapshot() *Snapshot {
	snap := &Snapshot{Table: s.table, Namespaces: make([]NamespaceSnapshot, 0, len(s.namespaces))}
	checks := len(s.table.Checks())
	counts := make([]int, 0, 2*checks*len(s.namespaces)) // one allocation for all
	copied := func(from []int) []int {
		counts = append(counts, from...)
		return counts[len(counts)-len(from) : len(counts) : len(counts)]
	}
	for name, ns := range s.namespaces {
		m := ns.LiveMetrics
		m.Violations, m.Subjects = copied(m.Violations), copied(m.Subjects)
		snap.Namespaces = append(snap.Namespaces, NamespaceSnapshot{name, m})
	}
	slices.SortFunc(snap.Namespaces, func(a, b NamespaceSnapshot) int { return cmp.Compare(a.Name, b.Name) })
	return snap
}
