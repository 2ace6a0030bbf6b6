//go:build !race

package state_test

import (
	"testing"

	"github.com/kube-devops/kube-devops/agent/state"
)

// TestCleanPodDoesNotAllocate does not run under the race detector, which makes sync.Pool drop items at random.
func TestCleanPodDoesNotAllocate(t *testing.T) {
	s := state.New(defaultTable(t))
	pod := state.Pod{Namespace: "shop", Name: "web", UID: "1"}
	json := []byte(`{"spec":{"containers":[{"name":"web","image":"web:1","livenessProbe":{},"readinessProbe":{}}]}}`)
	allocations := testing.AllocsPerRun(1000, func() {
		if transition, err := s.Observe(pod, json); err != nil || transition.Changed() {
			t.Fatalf("transition %v, error %v; want a clean pod", transition, err)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations for a clean pod that is observed again, want 0", allocations)
	}
}
