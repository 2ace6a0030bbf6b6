package state

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kube-devops/kube-devops/rules"
)

// Pod names one pod.
type Pod struct {
	Namespace, Name string
	// UID distinguishes a pod from a later one of the same name. It is empty if it is not known.
	UID string
}

func (p Pod) compare(other Pod) int {
	return cmp.Or(cmp.Compare(p.Namespace, other.Namespace), cmp.Compare(p.Name, other.Name))
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
	// Unknown counts, for each check, those of its Violations that are unknown, without waived ones; nil if all are 0.
	Unknown []int
	// Unevaluated counts the pods that could not be evaluated; they are excluded from all other counts.
	Unevaluated int
}

func newLiveMetrics(checks int) LiveMetrics {
	return LiveMetrics{Violations: make([]int, checks), Subjects: make([]int, checks), Waived: make([]int, checks)}
}

// addUnknown counts unknown violations of a check. They are rare, so the counts are kept only while one is not 0.
func (m *LiveMetrics) addUnknown(check, n int) {
	if m.Unknown == nil {
		m.Unknown = make([]int, len(m.Violations))
	}
	m.Unknown[check] += n
	if !slices.ContainsFunc(m.Unknown, func(n int) bool { return n != 0 }) {
		m.Unknown = nil
	}
}

// A namespaceState is the counts of a namespace, and the pods they come from by name.
type namespaceState struct {
	LiveMetrics
	pods map[string]podState
}

// A podState is what the state keeps of one pod; the zero value stands for a pod that does not exist.
type podState struct {
	verdict *internedVerdict
	uid     uidHash
}

// A uidHash stands for a UID, in a fifth of its memory; 0 if it is not known.
type uidHash uint64

func hashUID(uid string) uidHash {
	if uid == "" {
		return 0
	}
	return uidHash(max(1, maphash.String(seed, uid)))
}

// differs reports whether both UIDs are known and differ.
func (u uidHash) differs(other uidHash) bool { return u != 0 && other != 0 && u != other }

// ClusterState is the live state of a cluster under one policy table. It is safe for concurrent use.
type ClusterState struct {
	table *rules.Table

	mu         sync.RWMutex
	namespaces map[string]*namespaceState
	verdicts   verdicts
	expiries   expiries
	skipped    map[string]int // skipped pods by reason
	ready      bool
	now        time.Time // the time at which waivers are evaluated; only ExpireWaivers moves it
}

// New makes an empty state, which is not ready. Its time is the zero time: no waiver has expired until ExpireWaivers.
func New(table *rules.Table) *ClusterState {
	return &ClusterState{
		table: table, namespaces: make(map[string]*namespaceState), verdicts: make(verdicts), expiries: make(expiries), skipped: make(map[string]int),
	}
}

// Table is the policy table of the state.
func (s *ClusterState) Table() *rules.Table { return s.table }

// Ready reports whether the state has been complete once: after SetReady or Replace.
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

