package state

import (
	"hash/maphash"
	"slices"

	"github.com/kube-devops/kube-devops/rules"
)

// A judgement is what is known of a pod: its verdict, or that there is none, and its origin. All pods of which the same is
// known share one, since the pods of a workload are alike: a cluster of 100,000 pods has some hundred. It never changes,
// but for the number of its pods.
type judgement struct {
	violations []rules.Violation
	subjects   []int
	failed     bool   // there is no verdict
	skipped    string // the reason why the table leaves the pod out; empty for a pod that counts
	origin     any

	pods int // how many share it
	hash uint64
	next *judgement // another one of the same hash
	id   uint32
}

// is tells whether that is known of a pod.
func (j *judgement) is(o *judgement) bool {
	return j.failed == o.failed && j.skipped == o.skipped && j.origin == o.origin &&
		slices.Equal(j.subjects, o.subjects) && slices.Equal(j.violations, o.violations)
}

// interned are those that at least one pod has.
type interned struct {
	seed   maphash.Seed
	byHash map[uint64]*judgement
	byID   []*judgement // nil where the number is free
	free   []uint32
}

func newInterned() interned {
	return interned{seed: maphash.MakeSeed(), byHash: make(map[uint64]*judgement)}
}

// share returns the judgement that is like the one given, for one more pod. It keeps no part of what is given, whose
// memory may be used again.
func (j *interned) share(like *judgement) *judgement {
	like.hash = j.hash(like)
	for known := j.byHash[like.hash]; known != nil; known = known.next {
		if known.is(like) {
			known.pods++
			return known
		}
	}
	added := &judgement{
		violations: slices.Clone(like.violations), subjects: slices.Clone(like.subjects), skipped: like.skipped,
		failed: like.failed, origin: like.origin, pods: 1, hash: like.hash, next: j.byHash[like.hash],
	}
	j.byHash[like.hash] = added
	if last := len(j.free) - 1; last >= 0 {
		added.id, j.free = j.free[last], j.free[:last]
		j.byID[added.id] = added
	} else {
		added.id = uint32(len(j.byID))
		j.byID = append(j.byID, added)
	}
	return added
}

// release says that a pod has a judgement no longer.
func (j *interned) release(old *judgement) {
	if old.pods--; old.pods > 0 {
		return
	}
	j.byID[old.id] = nil
	j.free = append(j.free, old.id)
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

func (j *interned) hash(of *judgement) uint64 {
	var h maphash.Hash
	h.SetSeed(j.seed)
	if of.failed {
		_ = h.WriteByte(1) // a hash takes all
	}
	for _, n := range of.subjects {
		maphash.WriteComparable(&h, n)
	}
	for i := range of.violations {
		maphash.WriteComparable(&h, of.violations[i])
	}
	if of.origin != nil {
		maphash.WriteComparable(&h, of.origin)
	}
	_, _ = h.WriteString(of.skipped)
	return h.Sum64()
}
