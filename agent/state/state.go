// Package state keeps the live state of a cluster: what each pod contributes to the counts of its namespace, and the
// scores that follow from the counts. It is pure, and does not know where a pod comes from.
//
// The invariant: the state after any sequence of events equals the state computed from scratch from the pods that
// remain. It holds because each pod's verdict is kept, and is taken away again before another one, or none, replaces it.
package state

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
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
	// Unknown counts, for each check, those of its Violations that are unknown; nil where none is. Waived ones are not in it.
	Unknown []int
	// Unevaluated counts the pods of which there is no verdict; they are in no other count.
	Unevaluated int
}

func newLiveMetrics(checks int) LiveMetrics {
	return LiveMetrics{Violations: make([]int, checks), Subjects: make([]int, checks), Waived: make([]int, checks)}
}

// NamespaceState is the live state of one namespace: its counts, and what each pod contributes to them.
type NamespaceState struct {
	LiveMetrics
	pods podTable
}

// A contribution is what one pod adds to the counts of its namespace; the zero value is of a pod that there is not.
type contribution struct {
	uid []byte // packed; empty where it is not known
	*judgement
}

// ClusterState is the live state of a cluster under one policy table. It is safe for concurrent use.
type ClusterState struct {
	table *rules.Table

	mu         sync.RWMutex
	namespaces map[string]*NamespaceState
	interned   interned
	skipped    map[string]int // pods left out, by reason
	ready      bool
	// now is the moment for which waivers are judged. Only ExpireWaivers moves it.
	now time.Time
	uid []byte // that of the pod at hand, in memory that is used again
}

// New makes an empty state, which is not ready. Its moment is before all time: no waiver has expired until ExpireWaivers.
func New(table *rules.Table) *ClusterState {
	return &ClusterState{
		table: table, namespaces: make(map[string]*NamespaceState), interned: newInterned(), skipped: make(map[string]int),
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
	return s.change(pod, judged(verdict, nil))
}

// fail is Apply where there is no verdict.
func (s *ClusterState) fail(pod Pod) Transition { return s.change(pod, judgement{failed: true}) }

func (s *ClusterState) change(pod Pod, to judgement) Transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, after := s.put(pod, to)
	t := s.transition(before, after)
	s.release(before)
	return t
}

// Put is Apply for who does not ask what changed, but whether there was such a pod before. It costs no allocation
// where other pods have the same verdict.
//
// The origin is what the source knows of the pod: the state hands it out with the violations, and asks nothing of it but
// to be comparable. Pods of one origin and one verdict share their memory.
func (s *ClusterState) Put(pod Pod, verdict rules.Verdict, origin any) (replaced bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.release(first(s.put(pod, judged(verdict, origin))))
}

// PutFailed is Put for a pod of which there is no verdict.
func (s *ClusterState) PutFailed(pod Pod) (replaced bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.release(first(s.put(pod, judgement{failed: true})))
}

func first(before, _ contribution) contribution { return before }

// judged is what is known of a pod with that verdict.
func judged(v rules.Verdict, origin any) judgement {
	return judgement{violations: v.Violations, subjects: v.Subjects, skipped: v.SkipReason, origin: origin}
}

// put returns what the pod contributed before, which is still to be released, and what it does now. The lock is held.
func (s *ClusterState) put(pod Pod, to judgement) (before, after contribution) {
	ns := s.namespace(pod.Namespace)
	slot, old, existed := ns.pods.find(pod.Name)
	if existed {
		before = s.contributed(old)
		s.count(ns, before, -1)
	}
	s.uid = packUID(s.uid[:0], pod.UID)
	after = contribution{s.uid, s.interned.share(&to)}
	if !existed || before.judgement != after.judgement || !bytes.Equal(before.uid, after.uid) {
		ns.pods.put(slot, old, existed, after.id, after.uid, pod.Name)
	}
	s.count(ns, after, +1)
	return before, after
}

