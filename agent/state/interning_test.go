package state

import "testing"

// TestInternedVerdictsOfOneHash: verdicts with the same hash stay distinct, and the second one is not shared.
func TestInternedVerdictsOfOneHash(t *testing.T) {
	vs := make(verdicts)
	one, other := internedVerdict{subjects: []int{1}}, internedVerdict{subjects: []int{2}}
	first := vs.intern(&one)
	vs[other.sum()] = first // as though the hashes were equal
	first.hash = other.sum()
	second, third := vs.intern(&other), vs.intern(&other)
	if !second.equal(&other) || !third.equal(&other) {
		t.Errorf("interned %v and %v, want %v", second.subjects, third.subjects, other.subjects)
	}
	vs.release(second)
	vs.release(third)
	if vs[other.sum()] != first {
		t.Error("the release of an unshared verdict removed another one")
	}
	vs.release(first)
	if vs[other.sum()] != nil {
		t.Error("a verdict without pods is still interned")
	}
}
