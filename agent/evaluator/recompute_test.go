package evaluator

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/state"
)

// TestDivergingFindsSpoiledState spoils the state behind the evaluator's back, in the ways in which an event can be lost or
// counted twice. Recompute repairs it.
func TestDivergingFindsSpoiledState(t *testing.T) {
	pods := observations(observed("a", "one", latest), observed("a", "two", clean), observed("b", "one", noProbes))
	observe := func(s *state.ClusterState, o state.Observation) { _, _ = s.Observe(o.Pod, o.JSON) }
	for _, test := range []struct {
		name  string
		spoil func(*state.ClusterState)
		want  []string // namespaces that differ
	}{
		{"as it is", func(*state.ClusterState) {}, nil},
		{"a pod too many", func(s *state.ClusterState) { observe(s, observed("a", "ghost", latest)) }, []string{"a"}},
		{"a pod too few", func(s *state.ClusterState) { s.Delete(state.Pod{Namespace: "b", Name: "one"}) }, []string{"b"}},
		{"a change lost", func(s *state.ClusterState) { observe(s, observed("a", "one", clean)) }, []string{"a"}},
		{"two that cancel out in the counts", func(s *state.ClusterState) {
			observe(s, observed("a", "one", clean))
			observe(s, observed("a", "two", latest))
		}, []string{"a"}},
		{"a namespace that does not exist", func(s *state.ClusterState) {
			observe(s, observed("ghosts", "one", clean))
			s.Delete(state.Pod{Namespace: "a", Name: "two"})
		}, []string{"a", "ghosts"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newTestEvaluator(t, zap.NewNop(), nil)
			e.Begin(t.Context(), pods)
			want := e.Current().Snapshot()
			test.spoil(e.Current())
			if diff := cmp.Diff(test.want, slices.Sorted(maps.Keys(e.Diverging(t.Context(), pods)))); diff != "" {
				t.Errorf("diverging (-want +got):\n%s", diff)
			}
			if err := e.Recompute(t.Context(), pods); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.Namespaces, e.Current().Snapshot().Namespaces); diff != "" {
				t.Errorf("after Recompute (-want +got):\n%s", diff)
			}
		})
	}
}

// The fingerprint of a namespace changes with its pods, and with nothing else.
func TestFingerprintOfPods(t *testing.T) {
	e := newTestEvaluator(t, zap.NewNop(), nil)
	e.Begin(t.Context(), observations())
	one, two := observed("a", "one", latest), observed("a", "two", clean)
	print := func(pods ...state.Observation) uint64 { return e.Diverging(t.Context(), observations(pods...))["a"] }
	if print(one, two) != print(two, one) {
		t.Error("the order of the pods changes the fingerprint")
	}
	if print(one, two) == print(one) || print(one) == print(observed("a", "one", clean)) {
		t.Error("pods change, and the fingerprint does not")
	}
}
