package policies_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// TestPods holds each check of each table that ships against its pods in testdata/checks: <id>/pass has pods without a
// violation of the check, <id>/fail has pods with one. A check must have both.
func TestPods(t *testing.T) {
	var tables []*rules.Table
	for _, name := range policies.Names() {
		table, err := policies.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		tables = append(tables, table)
	}
	for _, problem := range podProblems(t, tables, os.DirFS("../testdata/checks")) {
		t.Error(problem)
	}
}

// TestPodsFindsProblems makes sure that TestPods can fail.
func TestPodsFindsProblems(t *testing.T) {
	table, err := policies.Open("default")
	if err != nil {
		t.Fatal(err)
	}
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	const clean, bad = `{"spec":{"containers":[{"image":"a:1","livenessProbe":{},"readinessProbe":{}}]}}`, `{"spec":{"containers":[{"image":"a:latest"}]}}`
	got := podProblems(t, []*rules.Table{table}, fstest.MapFS{
		"latest_tag/pass/clean.json":         file(clean),
		"latest_tag/pass/bad.json":           file(bad),
		"latest_tag/pass/empty.json":         file(`{"spec":{"containers":[]}}`),
		"latest_tag/pass/cut.json":           file(`{"spec":{"containers":[`),
		"latest_tag/fail/bad.json":           file(bad),
		"latest_tag/fail/clean.json":         file(clean),
		"latest_tag/fail/notes.txt":          file(""),
		"missing_liveness/fail/bad.json":     file(bad),
		"missing_readiness/pass/clean.json":  file(clean),
		"missing_readiness/fail/readme.text": file(""),
		"missing_resources/pass/clean.json":  file(clean),
	})
	want := []string{
		"latest_tag/pass/bad.json: violations of latest_tag: 1",
		"latest_tag/pass/cut.json: unexpected end of JSON at byte 23",
		"latest_tag/pass/empty.json has nothing that latest_tag looks at",
		"latest_tag/fail/clean.json: violations of latest_tag: 0",
		"latest_tag/fail/notes.txt is no pod: its name does not end with .json",
		"missing_liveness has no pod in missing_liveness/pass",
		"missing_readiness/fail/readme.text is no pod: its name does not end with .json",
		"missing_readiness has no pod in missing_readiness/fail",
		"missing_resources is the folder of no check",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// podProblems lists what is wrong between tables and the pods of their checks.
func podProblems(t *testing.T, tables []*rules.Table, pods fs.FS) (problems []string) {
	t.Helper()
	known := make(map[string]bool)
	for _, table := range tables {
		for i, c := range table.Checks() {
			known[c.ID] = true
			problems = append(problems, folderProblems(t, table, i, pods, "pass")...)
			problems = append(problems, folderProblems(t, table, i, pods, "fail")...)
		}
	}
	folders, err := fs.ReadDir(pods, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if !known[f.Name()] {
			problems = append(problems, f.Name()+" is the folder of no check")
		}
	}
	return problems
}

// folderProblems lists what is wrong with the pods of one check that must all pass, or all fail.
func folderProblems(t *testing.T, table *rules.Table, check int, pods fs.FS, kind string) (problems []string) {
	t.Helper()
	id := table.Checks()[check].ID
	folder := path.Join(id, kind)
	files, err := fs.ReadDir(pods, folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	count := 0
	for _, f := range files {
		file := path.Join(folder, f.Name())
		if path.Ext(file) != ".json" {
			problems = append(problems, file+" is no pod: its name does not end with .json")
			continue
		}
		count++
		text, err := fs.ReadFile(pods, file)
		if err != nil {
			t.Fatal(err)
		}
		if problem := podProblem(table, check, text, kind); problem != "" {
			problems = append(problems, file+problem)
		}
	}
	if count == 0 {
		problems = append(problems, id+" has no pod in "+folder)
	}
	return problems
}

func podProblem(table *rules.Table, check int, pod []byte, kind string) string {
	verdict, err := table.Evaluate(pod)
	if err != nil {
		return fmt.Sprintf(": %v", err)
	}
	violations := 0
	for _, v := range verdict.Violations {
		if v.Check == check {
			violations++
		}
	}
	id := table.Checks()[check].ID
	switch {
	case verdict.Subjects[check] == 0:
		return " has nothing that " + id + " looks at"
	case (violations > 0) != (kind == "fail"):
		return fmt.Sprintf(": violations of %s: %d", id, violations)
	}
	return ""
}
