package state_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

func newState(t testing.TB) *state.ClusterState {
	t.Helper()
	return state.New(defaultTable(t))
}

func observe(t testing.TB, s *state.ClusterState, pod state.Pod, json []byte) state.Transition {
	t.Helper()
	transition, err := s.Observe(pod, json)
	if err != nil {
		t.Fatal(err)
	}
	return transition
}

// TestExample has one pod with the tag latest and without a liveness probe.
func TestExample(t *testing.T) {
	s := newState(t)
	observe(t, s, state.Pod{Namespace: "default", Name: "nginx", UID: "1"}, []byte(`{"spec":{"containers":[{"name":"nginx","image":"nginx:latest","readinessProbe":{}}]}}`))
	got := s.SnapshotWithViolations()
	pod := state.Pod{Namespace: "default", Name: "nginx"}
	want := &view{
		Table:      s.Table(),
		Namespaces: []state.NamespaceSnapshot{{Name: "default", LiveMetrics: state.LiveMetrics{TotalPods: 1, Violations: []int{1, 1, 0}, Subjects: []int{1, 1, 1}, Waived: none}}},
		Skipped:    map[string]int{},
		Violations: []state.PodViolation{
			{Pod: pod, Violation: &rules.Violation{Check: 0, Path: "spec.containers.0", Container: "nginx"}},
			{Pod: pod, Violation: &rules.Violation{Check: 1, Path: "spec.containers.0", Container: "nginx"}},
		},
	}
	if diff := cmp.Diff(want, viewOf(got), sameTable); diff != "" {
		t.Errorf("snapshot (-want +got):\n%s", diff)
	}
	wantScores := state.Scores{Score: 8, Compliance: 20, Grade: "Critical"}
	if scores, ok := got.Namespaces[0].Scores(s.Table()); !ok || scores != wantScores {
		t.Errorf("scores of the namespace %v, %v, want %v", scores, ok, wantScores)
	}
	if scores, ok := got.Cluster(); !ok || scores != wantScores {
		t.Errorf("scores of the cluster %v, %v, want %v", scores, ok, wantScores)
	}
}

// TestGradeBoundaries tests each bound of the grades, and just below it.
func TestGradeBoundaries(t *testing.T) {
	counts := func(lost, possible int) state.LiveMetrics {
		return state.LiveMetrics{TotalPods: 1, Violations: []int{lost, 0, 0}, Subjects: []int{possible, 0, 0}}
	}
	tests := []struct {
		name    string
		metrics state.LiveMetrics
		want    state.Scores
	}{
		{"no violations", counts(0, 10), state.Scores{Score: 0, Compliance: 100, Grade: "Healthy"}},
		{"80", counts(20, 100), state.Scores{Score: 100, Compliance: 80, Grade: "Healthy"}},
		{"79.99", counts(2001, 10_000), state.Scores{Score: 10_005, Compliance: 79.99, Grade: "Stable"}},
		{"just below 80", counts(200_000_001, 1_000_000_000), state.Scores{Score: 1_000_000_005, Compliance: 79.9999999, Grade: "Stable"}},
		{"60", counts(40, 100), state.Scores{Score: 200, Compliance: 60, Grade: "Stable"}},
		{"just below 60", counts(4001, 10_000), state.Scores{Score: 20_005, Compliance: 59.99, Grade: "Degraded"}},
		{"40", counts(60, 100), state.Scores{Score: 300, Compliance: 40, Grade: "Degraded"}},
		{"just below 40", counts(6001, 10_000), state.Scores{Score: 30_005, Compliance: 39.99, Grade: "Critical"}},
		{"all subjects violate", counts(10, 10), state.Scores{Score: 50, Compliance: 0, Grade: "Critical"}},
		// Compliances at a bound whose fractions are periodic.
		{"80 of many thirds", counts(3, 15), state.Scores{Score: 15, Compliance: 80, Grade: "Healthy"}},
		{"60 of many sevenths", counts(14, 35), state.Scores{Score: 70, Compliance: 60, Grade: "Stable"}},
		{"40 of many elevenths", counts(33, 55), state.Scores{Score: 165, Compliance: 40, Grade: "Degraded"}},
		{"no subjects", counts(0, 0), state.Scores{Score: 0, Compliance: 100, Grade: "Healthy"}},
		{"checks of different weights", state.LiveMetrics{TotalPods: 4, Violations: []int{1, 2, 3}, Subjects: []int{4, 4, 4}}, state.Scores{Score: 4.25, Compliance: 57.5, Grade: "Degraded"}},
		{"pods that could not be evaluated are excluded", state.LiveMetrics{TotalPods: 1, Unevaluated: 9, Violations: []int{0, 0, 1}, Subjects: []int{1, 1, 1}}, state.Scores{Score: 2, Compliance: 80, Grade: "Healthy"}},
	}
	table := defaultTable(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := tt.metrics.Scores(table); !ok || got != tt.want {
				t.Errorf("scores %v, %v, want %v", got, ok, tt.want)
			}
		})
	}
}

