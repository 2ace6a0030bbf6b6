package cel_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/cel"
)

// options has the options of an exported policy, without types.
var options = cel.Options{Root: "pod", Name: "name", Namespace: "namespace", Now: "now", Workload: "workload"}

const head = `
apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: test}
`

func load(t testing.TB, text string) *rules.Table {
	t.Helper()
	table, err := rules.Load("table.yaml", []byte(head+text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// check loads a table with one check.
func check(t testing.TB, fields string) *rules.Table {
	return load(t, "checks:\n  - {id: it, weight: 1, "+fields+"}")
}

func TestUnsupported(t *testing.T) {
	for _, tt := range []struct{ name, fields, want string }{
		{"the status of the pod", `violation: {path: status.phase, operator: equals, value: Pending}`, "check it reads status.phase, which is not known at admission"},
		{"the status of the pod for a container", `forEach: spec.containers, violation: {path: $.status.phase, operator: exists}`, "reads status.phase"},
		{"subjects of the status", `forEach: status.containerStatuses, violation: {path: restartCount, operator: greaterThan, value: 3}`, "reads status.containerStatuses"},
		{"the deletion", `when: {path: metadata.deletionTimestamp, operator: exists}, violation: {path: spec, operator: exists}`, "reads metadata.deletionTimestamp"},
		{"some of the status", `violation: {some: {in: status.conditions, is: {path: type, operator: exists}}}`, "reads status.conditions"},
		{"an operand of the status", `violation: {path: spec.x, operator: equals, valueFrom: status.x}`, "reads status.x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := check(t, tt.fields)
			_, err := cel.New(table, options).Violations(&table.Checks()[0])
			if unsupported := new(cel.Unsupported); !errors.As(err, &unsupported) || unsupported.Check != "it" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestSkipOfStatusIsFalse(t *testing.T) {
	table := load(t, `
pods:
  skip:
    - {reason: finished, when: {path: status.phase, operator: in, value: [Succeeded, Failed]}}
    - {reason: deleted, when: {path: metadata.deletionTimestamp, operator: exists}}
    - {reason: host, when: {path: spec.hostNetwork, operator: equals, value: true}}
checks: [{id: it, weight: 1, violation: {path: spec, operator: exists}}]
`)
	got, err := cel.New(table, options).Skipped()
	if want := "spec.?hostNetwork"; err != nil || !strings.Contains(got, "hostNetwork") || strings.Contains(got, "phase") || strings.Contains(got, "deletion") {
		t.Errorf("got %s, %v; want only %s", got, err, want)
	}
}
