package lint_test

import (
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules/lint"
)

// TestDenyThatUsersAvoid has conditions that the author of a pod can avoid by a label, and others that read one and do not rest on it.
func TestDenyThatUsersAvoid(t *testing.T) {
	const label, spec = "{path: $.metadata.labels.x, operator: exists}", "{path: $.spec.hostNetwork, operator: equals, value: true}"
	for _, test := range []struct {
		name, forEach, when, violation string
		want                           string // the part of the message; empty: no warning
	}{
		{"the label is required", "", "", "{not: " + label + "}", ""},
		{"a label excepts", "", "", "{all: [" + spec + ", {not: " + label + "}]}", "deny depends on the labels in the violation"},
		{"a label is another reason", "", "", "{any: [" + spec + ", " + label + "]}", ""},
		{"a label excepts one of two reasons", "", "", "{any: [" + spec + ", {all: [" + label + ", " + spec + "]}]}", ""},
		{"the opposite of a reason", "", "", "{not: {any: [" + spec + ", " + label + "]}}", "deny depends on the labels in the violation"},
		{"the opposite of both", "", "", "{not: {all: [" + spec + ", " + label + "]}}", ""},
		{"an owner", "spec.containers", "", "{all: [{path: image, operator: exists}, {path: $.metadata.ownerReferences.#.kind, operator: notEquals, value: Job}]}", "deny depends on the owner references in the violation"},
		{"the element has such a field", "spec.containers", "", "{all: [{path: image, operator: exists}, {path: metadata.labels.x, operator: absent}]}", ""},
		{"a label before the setting", "", "", "{path: [metadata.labels.x, spec.x], operator: equals, value: a}", "deny depends on the labels in the violation"},
		{"a label behind the setting", "", "", "{path: [spec.x, metadata.labels.x], operator: equals, value: a}", ""},
		{"no entry of a map", "", "", "{all: [" + spec + ", {every: {in: metadata.annotations, is: {path: key, operator: notEquals, value: a}}}]}", "deny depends on the annotations in the violation"},
		{"a label for each volume", "", "", "{some: {in: spec.volumes, is: {all: [{path: hostPath, operator: exists}, {path: $.metadata.labels.x, operator: absent}]}}}", "deny depends on the labels in the violation"},
		{"when a label", "", label, spec, "deny depends on the labels in when"},
		{"when another setting", "", spec, spec, ""},
		{"when a label or a setting", "", "{any: [" + label + ", " + spec + "]}", spec, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\nchecks:\n  - id: c\n    weight: 1\n    enforce: deny\n    violation: " + test.violation + "\n"
			if test.forEach != "" {
				text += "    forEach: " + test.forEach + "\n"
			}
			if test.when != "" {
				text += "    when: " + test.when + "\n"
			}
			for _, enforce := range []string{"deny", "warn"} {
				text := strings.Replace(text, "enforce: deny", "enforce: "+enforce, 1)
				got := ""
				for _, warning := range lint.Warnings(load(t, text), "f", []byte(text), lint.Options{Now: newYear}) {
					if strings.Contains(warning.Msg, "depends on") {
						got += warning.Msg
					}
				}
				want := test.want
				if enforce == "warn" {
					want = ""
				}
				if (got == "") != (want == "") || !strings.Contains(got, want) {
					t.Errorf("enforce %s: warning %q, want %q", enforce, got, want)
				}
			}
		})
	}
}
