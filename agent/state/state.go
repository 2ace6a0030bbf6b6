// Package state keeps the live state of a cluster: what each pod contributes to the counts of its namespace, and the
// scores that follow from the counts. It is pure, and does not know where a pod comes from.
//
// The invariant: the state after any sequence of events equals the state computed from scratch from the pods that
// remain. It holds because each pod's verdict is kept, and is taken away again before another one, or none, replaces it.
package state

import (
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kube-devops/kube-devops/rules"
)

// Pod names one pod.
type Pod struct {
	Namespace, Name string
	// UID tells a pod from a later one of the same name. It may be empty where it is not known.
	UID string
}

// LiveMetrics are the running counts of one namespace.
type LiveMetrics struct {
	// TotalPods counts the pods that were evaluated.
	TotalPods int
	// Violations and Subjects hold a count for each check, in the order of the table.
	Violations, Subjects []int
	// Waived counts, for each check, the violations that a waiver accepts; neither they nor their subjects are in the
	// counts above.
	Waived []int
	// Unevaluated counts the pods of which there is no verdict; they are in no other count.
	Unevaluated int
}

func newLiveMetrics(checks int) LiveMetrics {
	return LiveMetrics{Violations: make([]int, checks), Subjects: make([]int, checks), Waived: make([]int, checks)}
}

// NamespaceState is the live state of one namespace: its counts, and what each pod contributes to them.
type NamespaceState struct {
	LiveMetrics
	pods map[string]contribution
}

// A contribution is what one pod adds to the counts of its namespace.
type contribution struct {
	uid        string
	violations []rules.Violation
	subjects   []int
	failed     bool   // there is no verdict of this pod
	skipped    string // the reason why the table leaves the pod out; empty for a pod that counts
}

// ClusterState is the live state of a cluster under one policy table. It is safe for concurrent use.
type ClusterState struct {
	table *rules.Table

	mu         sync.RWMutex
	namespaces map[string]*NamespaceState
	skipped    map[string]int // pods left out, by reason
	ready      bool
	// now is the moment for which waivers are judged. It moves by Advance alone.
	now time.Time
}

// New makes an empty state, which is not ready. Its moment is before all time: no waiver has expired until Advance.
func New(table *rules.Table) *ClusterState {
	return &ClusterState{table: table, namespaces: make(map[string]*NamespaceState), skipped: make(map[string]int)}
}

// Table is the policy table that the state is kept under.
func (s *ClusterState) Table() *rules.Table { return s.table }

// Ready tells whether the state has been whole once: SetReady was called, or Replace.
func (s *ClusterState) Ready() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ready
}

// SetReady says that all pods known so far have been applied.
func (s *ClusterState) SetReady() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = true
}

// Observe evaluates a pod, given as JSON, and applies the verdict. Pods of namespaces that the table leaves out change
// nothing. On an error there is no verdict: the pod then counts as not evaluated, and what it contributed before is gone.
func (s *ClusterState) Observe(pod Pod, json []byte) (Transition, error) {
	if !s.table.Includes(pod.Namespace) {
		return Transition{}, nil
	}
	verdict, err := evaluate(s.table, json)
	if err != nil {
		return s.put(pod, contribution{uid: pod.UID, failed: true}), err
	}
	return s.Apply(pod, verdict), nil
}

// Apply replaces what the pod contributed before, be it under another UID, by the verdict, which the state keeps.
func (s *ClusterState) Apply(pod Pod, verdict rules.Verdict) Transition {
	return s.put(pod, contributionOf(pod, verdict))
}

func contributionOf(pod Pod, verdict rules.Verdict) contribution {
	return contribution{
		uid: pod.UID, violations: verdict.Violations, subjects: verdict.Subjects, skipped: verdict.SkipReason,
	}
}

func (s *ClusterState) put(pod Pod, c contribution) Transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putLocked(pod, c)
}

