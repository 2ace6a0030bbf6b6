package lint_test

import (
	"testing"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/lint"
)

// A table may remove a list of a table that it extends, together with the checks that use it. The other table still names it.
func TestWarningsAboutRemovedList(t *testing.T) {
	const head = "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\n"
	base := []byte(head + "lists: {l: [a]}\nchecks: [{id: c, weight: 1, violation: {path: metadata.name, operator: in, value: {list: l}}}]\n")
	table, err := rules.LoadAll(rules.Source{File: "base", Text: base},
		rules.Source{File: "team", Text: []byte(head + "lists: {l: null}\nchecks: [{id: c, violation: {path: metadata.name, operator: absent}}]\n")})
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range lint.Warnings(table, "base", base, lint.Options{Pods: podSchema(t), Now: newYear}) {
		if warning.Line != 4 {
			t.Error(warning)
		}
	}
}
