package policies_test

import (
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/lint"
)

// TestTablesHaveNoWarnings lints each built-in table together with those that it extends.
func TestTablesHaveNoWarnings(t *testing.T) {
	for _, name := range policies.Names() {
		sources, err := policies.Resolve(policies.Read, name)
		if err != nil {
			t.Fatal(err)
		}
		table, err := rules.LoadAll(sources...)
		if err != nil {
			t.Fatal(err)
		}
		top := sources[len(sources)-1]
		options := lint.Options{Pods: policies.PodSchema(), Now: time.Now(), Below: sources[:len(sources)-1]}
		for _, warning := range lint.Warnings(table, top.File, top.Text, options) {
			t.Error(warning)
		}
	}
}
