package policies_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

func TestNames(t *testing.T) {
	if diff := cmp.Diff([]string{"default", "extended", "pss-baseline", "pss-restricted", "recommended"}, policies.Names()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for _, name := range policies.Names() {
		table, err := policies.Open(name)
		if err != nil {
			t.Errorf("open %s: %v", name, err)
		} else if table.Name() != name {
			t.Errorf("the table that ships as %s has the name %s", name, table.Name())
		}
	}
}

// TestDefault compares the default table with DESIGN section 3.
func TestDefault(t *testing.T) {
	table, err := policies.Open("default")
	if err != nil {
		t.Fatal(err)
	}
	containers := []string{"spec.containers"}
	want := []rules.Check{
		{ID: "latest_tag", Severity: rules.High, Weight: 5, ForEach: containers},
		{ID: "missing_liveness", Severity: rules.Medium, Weight: 3, ForEach: containers},
		{ID: "missing_readiness", Severity: rules.Medium, Weight: 2, ForEach: containers},
	}
	if diff := cmp.Diff(want, table.Checks(), cmpopts.IgnoreUnexported(rules.Check{}), cmpopts.IgnoreFields(rules.Check{}, "Description", "Remediation")); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	for _, c := range table.Checks() {
		if c.Description == "" || c.Remediation == "" {
			t.Errorf("%s: description %q, remediation %q: both must say something", c.ID, c.Description, c.Remediation)
		}
	}
	grades := map[float64]string{100: "Healthy", 80: "Healthy", 79.99: "Stable", 60: "Stable", 59.99: "Degraded", 40: "Degraded", 39.99: "Critical", 0: "Critical"}
	for compliance, want := range grades {
		if got := table.Grade(compliance, ""); got != want {
			t.Errorf("the grade of %v is %s, want %s", compliance, got, want)
		}
	}
	included := map[string]bool{
		"kube-system": false, "kube-public": false, "cattle-system": false, "cert-manager": false, "monitoring": false, "observability": false, "argocd": false,
		"default": true, "shop": true, "kube": true, "system": true, "argocd-apps": true, "my-monitoring": true,
	}
	for namespace, want := range included {
		if got := table.Includes(namespace); got != want {
			t.Errorf("%s is included: %v, want %v", namespace, got, want)
		}
	}
}

// TestDefaultIsLiteral spells out what the three predicates are true of.
func TestDefaultIsLiteral(t *testing.T) {
	table, err := policies.Open("default")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		container string
		want      []int
	}{
		{`{"image":"nginx:latest","livenessProbe":{},"readinessProbe":{}}`, []int{0}},
		{`{"image":"nginx","livenessProbe":{},"readinessProbe":{}}`, nil},
		{`{"image":"nginx:1","readinessProbe":{}}`, []int{1}},
		{`{"image":"nginx:1","livenessProbe":{}}`, []int{2}},
		{`{"image":"nginx:latest"}`, []int{0, 1, 2}},
	}
	for _, tt := range tests {
		verdict, err := table.Evaluate([]byte(`{"spec":{"containers":[` + tt.container + `]}}`))
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, v := range verdict.Violations {
			got = append(got, v.Check)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: checks (-want +got):\n%s", tt.container, diff)
		}
	}
}

func TestOpenFile(t *testing.T) {
	text, err := os.ReadFile("default.yaml")
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(t.TempDir(), "own.yaml")
	write(t, own, strings.ReplaceAll(string(text), "name: default", "name: own"))
	table, err := policies.Open(own)
	if err != nil {
		t.Fatal(err)
	}
	if table.Name() != "own" {
		t.Errorf("name %q, want own", table.Name())
	}
	shipped, err := policies.Open("default")
	if err != nil {
		t.Fatal(err)
	}
	if byFile, err := policies.Open("default.yaml"); err != nil || byFile.Hash() != shipped.Hash() {
		t.Errorf("the file of the table that ships: error %v, or another hash", err)
	}
	if got, ok := policies.Shipped("default"); !ok || string(got) != string(text) {
		t.Errorf("shipped: %d bytes, %t; want default.yaml as it ships", len(got), ok)
	}
}

func TestOpenErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "bad.yaml", "kind: PolicyTable\n")
	if err := os.Mkdir("folder", 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		file string
		want string
	}{
		{"no such table", "standard", "open standard: no such file or directory (a policy is a file or a built-in table: default, extended, pss-baseline, pss-restricted, recommended)"},
		{"a misspelled name", "recommendd", `open recommendd: no such file or directory (did you mean "recommended"?)`},
		{"no such file", "tables/own.yaml", "open tables/own.yaml: no such file or directory (a policy is a file or a built-in table: default, extended, pss-baseline, pss-restricted, recommended)"},
		{"no name", "", "open : no such file or directory (a policy is a file or a built-in table: default, extended, pss-baseline, pss-restricted, recommended)"},
		{"no way out of what ships", "../policies/default", `open ../policies/default: no such file or directory (did you mean "default"?)`},
		{"a folder", "folder", "read folder: is a directory"},
		{"a bad table", "bad.yaml", "bad.yaml:1: missing field \"apiVersion\" in the table\nbad.yaml:1: missing field \"metadata\" in the table\nbad.yaml:1: missing field \"checks\" in the table"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table, err := policies.Open(tt.file)
			if table != nil || err == nil || err.Error() != tt.want {
				t.Errorf("table %v, error:\n%v\nwant:\n%s", table, err, tt.want)
			}
		})
	}
	if _, err := policies.Open("standard"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want one that is fs.ErrNotExist", err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A file that is larger than a table may be is not read to its end.
func TestOpenOfAHugeFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "huge.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 1<<40); err != nil { // it takes no room
		t.Fatal(err)
	}
	want := file + ": the file is larger than 1048576 bytes"
	if _, err := policies.Open(file); err == nil || err.Error() != want {
		t.Errorf("Open: error %v, want %s", err, want)
	}
	if _, err := policies.OpenWithWaivers([]string{policies.Default}, file); err == nil || err.Error() != want {
		t.Errorf("OpenWithWaivers: error %v, want %s", err, want)
	}
}

// TestHealthyHasNoCriticalViolation: only the default table, which is literal, calls a namespace with a critical violation Healthy.
func TestHealthyHasNoCriticalViolation(t *testing.T) {
	for _, name := range policies.Names() {
		table, err := policies.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if healthy := table.Grade(100, rules.Critical) == "Healthy"; healthy != (name == policies.Default) {
			t.Errorf("%s: a namespace with a critical violation is Healthy: %t", name, healthy)
		}
	}
}