// TestGradesOfPods has pods whose compliance is a bound of the grades.
func TestGradesOfPods(t *testing.T) {
	var clean container
	latest, noLiveness, noReadiness := container{latest: true}, container{noLiveness: true}, container{noReadiness: true}
	tests := []struct {
		name string
		pods [][]byte
		want state.Scores
	}{
		{"a clean pod", [][]byte{podJSON(clean)}, state.Scores{Score: 0, Compliance: 100, Grade: "Healthy"}},
		{"a pod without containers", [][]byte{podJSON()}, state.Scores{Score: 0, Compliance: 100, Grade: "Healthy"}},
		{"80", [][]byte{podJSON(noReadiness)}, state.Scores{Score: 2, Compliance: 80, Grade: "Healthy"}},
		{"70", [][]byte{podJSON(noLiveness)}, state.Scores{Score: 3, Compliance: 70, Grade: "Stable"}},
		{"60 by two containers of a pod", [][]byte{podJSON(latest, noLiveness)}, state.Scores{Score: 8, Compliance: 60, Grade: "Stable"}},
		{"60 by two pods", [][]byte{podJSON(latest), podJSON(noLiveness)}, state.Scores{Score: 4, Compliance: 60, Grade: "Stable"}},
		{"40", [][]byte{podJSON(latest), podJSON(container{true, false, true})}, state.Scores{Score: 6, Compliance: 40, Grade: "Degraded"}},
		{"two violations of a check in one pod", [][]byte{podJSON(latest, latest), podJSON(clean, clean)}, state.Scores{Score: 5, Compliance: 75, Grade: "Stable"}},
		{"0", [][]byte{podJSON(container{true, true, true})}, state.Scores{Score: 10, Compliance: 0, Grade: "Critical"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newState(t)
			for i, json := range tt.pods {
				observe(t, s, state.Pod{Namespace: "default", Name: fmt.Sprint(i)}, json)
			}
			if got, ok := s.Snapshot().Namespaces[0].Scores(s.Table()); !ok || got != tt.want {
				t.Errorf("scores %v, %v, want %v", got, ok, tt.want)
			}
		})
	}
}

// TestClusterIsTheMeanOfNamespaces gives a namespace of one pod the same weight as one of three.
func TestClusterIsTheMeanOfNamespaces(t *testing.T) {
	s := newState(t)
	observe(t, s, state.Pod{Namespace: "a", Name: "0"}, podJSON(container{true, true, true}))
	for i := range 3 {
		observe(t, s, state.Pod{Namespace: "b", Name: fmt.Sprint(i)}, podJSON(container{noReadiness: true}))
	}
	if got, ok := s.Snapshot().Cluster(); !ok || got != (state.Scores{Score: 6, Compliance: 40, Grade: "Degraded"}) {
		t.Errorf("scores of the cluster %v, %v, want 6, 40, Degraded", got, ok)
	}
	// A namespace without an evaluated pod has no data and is not in the mean, but it is listed.
	if _, err := s.Observe(state.Pod{Namespace: "c", Name: "0"}, truncated); err == nil {
		t.Fatal("a truncated pod was evaluated")
	}
	snap := s.Snapshot()
	if got, ok := snap.Cluster(); !ok || got.Score != 6 || len(snap.Namespaces) != 3 {
		t.Errorf("scores of the cluster %v, %v with %d namespaces, want 6 with 3", got, ok, len(snap.Namespaces))
	}
	if got, ok := snap.Namespaces[2].Scores(s.Table()); ok || got != (state.Scores{}) {
		t.Errorf("scores of a namespace without an evaluated pod: %v, %v", got, ok)
	}
	want := state.LiveMetrics{TotalPods: 4, Violations: []int{1, 1, 4}, Subjects: []int{4, 4, 4}, Waived: none, Unevaluated: 1}
	if diff := cmp.Diff(want, snap.Totals()); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
}

