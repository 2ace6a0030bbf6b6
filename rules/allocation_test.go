//go:build !race

package rules_test

import (
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

// TestEvaluateIntoDoesNotAllocate is left out under the race detector, which makes sync.Pool forget at random.
func TestEvaluateIntoDoesNotAllocate(t *testing.T) {
	quantified := tableOf(t, "longRunningContainers", `{some: {in: ports, is: {path: hostPort, operator: exists}}}`,
		`{some: {in: resources.requests, is: {any: [{path: key, operator: notIn, value: [cpu, memory]}, {path: value, operator: equals, value: "0"}]}}}`,
		`{every: {in: env, is: {all: [{path: value, operator: absent}, {path: $.spec.hostNetwork, operator: equals, value: true}]}}}`,
		`{some: {in: $.spec.volumes, is: {some: {is: {path: key, operator: equals, value: hostPath}}}}}`,
		`{some: {in: "$.spec.containers.#.env", is: {path: value, operator: equals, value: secret}}}`)
	for _, table := range []*rules.Table{load(t, string(readFile(t, "../policies/default.yaml"))), quantified} {
		pod := realisticPod(t, true)
		var verdict rules.Verdict
		allocations := testing.AllocsPerRun(1000, func() {
			if err := table.EvaluateInto(&verdict, pod); err != nil || len(verdict.Violations) > 0 {
				t.Fatalf("verdict %v, error %v; want a clean pod", verdict, err)
			}
		})
		if allocations != 0 {
			t.Errorf("table %s: %v allocations for a clean pod, want none", table.Name(), allocations)
		}
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