// contributed is what an entry says. The lock is held.
func (s *ClusterState) contributed(e entry) contribution {
	return contribution{e.uid, s.interned.byID[e.judgement]}
}

// release lets go of what a pod contributed, and says whether there was such a pod. The lock is held.
func (s *ClusterState) release(before contribution) bool {
	if before.judgement == nil {
		return false
	}
	s.interned.release(before.judgement)
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

// Has reports whether there is such a pod, whatever its UID.
func (s *ClusterState) Has(pod Pod) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ns, ok := s.namespaces[pod.Namespace]
	if !ok {
		return false
	}
	_, _, ok = ns.pods.find(pod.Name)
	return ok
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
	slot, old, existed := ns.pods.find(pod.Name)
	if s.uid = packUID(s.uid[:0], pod.UID); !existed || otherUID(s.uid, old.uid) {
		return contribution{}
	}
	before := s.contributed(old)
	s.count(ns, before, -1)
	if ns.pods.remove(slot, old); ns.pods.pods == 0 {
		delete(s.namespaces, pod.Namespace)
	}
	return before
}

// namespace returns the state of a namespace, made where there is none. The lock is held.
func (s *ClusterState) namespace(name string) *NamespaceState {
	ns, ok := s.namespaces[name]
	if !ok {
		ns = &NamespaceState{LiveMetrics: newLiveMetrics(len(s.table.Checks()))}
		s.namespaces[strings.Clone(name)] = ns
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
			if v.Unknown {
				ns.addUnknown(v.Check, sign)
			}
		}
	}
}

// addUnknown counts unknown violations of a check. They are rare, so that their counts are there only while one is not 0.
func (m *LiveMetrics) addUnknown(check, n int) {
	if m.Unknown == nil {
		m.Unknown = make([]int, len(m.Violations))
	}
	m.Unknown[check] += n
	if !slices.ContainsFunc(m.Unknown, func(n int) bool { return n != 0 }) {
		m.Unknown = nil
	}
}

// waived tells whether a waiver accepts the violation at the state's moment.
func (s *ClusterState) waived(v rules.Violation) bool {
	return waives(v.Waiver, s.now)
}

func waives(w *rules.Waiver, now time.Time) bool { return w != nil && w.Active(now) }

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

// Replace makes the state exactly that of the pods, in one step at its end, and sets it ready: no snapshot shows a part. It
// evaluates on as many goroutines as workers says, at least one, and returns the pods that could not be evaluated, sorted.
// If a pod occurs twice the last one wins. The JSON must stay unchanged until Replace returns.
//
// When ctx is done, Replace stops after the pods that are being evaluated, changes nothing and returns the error of ctx.
func (s *ClusterState) Replace(ctx context.Context, workers int, pods iter.Seq[Observation]) ([]Failure, error) {
	fresh := New(s.table)
	fresh.now = s.moment()
	failed := make(map[Pod]Failure)
	s.evaluateAll(ctx, max(1, workers), pods, func(b *batch) {
		for i, o := range b.pods {
			known := judged(b.verdicts[i], nil)
			if b.errs[i] != nil {
				known = judgement{failed: true}
			}
			fresh.release(first(fresh.put(o.Pod, known)))
			name := Pod{Namespace: o.Namespace, Name: o.Name}
			delete(failed, name)
			if b.errs[i] != nil {
				failed[name] = Failure{o.Pod, b.errs[i]}
			}
		}
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	failures := slices.SortedFunc(maps.Values(failed), func(a, b Failure) int { return a.compare(b.Pod) })
	s.mu.Lock()
	defer s.mu.Unlock()
	// The pods were counted for the moment at which the list began; the state may have moved on since.
	fresh.ExpireWaivers(s.now)
	s.namespaces, s.interned, s.skipped, s.ready = fresh.namespaces, fresh.interned, fresh.skipped, true
	return failures, nil
}
