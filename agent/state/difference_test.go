package state_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// TestDifferences fills two states with the same pods in different orders, and then changes one of them.
func TestDifferences(t *testing.T) {
	pod := func(namespace, name string) state.Pod {
		return state.Pod{Namespace: namespace, Name: name, UID: "uid-" + name}
	}
	bad, clean := podJSON(container{latest: true}), podJSON(container{})
	for _, test := range []struct {
		name   string
		change func(*state.ClusterState)
		want   []string
	}{
		{"no change", func(*state.ClusterState) {}, nil},
		{"the same pod again", func(s *state.ClusterState) { observe(t, s, pod("a", "one"), bad) }, nil},
		{"a pod becomes clean", func(s *state.ClusterState) { observe(t, s, pod("a", "one"), clean) }, []string{"a"}},
		{"two pods exchange their verdicts", func(s *state.ClusterState) {
			observe(t, s, pod("a", "one"), clean)
			observe(t, s, pod("a", "two"), bad)
		}, []string{"a"}},
		{"a pod is recreated", func(s *state.ClusterState) {
			observe(t, s, state.Pod{Namespace: "b", Name: "one", UID: "uid-again"}, bad)
		}, []string{"b"}},
		{"a pod is deleted", func(s *state.ClusterState) { s.Delete(pod("b", "one")) }, []string{"b"}},
		{"another pod replaces it", func(s *state.ClusterState) {
			s.Delete(pod("b", "one"))
			observe(t, s, pod("b", "three"), bad)
		}, []string{"b"}},
		{"a pod can no longer be evaluated", func(s *state.ClusterState) { s.PutFailed(pod("a", "two")) }, []string{"a"}},
		{"another origin", func(s *state.ClusterState) {
			s.Put(pod("c", "one"), rules.Verdict{Subjects: []int{1, 1, 1}}, "Deployment/web")
		}, []string{"c"}},
		{"a new namespace, and another deleted", func(s *state.ClusterState) {
			observe(t, s, pod("new", "one"), clean)
			s.Delete(pod("c", "one"))
		}, []string{"c", "new"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			pods := []state.Observation{{Pod: pod("a", "one"), JSON: bad}, {Pod: pod("a", "two"), JSON: clean}, {Pod: pod("b", "one"), JSON: bad}, {Pod: pod("c", "one"), JSON: clean}}
			one, other := newState(t), newState(t)
			for i := range pods {
				observe(t, one, pods[i].Pod, pods[i].JSON)
				last := pods[len(pods)-1-i]
				observe(t, other, last.Pod, last.JSON)
			}
			test.change(one)
			for _, got := range [][]string{one.Differences(other), other.Differences(one)} {
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("differences (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestViolationsUntil stops an iteration early.
func TestViolationsUntil(t *testing.T) {
	s := newState(t)
	for _, name := range []string{"a", "b", "c"} {
		observe(t, s, state.Pod{Namespace: "shop", Name: name}, podJSON(container{latest: true, noLiveness: true}))
	}
	snap := s.SnapshotWithViolations()
	var seen []string
	for v := range snap.Violations() {
		if seen = append(seen, v.Pod.Name); len(seen) == 3 {
			break
		}
	}
	if diff := cmp.Diff([]string{"a", "a", "b"}, seen); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