// TestClusterGradeBoundaries has namespaces whose compliances are fractions, but whose mean is a bound of a grade. If each were
// rounded, the mean of many would miss the bound by the last bit.
func TestClusterGradeBoundaries(t *testing.T) {
	table := newState(t).Table()
	of := func(lost, possible int) state.LiveMetrics {
		return state.LiveMetrics{TotalPods: 3, Violations: []int{lost, 0, 0}, Subjects: []int{possible, 0, 0}}
	}
	for bound, grade := range map[int][2]string{80: {"Healthy", "Stable"}, 60: {"Stable", "Degraded"}, 40: {"Degraded", "Critical"}} {
		for _, n := range []int{1, 2, 3, 7, 49, 1000} {
			snap := &state.Snapshot{Table: table}
			for i := range n { // in threes: two above the bound, one as far below it as both together
				possible := []int{300, 700, 900, 1100, 4900}[i/3%5]
				lost := possible / 100 * (100 - bound)
				if i/3*3+2 < n {
					lost += []int{-1, -1, 2}[i%3]
				}
				snap.Namespaces = append(snap.Namespaces, state.NamespaceSnapshot{Name: fmt.Sprint(i), LiveMetrics: of(lost, possible)})
			}
			if got, ok := snap.Cluster(); !ok || got.Compliance != float64(bound) || got.Grade != grade[0] {
				t.Errorf("%d namespaces around %d: %v, want the bound and %s", n, bound, got, grade[0])
			}
			snap.Namespaces[0].Violations[0]++
			if got, ok := snap.Cluster(); !ok || got.Compliance >= float64(bound) || got.Grade != grade[1] {
				t.Errorf("%d namespaces, one violation below %d: %v, want less and %s", n, bound, got, grade[1])
			}
		}
	}
}

// TestClusterOfEqualNamespaces: the mean of equal scores is that score, to the last bit.
func TestClusterOfEqualNamespaces(t *testing.T) {
	table := newState(t).Table()
	rapid.Check(t, func(t *rapid.T) {
		possible := rapid.IntRange(0, 1_000_000).Draw(t, "possible")
		lost := rapid.IntRange(0, possible).Draw(t, "lost")
		one := state.NamespaceSnapshot{LiveMetrics: state.LiveMetrics{
			TotalPods: rapid.IntRange(1, 100_000).Draw(t, "pods"), Violations: []int{0, lost, 0}, Subjects: []int{0, possible, 0},
		}}
		want, _ := one.Scores(table)
		snap := &state.Snapshot{Table: table, Namespaces: slices.Repeat([]state.NamespaceSnapshot{one}, rapid.IntRange(1, 300).Draw(t, "namespaces"))}
		if got, ok := snap.Cluster(); !ok || got != want {
			t.Fatalf("mean %v, want %v", got, want)
		}
	})
}

// TestNoData follows a cluster from no pods to one and back.
func TestNoData(t *testing.T) {
	s := newState(t)
	empty := func(when string) {
		t.Helper()
		snap := s.SnapshotWithViolations()
		if diff := cmp.Diff(&view{Table: s.Table(), Namespaces: []state.NamespaceSnapshot{}, Skipped: map[string]int{}}, viewOf(snap), sameTable); diff != "" {
			t.Errorf("%s: snapshot (-want +got):\n%s", when, diff)
		}
		if got, ok := snap.Cluster(); ok || got != (state.Scores{}) {
			t.Errorf("%s: scores %v, %v, want no data", when, got, ok)
		}
	}
	pod := state.Pod{Namespace: "shop", Name: "a", UID: "1"}
	empty("at first")
	observe(t, s, pod, podJSON(container{latest: true}))
	s.Delete(pod)
	empty("after the last pod")
	if _, err := s.Observe(pod, truncated); err == nil {
		t.Fatal("a truncated pod was evaluated")
	}
	s.Delete(pod)
	empty("after the last pod, which could not be evaluated")
	observe(t, s, pod, podJSON(container{}))
	replaceAll(t, s, 2, slices.Values([]state.Observation{}))
	empty("after an empty list")
	observe(t, s, state.Pod{Namespace: "kube-system", Name: "a"}, podJSON(container{latest: true}))
	empty("with a pod of an excluded namespace")
	if s.Delete(state.Pod{Namespace: "nowhere", Name: "a"}).Changed() {
		t.Error("the delete of an unknown pod changed something")
	}
	empty("after the delete of an unknown pod")
}

