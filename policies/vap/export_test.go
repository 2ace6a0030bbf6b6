package vap_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/golden"
)

func export(t *testing.T, table *rules.Table, o vap.Options) string {
	t.Helper()
	o.Pods = policies.PodSchema()
	if o.ControllerUsers == nil {
		o.ControllerUsers = vap.DefaultControllerUsers()
	}
	e, err := vap.Export(table, o)
	if err != nil {
		t.Fatal(err)
	}
	return string(e.Text)
}

func open(t *testing.T, name string) *rules.Table {
	t.Helper()
	table, err := policies.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestExport compares exports with files in testdata.
func TestExport(t *testing.T) {
	tests := []struct {
		name    string
		table   *rules.Table
		options vap.Options
	}{
		{"default", open(t, "default"), vap.Options{Action: rules.Deny, Command: "kube-devops policy export vap --action deny"}},
		{"everything", load(t, everything), vap.Options{NamespaceOptOut: true, ExemptGroups: []string{"sre", "o'neil\"s"}, Command: "kube-devops policy export vap"}},
		{"pods", load(t, everything), vap.Options{Action: rules.Warn, WithoutWorkloads: true, Ignore: true}},
		{"workloads", load(t, everything), vap.Options{Action: rules.Deny, WithoutPods: true, ControllerUsers: []string{"*"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := export(t, tt.table, tt.options)
			golden.Compare(t, "testdata/"+tt.name+".yaml", text)
			if again := export(t, tt.table, tt.options); again != text {
				t.Error("the second export differs")
			}
		})
	}
}

type exported struct {
	Kind     string
	Metadata struct {
		Name                string
		Labels, Annotations map[string]string
	}
	Spec struct {
		PolicyName        string   `yaml:"policyName"`
		ValidationActions []string `yaml:"validationActions"`
		Variables         []struct{ Name, Expression string }
		Validations       []struct{ Expression, Message, Reason string }
	}
}

func decode(t *testing.T, text string) []exported {
	t.Helper()
	var objects []exported
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var object exported
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
}

// TestExportShipped checks that every built-in table can be exported for each action, as one policy with its binding for each action. The objects name
// the table and its hash.
func TestExportShipped(t *testing.T) {
	names := policies.Names()
	if testing.Short() {
		names = []string{"default", "pss-baseline"}
	}
	for _, name := range names {
		table := open(t, name)
		for action, want := range map[rules.Enforce][]string{rules.Deny: {"deny", "audit"}, rules.Warn: {"warn"}, rules.Audit: {"audit"}} {
			var got []string
			for _, o := range decode(t, export(t, table, vap.Options{Action: action, Partial: true})) {
				if o.Metadata.Annotations["kube-devops.io/policy-hash"] != table.Hash() || o.Metadata.Labels["kube-devops.io/policy-table"] != name ||
					"sha256:"+o.Metadata.Labels["kube-devops.io/policy-hash-prefix"] != table.Hash()[:len("sha256:")+16] {
					t.Errorf("%s: metadata %+v, want those of %s", o.Metadata.Name, o.Metadata, table.Hash())
				}
				if o.Kind == "ValidatingAdmissionPolicyBinding" {
					got = append(got, strings.ToLower(strings.Join(o.Spec.ValidationActions, " ")))
					continue
				}
				if len(o.Spec.Validations) != 1 || o.Spec.Validations[0].Reason != "Forbidden" || o.Spec.Validations[0].Message == "" {
					t.Errorf("%s: validations %+v", o.Metadata.Name, o.Spec.Validations)
				}
			}
			if strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("%s --action %s: bindings for %v, want %v", name, action, got, want)
			}
		}
	}
}

// TestWarnings checks that an export warns about checks that may exceed the cost limits of the API server, and that the common tables have no such
// checks.
func TestWarnings(t *testing.T) {
	warnings := func(table *rules.Table) string {
		e, err := vap.Export(table, vap.Options{Action: rules.Warn, Partial: true, Pods: policies.PodSchema()})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(e.Warnings, "\n")
	}
	for _, name := range []string{"default", "recommended", "pss-restricted"} {
		if got := warnings(open(t, name)); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
	const costly = `{apiVersion: kube-devops.io/v1, kind: PolicyTable, metadata: {name: t}, checks: [
		{id: cheap, weight: 1, forEach: spec.containers, violation: {path: image, operator: matches, value: a}},
		{id: costly, weight: 1, forEach: allContainers.env, violation: {path: value, operator: matches, value: "`
	got := warnings(load(t, costly+strings.Repeat("a|", 300)+`"}}]}`))
	if !strings.HasPrefix(got, "kube-devops-t-warn: costly may exceed the cost limit of the API server for a pod with 100 containers") {
		t.Errorf("warnings %q", got)
	}
}
