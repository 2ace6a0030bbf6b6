package rules_test

import (
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

// TestReads: a check or a skip reads a field if any of its conditions or subjects is that field, or within it.
func TestReads(t *testing.T) {
	tests := []struct {
		check, field string
		want         bool
	}{
		{"{violation: {path: status.phase, operator: exists}}", "status", true},
		{"{violation: {path: status.phase, operator: exists}}", "status.phase", true},
		{"{violation: {path: status.phase, operator: exists}}", "status.reason", false},
		{"{violation: {path: spec.status, operator: exists}}", "status", false},
		{"{when: {path: status.phase, operator: exists}, violation: {path: spec.a, operator: exists}}", "status", true},
		{"{forEach: status.containerStatuses, violation: {path: ready, operator: exists}}", "status", true},
		{"{forEach: spec.containers, violation: {path: $.status.phase, operator: exists}}", "status", true},
		{"{forEach: spec.containers, violation: {path: status.phase, operator: exists}}", "status", false},
		{"{violation: {path: metadata.labels.app, operator: exists}}", "metadata.labels", true},
		{"{violation: {path: metadata.name, operator: exists}}", "metadata.labels", false},
		{"{violation: {some: {in: metadata, is: {path: key, operator: equals, value: labels}}}}", "metadata.labels", true},
		{"{violation: {path: spec.a, operator: equals, valueFrom: metadata.labels.a}}", "metadata.labels", true},
		{"{violation: {not: {any: [{path: [spec.a, status.a], operator: exists}]}}}", "status", true},
	}
	for _, tt := range tests {
		t.Run(tt.check+" "+tt.field, func(t *testing.T) {
			table, err := rules.Load("t.yaml", []byte("{apiVersion: kube-devops.io/v1, kind: PolicyTable, metadata: {name: t}, checks: [{id: a, weight: 1, "+tt.check[1:]+"]}"))
			if err != nil {
				t.Fatal(err)
			}
			if got := table.Checks()[0].Reads(strings.Split(tt.field, ".")...); got != tt.want {
				t.Errorf("reads %v, want %v", got, tt.want)
			}
		})
	}
}