func TestTransitions(t *testing.T) {
	s := newState(t)
	pod := func(uid string) state.Pod { return state.Pod{Namespace: "shop", Name: "a", UID: uid} }
	two := podJSON(container{latest: true, noReadiness: true}, container{latest: true})
	steps := []struct {
		name    string
		do      func() state.Transition
		want    state.Transition
		changed bool
	}{
		{"a clean pod", func() state.Transition { return observe(t, s, pod("1"), podJSON(container{})) }, state.Transition{}, false},
		{"it fails two checks, one of them twice", func() state.Transition { return observe(t, s, pod("1"), two) }, state.Transition{After: []int{0, 2}}, true},
		{"the same pod again", func() state.Transition { return observe(t, s, pod("1"), two) }, state.Transition{Before: []int{0, 2}, After: []int{0, 2}}, false},
		{"it fails another check", func() state.Transition { return observe(t, s, pod("1"), podJSON(container{noLiveness: true})) }, state.Transition{Before: []int{0, 2}, After: []int{1}}, true},
		{"a new pod of its name fails the same check", func() state.Transition { return observe(t, s, pod("2"), podJSON(container{noLiveness: true})) }, state.Transition{Before: []int{1}, After: []int{1}, Recreated: true}, true},
		{"a late delete of the first", func() state.Transition { return s.Delete(pod("1")) }, state.Transition{}, false},
		{"the second without its UID", func() state.Transition { return observe(t, s, pod(""), podJSON(container{noLiveness: true})) }, state.Transition{Before: []int{1}, After: []int{1}}, false},
		{"it becomes clean", func() state.Transition { return observe(t, s, pod("2"), podJSON(container{})) }, state.Transition{Before: []int{1}}, true},
		{"a third pod of its name is clean", func() state.Transition { return observe(t, s, pod("3"), podJSON()) }, state.Transition{Recreated: true}, false},
		{"it fails all checks", func() state.Transition { return observe(t, s, pod("3"), podJSON(container{true, true, true})) }, state.Transition{After: []int{0, 1, 2}}, true},
		{"it is deleted", func() state.Transition { return s.Delete(pod("3")) }, state.Transition{Before: []int{0, 1, 2}}, true},
		{"it is deleted again", func() state.Transition { return s.Delete(pod("3")) }, state.Transition{}, false},
	}
	for _, step := range steps {
		got := step.do()
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: transition (-want +got):\n%s", step.name, diff)
		}
		if got.Changed() != step.changed {
			t.Errorf("%s: changed is %v, want %v", step.name, got.Changed(), step.changed)
		}
	}
}

