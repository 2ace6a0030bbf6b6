package state

import (
	"cmp"
	"iter"
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

	judged   []judgedNamespace // sorted by name; where violations were asked for
	interned []*judgement      // by number
	now      time.Time
}

// A judgedNamespace are the pods of one namespace that have violations, sorted by name.
type judgedNamespace struct {
	name string
	pods frozen
}

// NamespaceSnapshot are the counts of one namespace.
type NamespaceSnapshot struct {
	Name string
	LiveMetrics
}

// PodViolation is one violation and the pod that has it, named without its UID. Pods that are alike share the violation,
// which nobody changes.
type PodViolation struct {
	Pod
	*rules.Violation
	// Index is the position of the violation in the verdict of the pod.
	Index int
	// Origin is what the source told of the pod; nil where it told nothing.
	Origin any
}

// Violations are those that count, sorted by namespace, pod, check and subject; none where they were not asked for.
func (s *Snapshot) Violations() iter.Seq[PodViolation] { return s.those(false) }

// Waived are the violations that a waiver accepts, sorted as the others.
func (s *Snapshot) Waived() iter.Seq[PodViolation] { return s.those(true) }

func (s *Snapshot) those(waived bool) iter.Seq[PodViolation] {
	return func(yield func(PodViolation) bool) {
		for v, accepted := range s.AllViolations() {
			if accepted == waived && !yield(v) {
				return
			}
		}
	}
}

// AllViolations are those that count and those that do not, sorted, each with whether a waiver accepts it.
func (s *Snapshot) AllViolations() iter.Seq2[PodViolation, bool] {
	return func(yield func(PodViolation, bool) bool) {
		for i := range s.judged {
			ns := &s.judged[i]
			for _, reference := range ns.pods.references {
				pod := ns.pods.at(reference)
				j := s.interned[pod.judgement]
				for i := range j.violations {
					v := &j.violations[i]
					if !yield(PodViolation{Pod{Namespace: ns.name, Name: pod.name}, v, i, j.origin}, waives(v.Waiver, s.now)) {
						return
					}
				}
			}
		}
	}
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
		for i, n := range ns.Unknown {
			sum.addUnknown(i, n)
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

// SnapshotWithViolations copies the counts, and what the violations of the same moment can be told from: a few bytes for
// each pod that has any.
func (s *ClusterState) SnapshotWithViolations() *Snapshot {
	snap := s.withViolations()
	// Who changes the state does not wait for what follows.
	for i := range snap.judged {
		snap.judged[i].pods.sort()
	}
	slices.SortFunc(snap.judged, func(a, b judgedNamespace) int { return cmp.Compare(a.name, b.name) })
	return snap
}

func (s *ClusterState) withViolations() *Snapshot {
	s.mu.RLock()
	defer s.mu.RUnlock()
	snap := s.snapshot()
	snap.interned, snap.now = slices.Clone(s.interned.byID), s.now
	for name, ns := range s.namespaces {
		violates := func(reference uint32) bool {
			return len(snap.interned[ns.pods.judgementAt(reference)].violations) > 0
		}
		n := 0
		for reference := range ns.pods.all() {
			if violates(reference) {
				n++
			}
		}
		references := make([]uint32, 0, n)
		for reference := range ns.pods.all() {
			if violates(reference) {
				references = append(references, reference)
			}
		}
		if n > 0 {
			snap.judged = append(snap.judged, judgedNamespace{name, ns.pods.freeze(references)})
		}
	}
	return snap
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
		m.Unknown = slices.Clone(m.Unknown)
		snap.Namespaces = append(snap.Namespaces, NamespaceSnapshot{name, m})
	}
	slices.SortFunc(snap.Namespaces, func(a, b NamespaceSnapshot) int { return cmp.Compare(a.Name, b.Name) })
	return snap
}
