package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLintOfAFolder reads policy files, counts other manifests, and skips hidden files.
func TestLintOfAFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	const table = "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: a}\nchecks:\n- {id: a, weight: 0, violation: {path: spec.x, operator: absent}}\n"
	for name, text := range map[string]string{
		"d/a.yaml":         table,
		"d/sub/b.json":     `{` + "\n" + `  "apiVersion": "kube-devops.io/v1", "kind": "PolicyTable", "metadata": {"name": "b"}, "checks": []}`,
		"d/flow.yml":       `{apiVersion: kube-devops.io/v1, kind: PolicyTable, metadata: {name: c}, checks: []}`,
		"d/values.yaml":    "policy: |\n  " + strings.ReplaceAll(table, "\n", "\n  "),
		"d/list.json":      `{"kind":"List","items":[{"apiVersion":"kube-devops.io/v1"}]}`,
		"d/scan.yaml":      "apiVersion: kube-devops.io/v1\nkind: ScanConfig\n",
		"d/other.yaml":     "apiVersion: apps/v1\nkind: Deployment\n",
		"d/v2.yaml":        "apiVersion: kube-devops.io/v10\nkind: PolicyTable\n",
		"d/readme.md":      "apiVersion: kube-devops.io/v1\n",
		"d/.hidden.yaml":   table,
		"d/.git/a.yaml":    table,
		"empty/other.yaml": "a: b\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		writeText(t, name, text, 0o600)
	}
	for _, tt := range []struct {
		args, stdin   string
		files, stdout string
		stderr        string
	}{
		{args: "d d/a.yaml", files: "d/a.yaml d/flow.yml d/sub/b.json", stdout: "3 files checked, 5 other files skipped.\n", stderr: "in 3 files"},
		{args: "d/*.y*ml", files: "d/a.yaml d/flow.yml", stdout: "2 files checked, 5 other files skipped.\n", stderr: "in 2 files"},
		{args: "-", stdin: table, files: "stdin", stderr: "1 error in 1 file; lint looks for warnings in a file when its errors are fixed"},
		{args: "- -", stdin: table, files: "stdin", stderr: "1 error in 1 file; lint looks for warnings in a file when its errors are fixed"},
		{args: "- --dump -", stderr: "- is given twice: standard input can be read only once"},
		{args: "empty", stdout: "0 files checked, 1 other file skipped.\n", stderr: "read empty: there is no file of apiVersion kube-devops.io/v1"},
		{args: "x*.yaml", stderr: "read x*.yaml: no file matches the pattern"},
	} {
		var stdout, stderr output
		code := run(t.Context(), append([]string{"policy", "lint"}, strings.Fields(tt.args)...), strings.NewReader(tt.stdin), &stdout, &stderr)
		var files []string
		for line := range strings.Lines(stdout.String()) {
			if name, _, ok := strings.Cut(line, ":"); ok && (len(files) == 0 || files[len(files)-1] != name) {
				files = append(files, name)
			}
		}
		if code != exitFailed || strings.Join(files, " ") != tt.files || !strings.HasSuffix(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("lint %s: code %d, files %q, stdout:\n%sstderr:\n%s", tt.args, code, files, stdout.String(), stderr.String())
		}
	}
}

func TestPolicyList(t *testing.T) {
	t.Chdir("../..")
	got := strings.Join(strings.Fields(transcript(t, "policy list")), " ") // without the widths of columns
	if !strings.Contains(got, " default 3 The three checks of the default table") || !strings.Contains(got, " recommended ") || !strings.Contains(got, "The table recommended, and the other checks") || strings.Contains(got, "yaml-language-server") {
		t.Error(got)
	}
	if got := transcript(t, "policy list -o json"); !strings.Contains(got, `"name": "recommended"`) || !strings.Contains(got, `"hash": "sha256:`) {
		t.Error(got)
	}
}

// TestPolicyListOnATerminal: descriptions are wrapped below their column.
func TestPolicyListOnATerminal(t *testing.T) {
	tables := []tableJSON{{Name: "pss-restricted", Checks: 7, Description: strings.Repeat("word ", 20) + "end"}, {Name: "b", Checks: 100, Description: "short"}}
	const want = `NAME            CHECKS  DESCRIPTION
pss-restricted  7       word word word word word word word word word word word
                        word word word word word word word word word end
b               100     short
`
	if got := tableList(tables, 80); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := tableList(tables, 0); strings.Count(got, "\n") != 3 {
		t.Errorf("without a terminal: %s", got)
	}
	if got := tableList(tables, 10); strings.Count(got, "\n") < 5 {
		t.Errorf("on a narrow terminal: %s", got)
	}
}

func TestVersionFlag(t *testing.T) {
	if got, want := transcript(t, "--version"), transcript(t, "version"); got[strings.IndexByte(got, '\n'):] != want[strings.IndexByte(want, '\n'):] {
		t.Errorf("%q, want %q", got, want)
	}
}

func writeText(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.WriteFile(name, []byte(text), mode), os.Chmod(name, mode)); err != nil {
		t.Fatal(err)
	}
}
