package state

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/kube-devops/kube-devops/rules"
)

// A Snapshot is the state at one moment. Later changes of the state do not affect it.
type Snapshot struct {
	Table *rules.Table
	// Namespaces are sorted by name. Each has pods that are not excluded, but maybe none that could be evaluated.
	Namespaces []NamespaceSnapshot
	// Skipped counts the pods that the table excludes, by reason.
	Skipped map[string]int

	violating []violatingNamespace // sorted by name; empty unless violations were requested
	now       time.Time
}

// NamespaceSnapshot are the counts of one namespace.
type NamespaceSnapshot struct {
	Name string
	LiveMetrics
}

// A violatingNamespace is a namespace and those of its pods that have violations or mistakes, sorted by name.
type violatingNamespace struct {
	name string
	pods []violatingPod
}

type violatingPod struct {
	name    string
	verdict *internedVerdict
}

// PodViolation is one violation and its pod, named without its UID. Pods may share the violation, which is immutable.
type PodViolation struct {
	Pod
	*rules.Violation
	// Verdict has all violations of the pod; Violation is the one at Index.
	Verdict []rules.Violation
	Index   int
	// Origin is what Put was given; nil for none.
	Origin any
}

// Violations are those without an active waiver, sorted by namespace, pod, check and subject.
func (s *Snapshot) Violations() iter.Seq[PodViolation] { return s.filter(false) }

// Waived are the violations with an active waiver, sorted as the others.
func (s *Snapshot) Waived() iter.Seq[PodViolation] { return s.filter(true) }

func (s *Snapshot) filter(waived bool) iter.Seq[PodViolation] {
	return func(yield func(PodViolation) bool) {
		for v, accepted := range s.AllViolations() {
			if accepted == waived && !yield(v) {
				return
			}
		}
	}
}

// AllViolations are all violations, sorted, each with whether it has an active waiver.
func (s *Snapshot) AllViolations() iter.Seq2[PodViolation, bool] {
	return func(yield func(PodViolation, bool) bool) {
		for _, ns := range s.violating {
			for _, pod := range ns.pods {
				for i := range pod.verdict.violations {
					v := &pod.verdict.violations[i]
					if !yield(PodViolation{Pod{Namespace: ns.name, Name: pod.name}, v, pod.verdict.violations, i, pod.verdict.origin}, waived(v, s.now)) {
						return
					}
				}
			}
		}
	}
}

// A PodMistake is a line of the annotation of a pod that accepts nothing.
type PodMistake struct {
	Pod
	Text string
	// Origin is what Put was given; nil for none.
	Origin any
}

// Mistakes are those in annotations of pods, sorted by namespace and pod.
func (s *Snapshot) Mistakes() iter.Seq[PodMistake] {
	return func(yield func(PodMistake) bool) {
		for _, ns := range s.violating {
			for _, pod := range ns.pods {
				for _, text := range pod.verdict.mistakes {
					if !yield(PodMistake{Pod{Namespace: ns.name, Name: pod.name}, text, pod.verdict.origin}) {
						return
					}
				}
			}
		}
	}
}

// Time is that at which the waivers were evaluated.
func (s *Snapshot) Time() time.Time { return s.now }

// Active reports whether a waiver has not expired at the time of the snapshot.
func (s *Snapshot) Active(w *rules.Waiver) bool { return w.Active(s.now) }

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
	snap := s.copyCounts()
	s.mu.RUnlock()
	snap.sort()
	return snap
}

// SnapshotWithViolations copies the counts, and 24 bytes for each pod that has violations.
func (s *ClusterState) SnapshotWithViolations() *Snapshot {
	s.mu.RLock()
	snap := s.copyCounts()
	for name, ns := range s.namespaces {
		snap.copyViolations(name, ns)
	}
	s.mu.RUnlock()
	snap.sort()
	return snap
}

// SnapshotOf is SnapshotWithViolations for one namespace: Skipped counts only its pods.
func (s *ClusterState) SnapshotOf(namespace string) *Snapshot {
	s.mu.RLock()
	snap := &Snapshot{Table: s.table, Skipped: make(map[string]int), now: s.now}
	if ns := s.namespaces[namespace]; ns != nil {
		snap.copyCounts(namespace, ns)
		snap.copyViolations(namespace, ns)
		for _, pod := range ns.pods {
			if reason := pod.verdict.skipReason; reason != "" {
				snap.Skipped[reason]++
			}
		}
	}
	s.mu.RUnlock()
	snap.sort()
	return snap
}

// copyCounts makes a snapshot that is not sorted. The caller holds s.mu.
func (s *ClusterState) copyCounts() *Snapshot {
	snap := &Snapshot{
		Table: s.table, Namespaces: make([]NamespaceSnapshot, 0, len(s.namespaces)), Skipped: maps.Clone(s.skipped), now: s.now,
	}
	for name, ns := range s.namespaces {
		snap.copyCounts(name, ns)
	}
	return snap
}

// copyCounts adds the counts of a namespace, unless all its pods are excluded.
func (s *Snapshot) copyCounts(name string, ns *namespaceState) {
	m := ns.LiveMetrics
	if m.TotalPods == 0 && m.Unevaluated == 0 {
		return
	}
	m.Violations, m.Subjects = slices.Clone(m.Violations), slices.Clone(m.Subjects)
	m.Waived, m.Unknown = slices.Clone(m.Waived), slices.Clone(m.Unknown)
	s.Namespaces = append(s.Namespaces, NamespaceSnapshot{name, m})
}

// copyViolations adds the pods of a namespace that have violations or mistakes.
func (s *Snapshot) copyViolations(name string, ns *namespaceState) {
	violating := violatingNamespace{name: name}
	for name, pod := range ns.pods {
		if len(pod.verdict.violations) > 0 || len(pod.verdict.mistakes) > 0 {
			violating.pods = append(violating.pods, violatingPod{name, pod.verdict})
		}
	}
	if len(violating.pods) > 0 {
		s.violating = append(s.violating, violating)
	}
}

// sort runs without the lock, so that it does not delay changes of the state.
func (s *Snapshot) sort() {
	slices.SortFunc(s.Namespaces, func(a, b NamespaceSnapshot) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(s.violating, func(a, b violatingNamespace) int { return cmp.Compare(a.name, b.name) })
	for _, ns := range s.violating {
		slices.SortFunc(ns.pods, func(a, b violatingPod) int { return cmp.Compare(a.name, b.name) })
	}
}
