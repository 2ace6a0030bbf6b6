package state_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// TestManyPodsComeAndGo changes, deletes and makes again thousands of pods in two namespaces, with names from one byte to
// more than a chunk has room for, so that tables grow, shrink and are tidied. What is told is told of the pods that there are.
func TestManyPodsComeAndGo(t *testing.T) {
	const seed = 1
	random := rand.New(rand.NewPCG(seed, seed))
	s := newState(t)
	name := func() string {
		n := random.IntN(6000)
		if n%500 == 0 {
			return fmt.Sprint(n) + strings.Repeat("long", 1500+n)
		}
		return fmt.Sprint("pod-", n)
	}
	verdicts := []rules.Verdict{
		{Subjects: []int{1, 1, 1}},
		{Subjects: []int{1, 1, 1}, Violations: []rules.Violation{{Check: 0, Path: "spec.containers.0", Container: "web"}}},
		{Subjects: []int{2, 2, 2}, Violations: []rules.Violation{{Check: 1, Path: "spec.containers.1"}, {Check: 2, Path: "spec.containers.0"}}},
	}
	origins := []any{nil}
	for i := range 150 { // interned of one byte and of two
		origins = append(origins, fmt.Sprint("Job/import-", i))
	}
	type known struct{ uid, verdict, origin int }
	want := map[podKey]known{}
	uid := func(n int) string { // as the API server makes them, and others
		return []string{"", "x", fmt.Sprintf("6f9619ff-8b86-d011-b42d-%012x", n), fmt.Sprintf("6F9619FF-8b86-d011-b42d-%012x", n)}[n%4]
	}
	check := func(step int) {
		t.Helper()
		var listed []string
		pods := 0
		for _, key := range slices.SortedFunc(maps.Keys(want), func(a, b podKey) int {
			return slices.Compare([]string{a.namespace, a.name}, []string{b.namespace, b.name})
		}) {
			pods++
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
			t.Fatalf("after %d steps of seed %d: violations (-want +got):\n%s", step, seed, diff[:min(len(diff), 2000)])
		}
		if got := snap.Totals().TotalPods; got != pods {
			t.Fatalf("after %d steps of seed %d: %d pods, want %d", step, seed, got, pods)
		}
	}
	old, oldView := s.SnapshotWithViolations(), (*view)(nil)
	for step := range 120_000 {
		key := podKey{[]string{"shop", "legacy"}[random.IntN(2)], name()}
		was, there := want[key]
		grows := step/20_000%2 == 0 // a time of growth and a time of decline, in turn
		if grows == (random.IntN(4) > 0) {
			is := known{random.IntN(8), random.IntN(len(verdicts)), random.IntN(len(origins))}
			if s.Put(state.Pod{Namespace: key.namespace, Name: key.name, UID: uid(is.uid)}, verdicts[is.verdict], origins[is.origin]) != there {
				t.Fatalf("step %d of seed %d: a pod replaced another: %t", step, seed, !there)
			}
			want[key] = is
		} else {
			of := random.IntN(8)
			other := uid(of) != "" && uid(was.uid) != "" && uid(of) != uid(was.uid)
			if s.Remove(state.Pod{Namespace: key.namespace, Name: key.name, UID: uid(of)}) != (there && !other) {
				t.Fatalf("step %d of seed %d: a pod was removed: %t", step, seed, !(there && !other))
			}
			if !other {
				delete(want, key)
			}
		}
		if step%15_000 == 14_999 {
			check(step)
			if oldView != nil {
				if diff := cmp.Diff(oldView, viewOf(old), sameTable); diff != "" {
					t.Fatalf("an older snapshot changed (-before +after):\n%s", diff[:min(len(diff), 2000)])
				}
			}
			old = s.SnapshotWithViolations()
			oldView = viewOf(old)
			for i := range oldView.Violations { // a copy, should the state write over its names
				oldView.Violations[i].Pod.Name = strings.Clone(oldView.Violations[i].Pod.Name)
			}
		}
	}
}
