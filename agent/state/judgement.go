package state

import (
	"hash/maphash"
	"slices"

	"github.com/kube-devops/kube-devops/rules"
)

// A judgement is what is known of a pod: its verdict, or that there is none. All pods of which the same is known share
// one, since the pods of a workload are alike: a cluster of 100,000 pods has some hundred. It never changes, but for the
// number of its pods.
type judgement struct {
	violations []rules.Violation
	subjects   []int
	failed     bool   // there is no verdict
	skipped    string // the reason why the table leaves the pod out; empty for a pod that counts

	pods int // how many share it
	hash uint64
	next *judgement // another one of the same hash
}

// judgements are those that at least one pod has.
type judgements struct {
	seed   maphash.Seed
	byHash map[uint64]*judgement
}

func newJudgements() judgements {
	return judgements{seed: maphash.MakeSeed(), byHash: make(map[uint64]*judgement)}
}

// share returns the judgement of a verdict for one more pod. It keeps no part of the verdict, whose memory may be used
// again.
func (j judgements) share(v rules.Verdict, failed bool) *judgement {
	hash := j.hash(v, failed)
	for known := j.byHash[hash]; known != nil; known = known.next {
		if known.is(v, failed) {
			known.pods++
			return known
		}
	}
	added := &judgement{
		violations: slices.Clone(v.Violations), subjects: slices.Clone(v.Subjects), skipped: v.SkipReason, failed: failed,
		pods: 1, hash: hash, next: j.byHash[hash],
	}
	j.byHash[hash] = added
	return added
}

// release says that a pod has a judgement no longer.
func (j judgements) release(old *judgement) {
	if old.pods--; old.pods > 0 {
		return
	}
	first := j.byHash[old.hash]
	if first == old {
		if j.byHash[old.hash] = old.next; old.next == nil {
			delete(j.byHash, old.hash)
		}
		return
	}
	for first.next != old {
		first = first.next
	}
	first.next = old.next
}

func (j judgements) hash(v rules.Verdict, failed bool) uint64 {
	var h maphash.Hash
	h.SetSeed(j.seed)
	if failed {
		_ = h.WriteByte(1) // a hash takes all
	}
	for _, n := range v.Subjects {
		maphash.WriteComparable(&h, n)
	}
	for i := range v.Violations {
		maphash.WriteComparable(&h, v.Violations[i])
	}
	_, _ = h.WriteString(v.SkipReason)
	return h.Sum64()
}

func (j *judgement) is(v rules.Verdict, failed bool) bool {
	return j.failed == failed && j.skipped == v.SkipReason && slices.Equal(j.subjects, v.Subjects) && slices.Equal(j.violations, v.Violations)
}