func (s *ClusterState) putLocked(pod Pod, c contribution) Transition {
	ns := s.namespace(pod.Namespace)
	before, existed := ns.pods[pod.Name]
	if existed {
		s.count(ns, before, -1)
	}
	ns.pods[pod.Name] = c
	s.count(ns, c, +1)
	return s.transition(before, c, existed)
}

// Delete takes away what the pod contributed. Where the UID is known and another pod holds the name by now, nothing
// changes: that pod is alive.
func (s *ClusterState) Delete(pod Pod) Transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	ns, ok := s.namespaces[pod.Namespace]
	if !ok {
		return Transition{}
	}
	before, existed := ns.pods[pod.Name]
	if !existed || pod.UID != "" && before.uid != "" && pod.UID != before.uid {
		return Transition{}
	}
	s.count(ns, before, -1)
	if delete(ns.pods, pod.Name); len(ns.pods) == 0 {
		delete(s.namespaces, pod.Namespace)
	}
	return s.transition(before, contribution{}, true)
}

// namespace returns the state of a namespace, made where there is none. The lock is held.
func (s *ClusterState) namespace(name string) *NamespaceState {
	ns, ok := s.namespaces[name]
	if !ok {
		ns = &NamespaceState{LiveMetrics: newLiveMetrics(len(s.table.Checks())), pods: make(map[string]contribution)}
		s.namespaces[name] = ns
	}
	return ns
}

// count adds what a pod contributes at the state's moment, or takes it away. The lock is held.
func (s *ClusterState) count(ns *NamespaceState, c contribution, sign int) {
	switch {
	case c.failed:
		ns.Unevaluated += sign
		return
	case c.skipped != "":
		if s.skipped[c.skipped] += sign; s.skipped[c.skipped] == 0 {
			delete(s.skipped, c.skipped)
		}
		return
	}
	ns.TotalPods += sign
	for check, n := range c.subjects {
		ns.Subjects[check] += sign * n
	}
	for _, v := range c.violations {
		if s.waived(v) {
			ns.Waived[v.Check] += sign
			ns.Subjects[v.Check] -= sign
		} else {
			ns.Violations[v.Check] += sign
		}
	}
}

// waived tells whether a waiver accepts the violation at the state's moment.
func (s *ClusterState) waived(v rules.Violation) bool {
	return v.Waiver != nil && v.Waiver.Active(s.now)
}

// An Observation is one pod and its JSON, for Replace.
type Observation struct {
	Pod
	JSON []byte
}

// A Failure is a pod of which there is no verdict, and why.
type Failure struct {
	Pod
	Err error
}

// Replace makes the state be exactly that of the pods, in one step at its end, and sets it ready: no snapshot shows a
// part. It evaluates on as many goroutines as workers says, at least one, and returns the pods that could not be
// evaluated, sorted. Of a pod that comes twice the later counts, for better or worse. The JSON must stay unchanged
// until Replace returns.
func (s *ClusterState) Replace(workers int, pods iter.Seq[Observation]) []Failure {
	fresh := New(s.table)
	fresh.now = s.moment()
	failed := make(map[Pod]Failure)
	s.evaluateAll(max(1, workers), pods, func(b *batch) {
		for i, o := range b.pods {
			fresh.putLocked(o.Pod, b.contributions[i])
			name := Pod{Namespace: o.Namespace, Name: o.Name}
			delete(failed, name)
			if b.errs[i] != nil {
				failed[name] = Failure{o.Pod, b.errs[i]}
			}
		}
	})
	failures := slices.SortedFunc(maps.Values(failed), func(a, b Failure) int { return a.compare(b.Pod) })
	s.mu.Lock()
	defer s.mu.Unlock()
	// The pods were counted for the moment at which the list began; the state may have moved on since.
	fresh.Advance(s.now)
	s.namespaces, s.skipped, s.ready = fresh.namespaces, fresh.skipped, true
	return failures
}
