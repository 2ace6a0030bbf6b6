package state_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// TestUnknownViolations: a check that cannot be answered is a violation, and an unknown one unless it is waived. After the last
// one the counts are as though there had never been one.
func TestUnknownViolations(t *testing.T) {
	table, err := rules.Load("unknown.yaml", []byte(`apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: unknown}
checks:
  - {id: small, weight: 5, forEach: spec.containers, violation: {path: resources.limits.cpu, operator: quantityLessThan, value: 1}}
  - {id: privileged, weight: 3, forEach: spec.containers, violation: {path: securityContext.privileged, operator: equals, value: true}}
waivers:
  - {id: w, reason: r, expires: 2030-01-01T00:10:00Z, container: waived}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := state.New(table)
	s.ExpireWaivers(base)
	put := func(name, json string) {
		t.Helper()
		if _, err := s.Observe(named(name), []byte(json)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, metrics state.LiveMetrics) {
		t.Helper()
		snap := s.Snapshot()
		if diff := cmp.Diff(metrics, snap.Namespaces[0].LiveMetrics); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		if diff := cmp.Diff(metrics, snap.Totals()); diff != "" {
			t.Errorf("totals, %s (-want +got):\n%s", when, diff)
		}
	}
	const unknown = `{"spec":{"containers":[{"name":"app","resources":{"limits":{"cpu":"1e101"}},"securityContext":{"privileged":true}},
		{"name":"waived","resources":{"limits":{"cpu":"1e101"}}}]}}`
	put("a", unknown)
	put("b", `{"spec":{"containers":[{"resources":{"limits":{"cpu":"500m"}}}]}}`)
	waived := state.LiveMetrics{TotalPods: 2, Violations: []int{2, 1}, Subjects: []int{2, 3}, Waived: []int{1, 0}, Unknown: []int{1, 0}}
	want("with a waiver", waived)
	before := s.Snapshot()
	if changed := s.ExpireWaivers(base.Add(time.Hour)); len(changed) > 0 {
		t.Errorf("changes %v of a pod that fails the same checks", changed)
	}
	want("the waiver has expired", state.LiveMetrics{TotalPods: 2, Violations: []int{3, 1}, Subjects: []int{3, 3}, Waived: []int{0, 0}, Unknown: []int{2, 0}})
	if diff := cmp.Diff(waived, before.Namespaces[0].LiveMetrics); diff != "" {
		t.Errorf("an older snapshot changed (-before +after):\n%s", diff)
	}
	s.Delete(named("a"))
	want("without the pod", state.LiveMetrics{TotalPods: 1, Violations: []int{1, 0}, Subjects: []int{1, 1}, Waived: []int{0, 0}})
	fresh := state.New(table)
	replaceAll(t, fresh, 1, slices.Values([]state.Observation{{Pod: named("b"), JSON: []byte(`{"spec":{"containers":[{"resources":{"limits":{"cpu":"500m"}}}]}}`)}}))
	fresh.ExpireWaivers(base.Add(time.Hour))
	if names := s.Differences(fresh); len(names) > 0 {
		t.Errorf("the state differs from one computed from scratch: %v", names)
	}
	// A violation that becomes unknown is a difference, though the count of violations is the same.
	put("b", `{"spec":{"containers":[{"resources":{"limits":{"cpu":"1e101"}}}]}}`)
	if names := s.Differences(fresh); len(names) != 1 {
		t.Errorf("differences in %v, want one namespace", names)
	}
}

func named(name string) state.Pod { return state.Pod{Namespace: "default", Name: name} }
