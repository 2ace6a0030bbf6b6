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
	uid string
	*judgement
}

// ClusterState is the live state of a cluster under one policy table. It is safe for concurrent use.
type ClusterState struct {
	table *rules.Table

	mu         sync.RWMutex
	namespaces map[string]*NamespaceState
	judgements judgements
	skipped    map[string]int // pods left out, by reason
	ready      bool
	// now is the moment for which waivers are judged. It moves by Advance alone.
	now time.Time
}

// New makes an empty state, which is not ready. Its moment is before all time: no waiver has expired until Advance.
func New(table *rules.Table) *ClusterState {
	return &ClusterState{
		table: table, namespaces: make(map[string]*NamespaceState), judgements: newJudgements(), skipped: make(map[string]int),
	}
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
	verdict := verdicts.Get().(*rules.Verdict)
	defer verdicts.Put(verdict)
	if err := evaluate(s.table, verdict, json); err != nil {
		return s.fail(pod), err
	}
	return s.Apply(pod, *verdict), nil
}

// verdicts are used again, as the state keeps no part of them: a pod without violations costs no allocation.
var verdicts = sync.Pool{New: func() any { return new(rules.Verdict) }}

// Apply replaces what the pod contributed before, be it under another UID, by the verdict, of which the state keeps
// nothing that the caller may not change.
func (s *ClusterState) Apply(pod Pod, verdict rules.Verdict) Transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, after := s.put(pod, verdict, false)
	t := s.transition(before, after)
	s.release(before)
	return t
}

// fail is Apply where there is no verdict.
func (s *ClusterState) fail(pod Pod) Transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, after := s.put(pod, rules.Verdict{}, true)
	t := s.transition(before, after)
	s.release(before)
	return t
}

// Put is Apply for who does not ask what changed, but whether there was such a pod before. It costs no allocation
// where other pods have the same verdict.
func (s *ClusterState) Put(pod Pod, verdict rules.Verdict) (replaced bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.release(first(s.put(pod, verdict, false)))
}

// PutFailed is Put for a pod of which there is no verdict.
func (s *ClusterState) PutFailed(pod Pod) (replaced bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.release(first(s.put(pod, rules.Verdict{}, true)))
}

func first(before, _ contribution) contribution { return before }

// put returns what the pod contributed before, which is still to be released, and what it does now. The lock is held.
func (s *ClusterState) put(pod Pod, verdict rules.Verdict, failed bool) (before, after contribution) {
	ns := s.namespace(pod.Namespace)
	before, existed := ns.pods[pod.Name]
	if existed {
		s.count(ns, before, -1)
	}
	after = contribution{pod.UID, s.judgements.share(verdict, failed)}
	ns.pods[pod.Name] = after
	s.count(ns, after, +1)
	return before, after
}

// release lets go of what a pod contributed, and says whether there was such a pod. The lock is held.
func (s *ClusterState) release(before contribution) bool {
	if before.judgement == nil {
		return false
	}
	s.judgements.release(before.judgement)
	return true
}

// Delete takes away what the pod contributed. Where the UID is known and another pod holds the name by now, nothing
// changes: that pod is alive.
func (s *ClusterState) Delete(pod Pod) Transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.remove(pod)
	if before.judgement == nil {
		return Transition{}
	}
	t := s.transition(before, contribution{})
	s.release(before)
	return t
}

// Remove is Delete for who does not ask what changed, but whether there was such a pod.
func (s *ClusterState) Remove(pod Pod) (removed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.release(s.remove(pod))
}

// remove returns what the pod contributed, which is still to be released. The lock is held.
func (s *ClusterState) remove(pod Pod) contribution {
	ns, ok := s.namespaces[pod.Namespace]
	if !ok {
		return contribution{}
	}
	before, existed := ns.pods[pod.Name]
	if !existed || pod.UID != "" && before.uid != "" && pod.UID != before.uid {
		return contribution{}
	}
	s.count(ns, before, -1)
	if delete(ns.pods, pod.Name); len(ns.pods) == 0 {
		delete(s.namespaces, pod.Namespace)
	}
	return before
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
			fresh.release(first(fresh.put(o.Pod, b.verdicts[i], b.errs[i] != nil)))
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
	s.namespaces, s.judgements, s.skipped, s.ready = fresh.namespaces, fresh.judgements, fresh.skipped, true
	return failures
}
