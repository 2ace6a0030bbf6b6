//go:build !race

package rules_test

import (
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

// TestEvaluateIntoDoesNotAllocate is left out under the race detector, which makes sync.Pool forget at random.
func TestEvaluateIntoDoesNotAllocate(t *testing.T) {
	table := load(t, string(readFile(t, "../policies/default.yaml")))
	pod := realisticPod(t, true)
	var verdict rules.Verdict
	allocations := testing.AllocsPerRun(1000, func() {
		if err := table.EvaluateInto(&verdict, pod); err != nil || len(verdict.Violations) > 0 {
			t.Fatalf("verdict %v, error %v; want a clean pod", verdict, err)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations for a clean pod, want none", allocations)
	}
}

func TestProjectionDoesNotAllocate(t *testing.T) {
	projection := load(t, string(readFile(t, "../policies/default.yaml"))).Projection()
	pod := realisticPod(t, true)
	var reduced []byte
	allocations := testing.AllocsPerRun(1000, func() {
		var err error
		if reduced, err = projection.AppendTo(reduced[:0], pod); err != nil {
			t.Fatal(err)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations, want none", allocations)
	}
}
