package state

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

// TestPanicAffectsOnePod has a pod whose evaluation panics: it is reported as not evaluated, and does not affect the others.
func TestPanicAffectsOnePod(t *testing.T) {
	evaluateOne = func(table *rules.Table, verdict *rules.Verdict, json []byte) error {
		if bytes.Contains(json, []byte("poison")) {
			return fmt.Errorf("no check %v", table.Checks()[len(table.Checks())])
		}
		return table.EvaluateInto(verdict, json)
	}
	t.Cleanup(func() { evaluateOne = (*rules.Table).EvaluateInto })
	table, err := rules.Load("table.yaml", []byte(onePolicy))
	if err != nil {
		t.Fatal(err)
	}
	var pods []Observation
	for i := range 300 {
		image := "nginx:1"
		if i == 200 {
			image = "poison"
		}
		pods = append(pods, Observation{Pod{"a", fmt.Sprint("pod-", i), ""},
			[]byte(`{"kind":"Pod","spec":{"containers":[{"name":"c","image":"` + image + `"}]}}`)})
	}
	check := func(s *ClusterState, failed []Pod, errs []error) {
		t.Helper()
		ns := s.Snapshot().Namespaces[0]
		if ns.TotalPods != 299 || ns.Unevaluated != 1 || ns.Violations[0] != 299 {
			t.Errorf("%d pods, %d not evaluated, %d violations; want 299, 1, 299", ns.TotalPods, ns.Unevaluated, ns.Violations[0])
		}
		if !slices.Equal(failed, []Pod{{"a", "pod-200", ""}}) {
			t.Errorf("failed: %v, want pod-200", failed)
		}
		for _, err := range errs {
			if !strings.Contains(err.Error(), "panicked: runtime error: index out of range") {
				t.Errorf("%v, want the panic", err)
			}
		}
	}
	one := New(table)
	var failed []Pod
	var errs []error
	for _, o := range pods {
		if _, err := one.Observe(o.Pod, o.JSON); err != nil {
			failed, errs = append(failed, o.Pod), append(errs, err)
		}
	}
	check(one, failed, errs)
	all := New(table)
	failed, errs = nil, nil
	failures, err := all.Replace(t.Context(), 4, slices.Values(pods))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range failures {
		failed, errs = append(failed, f.Pod), append(errs, f.Err)
	}
	check(all, failed, errs)
}

const onePolicy = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: one}
checks:
  - id: image
    description: The container has an image
    remediation: None.
    severity: low
    weight: 1
    forEach: spec.containers
    violation: {path: image, operator: exists}
grades:
  - {name: Any, min: 0}
`
