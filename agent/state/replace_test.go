package state_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/state"
)

// manyPods are n pods in a random order: some occur several times, some cannot be evaluated, some are excluded.
func manyPods(n int) []state.Observation {
	r := rand.New(rand.NewPCG(1, 2))
	pods := make([]state.Observation, n)
	for i := range pods {
		pod := state.Pod{Namespace: fmt.Sprintf("ns%d", r.IntN(7)), Name: fmt.Sprintf("pod%d", r.IntN(n/2)), UID: fmt.Sprint(i)}
		if r.IntN(10) == 0 {
			pod.Namespace = "kube-system"
		}
		json := podJSON(container{r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0}, container{latest: r.IntN(2) == 0})
		if r.IntN(6) == 0 {
			json = truncated
		}
		pods[i] = state.Observation{Pod: pod, JSON: json}
	}
	return pods
}

// applyEach applies pods one after another.
func applyEach(t testing.TB, pods []state.Observation) (*state.ClusterState, model) {
	t.Helper()
	s, m := newState(t), make(model)
	for _, o := range pods {
		_, err := s.Observe(o.Pod, o.JSON)
		if o.Namespace != "kube-system" {
			m[podKey{o.Namespace, o.Name}] = modelPod{o.UID, string(o.JSON)}
			if (err == nil) == (string(o.JSON) == string(truncated)) {
				t.Fatalf("error %v of %s", err, o.JSON)
			}
		}
	}
	return s, m
}