// Observe evaluates a pod, given as JSON, and applies the verdict. Pods of namespaces that the table excludes change nothing.
// After an error the pod counts as not evaluated, and its former contribution is gone.
func (s *ClusterState) Observe(pod Pod, json []byte) (Transition, error) {
	if !s.table.Includes(pod.Namespace) {
		return Transition{}, nil
	}
	verdict := verdictPool.Get().(*rules.Verdict)
	defer verdictPool.Put(verdict)
	to := internedVerdict{failed: true}
	err := evaluate(s.table, verdict, json)
	if err == nil {
		to = newVerdict(*verdict, nil)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transition(s.put(pod, to)), err
}

// verdictPool saves allocations: the state keeps no part of a verdict.
var verdictPool = sync.Pool{New: func() any { return new(rules.Verdict) }}

// Put replaces the contribution of the pod, whatever its UID was, by the verdict, and reports whether there was one. It keeps
// no part of the verdict, and does not allocate if the verdict of the pod stays the same.
//
// The origin is what the source knows of the pod. It must be comparable; the state returns it with the violations. Pods with
// equal origin and verdict share memory.
func (s *ClusterState) Put(pod Pod, verdict rules.Verdict, origin any) (replaced bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, _ := s.put(pod, newVerdict(verdict, origin))
	return before.verdict != nil
}

// PutFailed is Put for a pod that could not be evaluated.
func (s *ClusterState) PutFailed(pod Pod) (replaced bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, _ := s.put(pod, internedVerdict{failed: true})
	return before.verdict != nil
}

// put returns the state of the pod before and after. The caller holds s.mu.
func (s *ClusterState) put(pod Pod, verdict internedVerdict) (before, after podState) {
	ns := s.namespaces[pod.Namespace]
	if ns == nil {
		ns = &namespaceState{LiveMetrics: newLiveMetrics(len(s.table.Checks())), pods: make(map[string]podState)}
		s.namespaces[strings.Clone(pod.Namespace)] = ns
	}
	before = ns.pods[pod.Name]
	after = podState{s.verdicts.intern(&verdict), hashUID(pod.UID)}
	if after.verdict.pods == 1 {
		s.expiries.count(after.verdict, +1)
	}
	if after != before {
		ns.pods[strings.Clone(pod.Name)] = after // the name may be a part of a large buffer
	}
	s.count(ns, after.verdict, +1)
	if before.verdict != nil {
		s.count(ns, before.verdict, -1)
		s.release(before.verdict)
	}
	return before, after
}

// release removes a pod from a verdict. The caller holds s.mu.
func (s *ClusterState) release(verdict *internedVerdict) {
	if s.verdicts.release(verdict); verdict.pods == 0 {
		s.expiries.count(verdict, -1)
	}
}

// Delete removes the contribution of the pod. If the UID is known and the name belongs to another pod by now, nothing changes.
func (s *ClusterState) Delete(pod Pod) Transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.remove(pod); before.verdict != nil {
		return s.transition(before, podState{})
	}
	return Transition{}
}

// Remove is Delete that reports whether there was such a pod.
func (s *ClusterState) Remove(pod Pod) (removed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remove(pod).verdict != nil
}

// remove returns the state of the pod before; the zero value if nothing was removed. The caller holds s.mu.
func (s *ClusterState) remove(pod Pod) podState {
	ns := s.namespaces[pod.Namespace]
	if ns == nil {
		return podState{}
	}
	before := ns.pods[pod.Name]
	if before.verdict == nil || before.uid.differs(hashUID(pod.UID)) {
		return podState{}
	}
	s.count(ns, before.verdict, -1)
	s.release(before.verdict)
	if delete(ns.pods, pod.Name); len(ns.pods) == 0 {
		delete(s.namespaces, pod.Namespace)
	}
	return before
}

// Has reports whether there is such a pod, whatever its UID.
func (s *ClusterState) Has(pod Pod) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ns := s.namespaces[pod.Namespace]
	if ns == nil {
		return false
	}
	_, ok := ns.pods[pod.Name]
	return ok
}

// count adds a verdict at the time of the state to the counts of a namespace, or subtracts it. The caller holds s.mu.
func (s *ClusterState) count(ns *namespaceState, verdict *internedVerdict, sign int) {
	switch {
	case verdict.failed:
		ns.Unevaluated += sign
		return
	case verdict.skipReason != "":
		if s.skipped[verdict.skipReason] += sign; s.skipped[verdict.skipReason] == 0 {
			delete(s.skipped, verdict.skipReason)
		}
		return
	}
	ns.TotalPods += sign
	for check, n := range verdict.subjects {
		ns.Subjects[check] += sign * n
	}
	for i := range verdict.violations {
		switch v := &verdict.violations[i]; {
		case waived(v, s.now):
			ns.Waived[v.Check] += sign
			ns.Subjects[v.Check] -= sign
		default:
			ns.Violations[v.Check] += sign
			if v.Unknown {
				ns.addUnknown(v.Check, sign)
			}
		}
	}
}
