package policytest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRunFindsTests runs files of any name that declare the kind, broken ones included, and files that are named.
func TestRunFindsTests(t *testing.T) {
	const test = "apiVersion: kube-devops.io/v1\nkind: PolicyTest\npolicy: default\ncases: [{name: a, pod: pod.yaml, violations: [{check: latest_tag}], checks: []}]\n"
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a/latest_test.yml": test,
		"a/more.yaml":       "# cases\n'kind': PolicyTest # of ours\n",
		"a/cut.yaml":        "apiVersion: kube-devops.io/v1\nkind: PolicyTest\ncases: [\n",
		"a/cases.json":      `{"kind":"PolicyTest"}`,
		"a/tests.yaml":      "not a mapping",
		"a/pod.yaml":        "kind: Pod\nmetadata: {name: PolicyTest}\n",
		"a/table.yaml":      "kind: PolicyTable\nmetadata: {annotations: {see: PolicyTest}}\n",
		"a/broken.yaml":     "see: PolicyTest\na: [\n",
		"a/.hidden.yaml":    test,
		"a/notes.txt":       test,
		"b/notes.txt":       test,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := func(args ...string) (names []string) {
		t.Helper()
		for i, arg := range args {
			args[i] = filepath.Join(dir, arg)
		}
		report, err := Run(time.Now(), args...)
		if err != nil {
			return []string{err.Error()[len(dir)+1:]}
		}
		for _, s := range report {
			names = append(names, s.File[len(dir)+1:])
		}
		return names
	}
	inFolder := []string{"a/cases.json", "a/cut.yaml", "a/latest_test.yml", "a/more.yaml", "a/tests.yaml"}
	for _, tt := range []struct{ args, want []string }{
		{[]string{"a"}, inFolder},
		{[]string{"."}, inFolder},
		{[]string{"a/notes.txt", "a/pod.yaml", "a/notes.txt"}, []string{"a/notes.txt", "a/pod.yaml"}},
		{[]string{"a", "a/latest_test.yml"}, inFolder},
		{[]string{"b"}, []string{"b: no file of kind PolicyTest found in the folder or below"}},
	} {
		if diff := cmp.Diff(tt.want, files(tt.args...)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.args, diff)
		}
	}
}