// TestReplaceEqualsOneByOne has lists around the size of a batch, and of several batches, and different numbers of workers.
func TestReplaceEqualsOneByOne(t *testing.T) {
	for _, n := range []int{2, 255, 256, 257, 512, 3000} {
		if testing.Short() && n > 1000 {
			continue
		}
		pods := manyPods(n)
		oneByOne, m := applyEach(t, pods)
		want := oneByOne.SnapshotWithViolations()
		if diff := cmp.Diff(m.snapshot(oneByOne.Table()).Namespaces, want.Namespaces); diff != "" {
			t.Fatalf("%d pods: one by one (-scratch +live):\n%s", n, diff)
		}
		var wantFailures []string
		for _, key := range m.keys() {
			if m[key].json == string(truncated) {
				wantFailures = append(wantFailures, fmt.Sprintf("%s/%s %s %s", key.namespace, key.name, m[key].uid, truncatedError))
			}
		}
		for _, workers := range []int{-1, 1, 2, 5} {
			t.Run(fmt.Sprintf("%d pods, %d workers", n, workers), func(t *testing.T) {
				s := newState(t)
				observe(t, s, state.Pod{Namespace: "old", Name: "old"}, podJSON(container{latest: true}))
				var failures []string
				for _, f := range replaceAll(t, s, workers, slices.Values(pods)) {
					failures = append(failures, fmt.Sprintf("%s/%s %s %v", f.Namespace, f.Name, f.UID, f.Err))
				}
				if diff := cmp.Diff(want.Namespaces, s.Snapshot().Namespaces); diff != "" {
					t.Errorf("counts (-one by one +at once):\n%s", diff)
				}
				if diff := cmp.Diff(viewOf(want).Violations, viewOf(s.SnapshotWithViolations()).Violations); diff != "" {
					t.Errorf("violations (-one by one +at once):\n%s", diff)
				}
				if diff := cmp.Diff(wantFailures, failures); diff != "" {
					t.Errorf("failures (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestReplaceTakesTheLastOfTwo has the same pod twice, at a distance at which two workers evaluate them concurrently.
func TestReplaceTakesTheLastOfTwo(t *testing.T) {
	pod := func(uid string) state.Pod { return state.Pod{Namespace: "shop", Name: "twice", UID: uid} }
	clean, bad := podJSON(container{}), podJSON(container{latest: true})
	tests := []struct {
		name          string
		first, second []byte
		want          state.LiveMetrics
		failures      []state.Pod
	}{
		{"fixed", bad, clean, state.LiveMetrics{TotalPods: 300, Violations: []int{0, 0, 0}, Subjects: []int{300, 300, 300}, Waived: none}, nil},
		{"broken", clean, bad, state.LiveMetrics{TotalPods: 300, Violations: []int{1, 0, 0}, Subjects: []int{300, 300, 300}, Waived: none}, nil},
		{"evaluated at last", truncated, bad, state.LiveMetrics{TotalPods: 300, Violations: []int{1, 0, 0}, Subjects: []int{300, 300, 300}, Waived: none}, nil},
		{"no longer evaluated", bad, truncated, state.LiveMetrics{TotalPods: 299, Unevaluated: 1, Violations: []int{0, 0, 0}, Subjects: []int{299, 299, 299}, Waived: none}, []state.Pod{pod("2")}},
		{"never evaluated", truncated, truncated, state.LiveMetrics{TotalPods: 299, Unevaluated: 1, Violations: []int{0, 0, 0}, Subjects: []int{299, 299, 299}, Waived: none}, []state.Pod{pod("2")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newState(t)
			list := []state.Observation{{Pod: pod("1"), JSON: tt.first}}
			for i := range 299 {
				list = append(list, state.Observation{Pod: state.Pod{Namespace: "shop", Name: fmt.Sprint(i)}, JSON: clean})
			}
			list = append(list, state.Observation{Pod: pod("2"), JSON: tt.second})
			var failures []state.Pod
			for _, f := range replaceAll(t, s, 3, slices.Values(list)) {
				failures = append(failures, f.Pod)
			}
			if diff := cmp.Diff(tt.failures, failures); diff != "" {
				t.Errorf("failures (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]state.NamespaceSnapshot{{Name: "shop", LiveMetrics: tt.want}}, s.Snapshot().Namespaces); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReplaceIsAtomic reads the state in the middle of the list.
func TestReplaceIsAtomic(t *testing.T) {
	s := newState(t)
	old := state.Pod{Namespace: "old", Name: "old", UID: "1"}
	observe(t, s, old, podJSON(container{latest: true}))
	before := viewOf(s.SnapshotWithViolations())
	looks := 0
	replaceAll(t, s, 2, func(yield func(state.Observation) bool) {
		for i := range 1000 {
			if i%100 == 0 {
				looks++
				if diff := cmp.Diff(before, viewOf(s.SnapshotWithViolations()), sameTable); diff != "" || s.Ready() {
					t.Errorf("after %d of the pods, ready %v, state (-before +now):\n%s", i, s.Ready(), diff)
				}
			}
			if !yield(state.Observation{Pod: state.Pod{Namespace: "new", Name: fmt.Sprint(i)}, JSON: podJSON(container{})}) {
				t.Error("the list was cut short")
				return
			}
		}
	})
	want := []state.NamespaceSnapshot{{Name: "new", LiveMetrics: state.LiveMetrics{TotalPods: 1000, Violations: []int{0, 0, 0}, Subjects: []int{1000, 1000, 1000}, Waived: none}}}
	if diff := cmp.Diff(want, s.Snapshot().Namespaces); diff != "" || looks != 10 {
		t.Errorf("%d reads; state (-want +got):\n%s", looks, diff)
	}
	// Only what the list had is known from then on.
	if s.Delete(old).Changed() {
		t.Error("a pod that the list lacks could still be deleted")
	}
}

// TestReplaceCanceled: it returns after the pods that are being evaluated, and changes nothing.
func TestReplaceCanceled(t *testing.T) {
	s := newState(t)
	observe(t, s, state.Pod{Namespace: "old", Name: "old"}, podJSON(container{latest: true}))
	before := viewOf(s.SnapshotWithViolations())
	ctx, stop := context.WithCancel(t.Context())
	given := 0
	_, err := s.Replace(ctx, 2, func(yield func(state.Observation) bool) {
		for i := range 100_000 {
			if given = i; i == 1000 {
				stop()
			}
			if !yield(state.Observation{Pod: state.Pod{Namespace: "new", Name: fmt.Sprint(i)}, JSON: podJSON(container{})}) {
				return
			}
		}
	})
	if !errors.Is(err, context.Canceled) || given > 1001 {
		t.Errorf("after %d pods: %v", given, err)
	}
	if diff := cmp.Diff(before, viewOf(s.SnapshotWithViolations()), sameTable); diff != "" {
		t.Errorf("state (-before +now):\n%s", diff)
	}
}
