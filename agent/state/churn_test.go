package state_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// newRandom logs the seed of a test, and takes it from the environment variable SEED.
func newRandom(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, seed))
}

// TestPodChurn changes, deletes and recreates thousands of pods in two namespaces, and compares the violations with those of
// the pods that remain. Snapshots do not change afterwards.
func TestPodChurn(t *testing.T) {
	steps := 60_000
	if testing.Short() {
		steps = 15_000
	}
	random := newRandom(t)
	s := newState(t)
	verdicts := []rules.Verdict{
		{Subjects: []int{1, 1, 1}},
		{Subjects: []int{1, 1, 1}, Violations: []rules.Violation{{Check: 0, Path: "spec.containers.0", Container: "web"}}},
		{Subjects: []int{2, 2, 2}, Violations: []rules.Violation{{Check: 1, Path: "spec.containers.1"}, {Check: 2, Path: "spec.containers.0"}}},
	}
	origins := []any{nil}
	for i := range 150 {
		origins = append(origins, fmt.Sprint("Job/import-", i))
	}
	type known struct{ uid, verdict, origin int }
	want := map[podKey]known{}
	uid := func(n int) string { return []string{"", "x", fmt.Sprintf("6f9619ff-8b86-d011-b42d-%012x", n)}[n%3] }
	check := func(step int) {
		t.Helper()
		var listed []string
		for _, key := range slices.SortedFunc(maps.Keys(want), func(a, b podKey) int {
			return slices.Compare([]string{a.namespace, a.name}, []string{b.namespace, b.name})
		}) {
			for _, v := range verdicts[want[key].verdict].Violations {
				listed = append(listed, fmt.Sprint(key, v, origins[want[key].origin]))
			}
		}
		snap := s.SnapshotWithViolations()
		var got []string
		for v := range snap.Violations() {
			got = append(got, fmt.Sprint(podKey{v.Namespace, v.Pod.Name}, *v.Violation, v.Origin))
		}
		if diff := cmp.Diff(listed, got); diff != "" {
			t.Fatalf("after %d steps: violations (-want +got):\n%s", step, diff[:min(len(diff), 2000)])
		}
		if got := snap.Totals().TotalPods; got != len(want) {
			t.Fatalf("after %d steps: %d pods, want %d", step, got, len(want))
		}
	}
	before, beforeView := s.SnapshotWithViolations(), (*view)(nil)
	for step := range steps {
		key := podKey{[]string{"shop", "legacy"}[random.IntN(2)], fmt.Sprint("pod-", random.IntN(steps/20))}
		was, exists := want[key]
		grows := step/(steps/6)%2 == 0 // the number of pods grows and shrinks in turn
		if grows == (random.IntN(4) > 0) {
			is := known{random.IntN(8), random.IntN(len(verdicts)), random.IntN(len(origins))}
			if s.Put(state.Pod{Namespace: key.namespace, Name: key.name, UID: uid(is.uid)}, verdicts[is.verdict], origins[is.origin]) != exists {
				t.Fatalf("step %d: a pod replaced another: %t", step, !exists)
			}
			want[key] = is
		} else {
			of := random.IntN(8)
			other := uid(of) != "" && uid(was.uid) != "" && uid(of) != uid(was.uid)
			if s.Remove(state.Pod{Namespace: key.namespace, Name: key.name, UID: uid(of)}) != (exists && !other) {
				t.Fatalf("step %d: a pod was removed: %t", step, !(exists && !other))
			}
			if !other {
				delete(want, key)
			}
		}
		if (step+1)%(steps/8) == 0 {
			check(step)
			if beforeView != nil {
				if diff := cmp.Diff(beforeView, viewOf(before), sameTable); diff != "" {
					t.Fatalf("an older snapshot changed (-before +after):\n%s", diff[:min(len(diff), 2000)])
				}
			}
			before = s.SnapshotWithViolations()
			beforeView = viewOf(before)
		}
	}
}
