//go:build !race

package rules_test

import (
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

// TestQuantitiesDoNotAllocate compares the quantities of real pods, which fit into 128 bits.
func TestQuantitiesDoNotAllocate(t *testing.T) {
	table := tableOf(t, "spec.containers", `{path: resources.limits.memory, operator: quantityGreaterThan, value: 4Gi}`,
		`{path: resources.limits.cpu, operator: quantityEquals, value: 0}`, `{path: resources.limits.memory, operator: quantityLessThan, value: 1.5Ki}`,
		`{path: resources.limits.cpu, operator: quantityGreaterThan, valueFrom: $.spec.overhead.cpu, times: 1.5}`, `{path: [name, $.spec.hostname], operator: equals, valueFrom: resources.limits.cpu}`)
	pod := []byte(`{"spec":{"hostname":"a","overhead":{"cpu":"2"},"containers":[{"resources":{"limits":{"memory":"1Gi","cpu":"1500m"}}},{"resources":{"limits":{"memory":536870912,"cpu":0.5}}}]}}`)
	var verdict rules.Verdict
	allocations := testing.AllocsPerRun(1000, func() {
		if err := table.EvaluateInto(&verdict, pod); err != nil || len(verdict.Violations) > 0 {
			t.Fatalf("verdict %v, error %v; want a clean pod", verdict, err)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations, want none", allocations)
	}
}
