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
	// Unevaluated counts the pods of which there is no verdict; they are in no other count.
	Unevaluated int
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
	failed     bool // there is no verdict of this pod
}

// ClusterState is the live state of a cluster under one policy table. It is safe for concurrent use.
type ClusterState struct {
	table *rules.Table

	mu         sync.RWMutex
	namespaces map[string]*NamespaceState
	ready      bool
}

// New makes an empty state, which is not ready.
func New(table *rules.Table) *ClusterState {
	return &ClusterState{table: table, namespaces: make(map[string]*NamespaceState)}
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
	verdict, err := s.table.Evaluate(json)
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
	return contribution{uid: pod.UID, violations: verdict.Violations, subjects: verdict.Subjects}
}

func (s *ClusterState) put(pod Pod, c contribution) Transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.namespace(pod.Namespace).put(pod.Name, c)
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
	t := ns.remove(pod)
	if len(ns.pods) == 0 {
		delete(s.namespaces, pod.Namespace)
	}
	return t
}

// namespace returns the state of a namespace, made where there is none. The lock is held.
func (s *ClusterState) namespace(name string) *NamespaceState {
	ns, ok := s.namespaces[name]
	if !ok {
		checks := len(s.table.Checks())
		ns = &NamespaceState{
			LiveMetrics: LiveMetrics{Violations: make([]int, checks), Subjects: make([]int, checks)},
			pods:        make(map[string]contribution),
		}
		s.namespaces[name] = ns
	}
	return ns
}

func (ns *NamespaceState) put(name string, c contribution) Transition {
	before, existed := ns.pods[name]
	if existed {
		ns.count(before, -1)
	}
	ns.pods[name] = c
	ns.count(c, +1)
	return transition(before, c, existed)
}

func (ns *NamespaceState) remove(pod Pod) Transition {
	before, existed := ns.pods[pod.Name]
	if !existed || pod.UID != "" && before.uid != "" && pod.UID != before.uid {
		return Transition{}
	}
	ns.count(before, -1)
	delete(ns.pods, pod.Name)
	return transition(before, contribution{}, true)
}

func (ns *NamespaceState) count(c contribution, sign int) {
	if c.failed {
		ns.Unevaluated += sign
		return
	}
	ns.TotalPods += sign
	for _, v := range c.violations {
		ns.Violations[v.Check] += sign
	}
	for check, n := range c.subjects {
		ns.Subjects[check] += sign * n
	}
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
	failed := make(map[Pod]Failure)
	s.evaluateAll(max(1, workers), pods, func(b *batch) {
		for i, o := range b.pods {
			fresh.namespace(o.Namespace).put(o.Name, b.contributions[i])
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
	s.namespaces, s.ready = fresh.namespaces, true
	return failures
}
