package state

import (
	"hash/maphash"
	"slices"

	"github.com/kube-devops/kube-devops/rules"
)

// An internedVerdict is what is known of a pod: its verdict, or that it has none, and its origin. Pods with equal ones share
// one in memory, because the pods of a workload are alike: a cluster of 100,000 pods has some hundred. All but pods is
// immutable.
type internedVerdict struct {
	violations []rules.Violation
	subjects   []int
	failed     bool     // there is no verdict
	skipReason string   // why the table skips the pod; empty for a pod that counts
	mistakes   []string // in the annotation of the pod
	origin     any

	hash uint64
	pods int // the number of pods that share it; guarded by ClusterState.mu
}

func newVerdict(v rules.Verdict, origin any) internedVerdict {
	return internedVerdict{violations: v.Violations, subjects: v.Subjects, skipReason: v.SkipReason, mistakes: v.Mistakes, origin: origin}
}

func (v *internedVerdict) equal(o *internedVerdict) bool {
	return v.failed == o.failed && v.skipReason == o.skipReason && v.origin == o.origin &&
		slices.Equal(v.subjects, o.subjects) && slices.EqualFunc(v.violations, o.violations, sameViolation) && slices.Equal(v.mistakes, o.mistakes)
}

// sameViolation compares two violations. Each verdict has its own waivers of annotations, so they are the same if they say the same.
func sameViolation(a, b rules.Violation) bool {
	if a.Waiver == nil || b.Waiver == nil || !a.Waiver.FromAnnotation() || rules.CompareWaivers(a.Waiver, b.Waiver) != 0 {
		return a == b
	}
	a.Waiver, b.Waiver = nil, nil
	return a == b
}

// verdicts are the interned verdicts by hash. Of two with the same hash it has one, and the other is not shared.
type verdicts map[uint64]*internedVerdict

// intern returns the interned verdict that equals v, for one more pod. It keeps no part of v, whose memory may be reused.
func (vs verdicts) intern(v *internedVerdict) *internedVerdict {
	hash := v.sum()
	known := vs[hash]
	if known != nil && known.equal(v) {
		known.pods++
		return known
	}
	added := &internedVerdict{
		violations: slices.Clone(v.violations), subjects: slices.Clone(v.subjects), failed: v.failed, skipReason: v.skipReason,
		mistakes: slices.Clone(v.mistakes), origin: v.origin, hash: hash, pods: 1,
	}
	if known == nil {
		vs[hash] = added
	}
	return added
}

// release removes a pod from an interned verdict.
func (vs verdicts) release(v *internedVerdict) {
	if v.pods--; v.pods == 0 && vs[v.hash] == v {
		delete(vs, v.hash)
	}
}

// seed makes the hashes unpredictable for the authors of pods.
var seed = maphash.MakeSeed()

func (v *internedVerdict) sum() uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	maphash.WriteComparable(&h, v.failed)
	for _, n := range v.subjects {
		maphash.WriteComparable(&h, n)
	}
	for i := range v.violations {
		violation := v.violations[i]
		if w := violation.Waiver; w != nil && w.FromAnnotation() {
			violation.Waiver = nil
			maphash.WriteComparable(&h, w.Expires.Unix())
			maphash.WriteComparable(&h, w.Reason)
		}
		maphash.WriteComparable(&h, violation)
	}
	if v.origin != nil {
		maphash.WriteComparable(&h, v.origin)
	}
	for _, mistake := range v.mistakes {
		maphash.WriteComparable(&h, mistake)
	}
	_, _ = h.WriteString(v.skipReason)
	return h.Sum64()
}
