package state

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/kube-devops/kube-devops/rules"
)

// A Snapshot is the state at one moment. It shares nothing with the live state.
type Snapshot struct {
	Table *rules.Table
	// Namespaces are sorted by name. Each has pods that count, though there may be no verdict of any of them.
	Namespaces []NamespaceSnapshot
	// Skipped counts the pods that the table leaves out, by reason.
	Skipped map[string]int
	// Violations are sorted by namespace, pod, check and subject; nil where they were not asked for.
	Violations []PodViolation
	// Waived are the violations that a waiver accepts, sorted and asked for as the others.
	Waived []PodViolation
}

// NamespaceSnapshot are the counts of one namespace.
type NamespaceSnapshot struct {
	Name string
	LiveMetrics
}

// PodViolation is one violation and the pod that has it. Pods that are alike share the violation, which nobody changes.
type PodViolation struct {
	Pod
	*rules.Violation
}

// Totals sums the counts of the namespaces.
func (s *Snapshot) Totals() LiveMetrics {
	checks := len(s.Table.Checks())
	sum := newLiveMetrics(checks)
	for _, ns := range s.Namespaces {
		sum.TotalPods += ns.TotalPods
		sum.Unevaluated += ns.Unevaluated
		for i := range checks {
			sum.Violations[i] += ns.Violations[i]
			sum.Subjects[i] += ns.Subjects[i]
			sum.Waived[i] += ns.Waived[i]
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
	snap, pods, now := s.withPods()
	// Who changes the state does not wait for what follows: judgements do not change.
	slices.SortFunc(pods, func(a, b judgedPod) int { return a.compare(b.Pod) })
	violations, waived := 0, 0
	for _, ns := range snap.Namespaces {
		for check := range ns.Violations {
			violations += ns.Violations[check]
			waived += ns.Waived[check]
		}
	}
	// Exact sizes: a large cluster has more violations than anything else.
	snap.Violations = make([]PodViolation, 0, violations)
	if waived > 0 {
		snap.Waived = make([]PodViolation, 0, waived)
	}
	for _, p := range pods {
		for i := range p.violations {
			v := &p.violations[i]
			into := &snap.Violations
			if v.Waiver != nil && v.Waiver.Active(now) {
				into = &snap.Waived
			}
			*into = append(*into, PodViolation{p.Pod, v})
		}
	}
	return snap
}

// A judgedPod is a pod that has violations.
type judgedPod struct {
	Pod
	*judgement
}

// withPods copies the counts, and which pods have violations, and says for which moment.
func (s *ClusterState) withPods() (*Snapshot, []judgedPod, time.Time) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	for _, j := range s.judgements.byHash {
		for ; j != nil; j = j.next {
			if len(j.violations) > 0 {
				n += j.pods
			}
		}
	}
	pods := make([]judgedPod, 0, n)
	for namespace, ns := range s.namespaces {
		for name, c := range ns.pods {
			if len(c.violations) > 0 {
				pods = append(pods, judgedPod{Pod{namespace, name, c.uid}, c.judgement})
			}
		}
	}
	return s.snapshot(), pods, s.now
}

// snapshot copies the counts; the lock is held.
func (s *ClusterState) snapshot() *Snapshot {
	snap := &Snapshot{
		Table:      s.table,
		Namespaces: make([]NamespaceSnapshot, 0, len(s.namespaces)),
		Skipped:    maps.Clone(s.skipped),
	}
	checks := len(s.table.Checks())
	counts := make([]int, 0, 3*checks*len(s.namespaces)) // one allocation for all
	copied := func(from []int) []int {
		counts = append(counts, from...)
		return counts[len(counts)-len(from) : len(counts) : len(counts)]
	}
	for name, ns := range s.namespaces {
		m := ns.LiveMetrics
		if m.TotalPods == 0 && m.Unevaluated == 0 {
			continue // all its pods are left out
		}
		m.Violations, m.Subjects, m.Waived = copied(m.Violations), copied(m.Subjects), copied(m.Waived)
		snap.Namespaces = append(snap.Namespaces, NamespaceSnapshot{name, m})
	}
	slices.SortFunc(snap.Namespaces, func(a, b NamespaceSnapshot) int { return cmp.Compare(a.Name, b.Name) })
	return snap
}