// TestFailedPodLosesItsCounts: a pod that can no longer be evaluated does not keep its former verdict.
func TestFailedPodLosesItsCounts(t *testing.T) {
	s := newState(t)
	pod := state.Pod{Namespace: "shop", Name: "a", UID: "1"}
	observe(t, s, pod, podJSON(container{latest: true}))
	got, err := s.Observe(pod, truncated)
	if err == nil || err.Error() != truncatedError {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(state.Transition{Before: []int{0}}, got); diff != "" {
		t.Errorf("transition (-want +got):\n%s", diff)
	}
	want := []state.NamespaceSnapshot{{Name: "shop", LiveMetrics: state.LiveMetrics{Unevaluated: 1, Violations: []int{0, 0, 0}, Subjects: []int{0, 0, 0}, Waived: none}}}
	if diff := cmp.Diff(want, s.Snapshot().Namespaces); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
}

func TestReady(t *testing.T) {
	s := newState(t)
	if s.Ready() {
		t.Error("an empty state is ready")
	}
	observe(t, s, state.Pod{Namespace: "a", Name: "a"}, podJSON())
	if s.Ready() {
		t.Error("a state with one pod is ready")
	}
	s.SetReady()
	if !s.Ready() {
		t.Error("not ready after SetReady")
	}
	if s = newState(t); len(replaceAll(t, s, 1, slices.Values([]state.Observation{}))) > 0 || !s.Ready() {
		t.Error("not ready after Replace")
	}
}

// TestSnapshotSharesNothing changes a snapshot and the state, and each must leave the other unchanged.
func TestSnapshotSharesNothing(t *testing.T) {
	s := newState(t)
	fill := func() {
		observe(t, s, state.Pod{Namespace: "a", Name: "a"}, podJSON(container{true, true, true}))
		observe(t, s, state.Pod{Namespace: "b", Name: "b"}, podJSON(container{latest: true}))
	}
	fill()
	spoiled, kept, again := s.SnapshotWithViolations(), s.SnapshotWithViolations(), viewOf(s.SnapshotWithViolations())
	for i := range spoiled.Namespaces {
		ns := &spoiled.Namespaces[i]
		ns.TotalPods, ns.Name = 99, "spoiled"
		for c := range ns.Violations {
			ns.Violations[c], ns.Subjects[c], ns.Waived[c] = 99, 99, 99
		}
		ns.Violations, ns.Subjects, ns.Waived = append(ns.Violations, 99), append(ns.Subjects, 99), append(ns.Waived, 99)
	}
	spoiled.Skipped["spoiled"] = 99
	for i := range again.Namespaces {
		ns := &again.Namespaces[i]
		ns.Violations, ns.Subjects, ns.Waived = slices.Clone(ns.Violations), slices.Clone(ns.Subjects), slices.Clone(ns.Waived)
	}
	_ = append(kept.Namespaces[0].Violations, 99)
	_ = append(kept.Namespaces[0].Subjects, 99)
	_ = append(kept.Namespaces[0].Waived, 99)
	if diff := cmp.Diff(again, viewOf(kept), sameTable); diff != "" {
		t.Errorf("appending to one count changed another (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(again, viewOf(s.SnapshotWithViolations()), sameTable); diff != "" {
		t.Errorf("the state changed with a snapshot (-before +after):\n%s", diff)
	}
	observe(t, s, state.Pod{Namespace: "a", Name: "a"}, podJSON(container{}))
	observe(t, s, state.Pod{Namespace: "b", Name: "c"}, podJSON(container{latest: true}, container{latest: true}))
	replaceAll(t, s, 1, slices.Values([]state.Observation{}))
	if diff := cmp.Diff(again, viewOf(kept), sameTable); diff != "" {
		t.Errorf("a snapshot changed with the state (-before +after):\n%s", diff)
	}
	fill()
	if diff := cmp.Diff(again, viewOf(s.SnapshotWithViolations()), sameTable); diff != "" {
		t.Errorf("the state of the same pods differs (-before +after):\n%s", diff)
	}
}

// TestConcurrentEvents has goroutines that write pods of their own, and one that reads. The state at the end is that of the
// remaining pods.
func TestConcurrentEvents(t *testing.T) {
	s := newState(t)
	const writers, rounds = 6, 60
	var writing, reading sync.WaitGroup
	stop := make(chan struct{})
	reading.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			snap := s.SnapshotWithViolations()
			snap.Cluster()
			counted := snap.Totals()
			listed := make([]int, 3)
			for v := range snap.Violations() {
				listed[v.Check]++
			}
			if !slices.Equal(counted.Violations, listed) {
				t.Errorf("%v violations are counted and %v listed", counted.Violations, listed)
				return
			}
			s.Ready()
		}
	})
	for w := range writers {
		writing.Go(func() {
			for i := range rounds {
				pod := state.Pod{Namespace: fmt.Sprintf("ns%d", w%3), Name: fmt.Sprintf("w%d-%d", w, i%5), UID: fmt.Sprint(i / 5 % 2)}
				switch i % 4 {
				case 0, 1:
					if _, err := s.Observe(pod, podJSON(container{latest: i%2 == 0, noLiveness: true})); err != nil {
						t.Error(err)
					}
				case 2:
					s.Delete(pod)
				default:
					if _, err := s.Observe(pod, truncated); err == nil {
						t.Error("a truncated pod was evaluated")
					}
				}
			}
			s.SetReady()
		})
	}
	writing.Wait()
	close(stop)
	reading.Wait()

	scratch := make(model)
	for w := range writers {
		for i := range rounds {
			key := podKey{fmt.Sprintf("ns%d", w%3), fmt.Sprintf("w%d-%d", w, i%5)}
			uid := fmt.Sprint(i / 5 % 2)
			switch i % 4 {
			case 0, 1:
				scratch[key] = modelPod{uid, string(podJSON(container{latest: i%2 == 0, noLiveness: true}))}
			case 2:
				if scratch[key].uid == uid {
					delete(scratch, key)
				}
			default:
				scratch[key] = modelPod{uid, string(truncated)}
			}
		}
	}
	if diff := cmp.Diff(scratch.snapshot(s.Table()), viewOf(s.SnapshotWithViolations()), sameTable); diff != "" {
		t.Errorf("state (-scratch +live):\n%s", diff)
	}
	if len(scratch) == 0 {
		t.Error("no pods remain: the test compares nothing")
	}
}
