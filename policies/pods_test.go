package policies_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// TestPods holds each check of each table that ships against its pods in testdata/checks: <id>/pass has pods without a
// violation of the check, <id>/fail has pods with one. A check must have both. Those of a table other than the default
// are in a folder of the table's name, and those that it skips in skip/<reason> there. The tests.yaml beside pods must
// name each of them, with the violations that it has.
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
	other, err := rules.Load("other", []byte(`apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: other}
pods:
  skip:
    - {reason: job, when: {path: job, operator: exists}}
    - {reason: done, when: {path: done, operator: exists}}
    - {reason: gone, when: {path: gone, operator: exists}}
checks: [{id: named, weight: 1, violation: {path: name, operator: absent}}]
`))
	if err != nil {
		t.Fatal(err)
	}
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	tests := func(policy, cases string) *fstest.MapFile {
		return file("apiVersion: kube-devops.io/v1\nkind: PolicyTest\npolicy: " + policy + "\nchecks: [latest_tag]\ncases:\n" + cases)
	}
	const clean, bad = `{"spec":{"containers":[{"image":"a:1","livenessProbe":{},"readinessProbe":{}}]}}`, `{"spec":{"containers":[{"name":"web","image":"a:latest"}]}}`
	got := podProblems(t, []*rules.Table{table, other}, fstest.MapFS{
		"latest_tag/pass/clean.json": file(clean),
		"latest_tag/pass/bad.json":   file(bad),
		"latest_tag/pass/empty.json": file(`{"spec":{"containers":[]}}`),
		"latest_tag/pass/cut.json":   file(`{"spec":{"containers":[`),
		"latest_tag/fail/bad.json":   file(bad),
		"latest_tag/fail/clean.json": file(clean),
		"latest_tag/fail/notes.txt":  file(""),
		"latest_tag/tests.yaml": tests("default", "  - {name: a, pod: pass/clean.json, violations: []}\n  - {name: b, pod: pass/bad.json, violations: []}\n"+
			"  - {name: c, pod: fail/bad.json, violations: [{check: latest_tag, container: web}]}\n  - {name: d, pod: fail/clean.json, skipped: job}\n  - {name: e, pod: fail/none.json}\n"),
		"missing_liveness/fail/bad.json":     file(bad),
		"missing_liveness/tests.yaml":        tests("default", "  - {name: a, pod: fail/bad.json, violations: [{check: latest_tag, container: web}]}\n"),
		"missing_readiness/pass/clean.json":  file(clean),
		"missing_readiness/fail/readme.text": file(""),
		"missing_readiness/tests.yaml":       tests("other", "  - {name: a, pod: pass/clean.json, violations: []}\n"),
		"missing_resources/pass/clean.json":  file(clean),
		"other/named/pass/a.json":            file(`{"name":"a"}`),
		"other/named/fail/skipped.json":      file(`{"job":1}`),
		"other/skip/job/a.json":              file(`{"job":1}`),
		"other/skip/job/b.json":              file(`{"name":"a"}`),
		"other/skip/done/a.json":             file(`{"job":1,"done":1}`),
		"other/skip/never/a.json":            file(`{"job":1}`),
		"other/nothing/pass/a.json":          file(`{}`),
	})
	want := []string{
		"latest_tag/pass/bad.json: violations of latest_tag: 1",
		"latest_tag/pass/cut.json: unexpected end of JSON at byte 23",
		"latest_tag/pass/empty.json has nothing that latest_tag looks at",
		"latest_tag/fail/clean.json: violations of latest_tag: 0",
		"latest_tag/fail/notes.txt is not a pod: its name does not end with .json",
		"latest_tag/tests.yaml: pass/bad.json has [latest_tag web], expected []",
		"latest_tag/tests.yaml: fail/clean.json has [], expected [skipped: job]",
		"latest_tag/tests.yaml: fail/none.json: open latest_tag/fail/none.json: file does not exist",
		"latest_tag/tests.yaml does not name pass/cut.json",
		"latest_tag/tests.yaml does not name pass/empty.json",
		"missing_liveness has no pod in missing_liveness/pass",
		"missing_readiness/fail/readme.text is not a pod: its name does not end with .json",
		"missing_readiness has no pod in missing_readiness/fail",
		"missing_readiness/tests.yaml is of the policy other and not of default",
		"missing_resources is the folder of no check",
		"other/named/fail/skipped.json is skipped: job",
		"other/named/tests.yaml: open other/named/tests.yaml: file does not exist",
		"other/skip/done/a.json is skipped: job",
		"other/skip/gone has no pod",
		"other/skip/job/b.json is not skipped",
		"other/skip/tests.yaml: open other/skip/tests.yaml: file does not exist",
		"other/nothing is the folder of no check",
		"other/skip/never is the folder of no reason",
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
		if table.Name() != policies.Default {
			known[table.Name()] = true
		}
	}
	for _, table := range tables {
		folder := ""
		if table.Name() != policies.Default {
			folder = table.Name()
		}
		ofChecks := make(map[string]bool)
		states, reasons := statedIn(t, table)
		for i, c := range table.Checks() {
			if states != nil && !states[c.ID] {
				continue // the pods are those of the table that it is from
			}
			ofChecks[c.ID] = true
			of := path.Join(folder, c.ID)
			problems = append(problems, folderProblems(t, table, i, pods, of, "pass")...)
			problems = append(problems, folderProblems(t, table, i, pods, of, "fail")...)
			problems = append(problems, testsProblems(t, table, pods, of)...)
		}
		problems = append(problems, skipProblems(t, table, reasons, pods, path.Join(folder, "skip"))...)
		if folder == "" {
			for id := range ofChecks {
				known[id] = true
			}
			continue
		}
		for _, name := range namesIn(t, pods, folder) {
			if !ofChecks[name] && name != "skip" {
				problems = append(problems, path.Join(folder, name)+" is the folder of no check")
			}
		}
		for _, name := range namesIn(t, pods, path.Join(folder, "skip")) {
			if !slices.Contains(reasons, name) && name != testsFile {
				problems = append(problems, path.Join(folder, "skip", name)+" is the folder of no reason")
			}
		}
	}
	for _, name := range namesIn(t, pods, ".") {
		if !known[name] {
			problems = append(problems, name+" is the folder of no check")
		}
	}
	slices.SortStableFunc(problems, func(a, b string) int {
		top := func(s string) string { top, _, _ := strings.Cut(s, "/"); top, _, _ = strings.Cut(top, " "); return top }
		return strings.Compare(top(a), top(b))
	})
	return problems
}

// statedIn returns the ids of the checks whose violation is in the text of a table that ships, and not in a table that it extends, and
// the reasons for which that text skips pods; nil and all reasons for another table.
func statedIn(t *testing.T, table *rules.Table) (ids map[string]bool, reasons []string) {
	t.Helper()
	text, ok := policies.Shipped(table.Name())
	if !ok {
		return nil, table.SkipReasons()
	}
	var stated struct {
		Pods struct {
			Skip []struct{ Reason string }
		}
		Checks []struct {
			ID        string
			Violation yaml.Node
		}
	}
	if err := yaml.Unmarshal(text, &stated); err != nil {
		t.Fatal(err)
	}
	ids = make(map[string]bool)
	for _, c := range stated.Checks {
		ids[c.ID] = ids[c.ID] || !c.Violation.IsZero()
	}
	for _, entry := range stated.Pods.Skip {
		reasons = append(reasons, entry.Reason)
	}
	return ids, reasons
}

// namesIn lists what is in a folder; nothing where there is no such folder.
func namesIn(t *testing.T, files fs.FS, folder string) (names []string) {
	t.Helper()
	entries, err := fs.ReadDir(files, folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// folderProblems lists what is wrong with the pods of one check that must all pass, or all fail.
func folderProblems(t *testing.T, table *rules.Table, check int, pods fs.FS, of, kind string) (problems []string) {
	t.Helper()
	folder := path.Join(of, kind)
	count := 0
	for _, name := range namesIn(t, pods, folder) {
		file := path.Join(folder, name)
		if path.Ext(file) != ".json" {
			problems = append(problems, file+" is not a pod: its name does not end with .json")
			continue
		}
		count++
		if problem := podProblem(table, check, read(t, pods, file), kind); problem != "" {
			problems = append(problems, file+problem)
		}
	}
	if count == 0 {
		problems = append(problems, of+" has no pod in "+folder)
	}
	return problems
}

func read(t *testing.T, files fs.FS, name string) []byte {
	t.Helper()
	text, err := fs.ReadFile(files, name)
	if err != nil {
		t.Fatal(err)
	}
	return text
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
	case verdict.SkipReason != "":
		return " is skipped: " + verdict.SkipReason
	case verdict.Subjects[check] == 0:
		return " has nothing that " + id + " looks at"
	case (violations > 0) != (kind == "fail"):
		return fmt.Sprintf(": violations of %s: %d", id, violations)
	}
	return ""
}

// skipProblems lists what is wrong with the pods that a table must skip, by reason.
func skipProblems(t *testing.T, table *rules.Table, reasons []string, pods fs.FS, folder string) (problems []string) {
	t.Helper()
	for _, reason := range reasons {
		names := namesIn(t, pods, path.Join(folder, reason))
		if len(names) == 0 {
			problems = append(problems, path.Join(folder, reason)+" has no pod")
		}
		for _, name := range names {
			file := path.Join(folder, reason, name)
			verdict, err := table.Evaluate(read(t, pods, file))
			switch {
			case err != nil:
				problems = append(problems, fmt.Sprintf("%s: %v", file, err))
			case verdict.SkipReason == "":
				problems = append(problems, file+" is not skipped")
			case verdict.SkipReason != reason:
				problems = append(problems, file+" is skipped: "+verdict.SkipReason)
			}
		}
	}
	if len(reasons) > 0 {
		problems = append(problems, testsProblems(t, table, pods, folder)...)
	}
	return problems
}

const testsFile = "tests.yaml"

// testsProblems lists what is wrong with the tests.yaml of a folder.
func testsProblems(t *testing.T, table *rules.Table, pods fs.FS, folder string) (problems []string) {
	t.Helper()
	file := path.Join(folder, testsFile)
	text, err := fs.ReadFile(pods, file)
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", file, err)}
	}
	var tests policyTest
	if err := yaml.Unmarshal(text, &tests); err != nil {
		return []string{fmt.Sprintf("%s: %v", file, err)}
	}
	if tests.Policy != table.Name() {
		return []string{fmt.Sprintf("%s is of the policy %s and not of %s", file, tests.Policy, table.Name())}
	}
	named := make(map[string]bool)
	for _, c := range tests.Cases {
		named[c.Pod] = true
		pod, err := fs.ReadFile(pods, path.Join(folder, c.Pod))
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %s: %v", file, c.Pod, err))
			continue
		}
		verdict, err := table.Evaluate(pod)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %s: %v", file, c.Pod, err))
		} else if got, want := outcome(table, tests.Checks, verdict), c.expected(); !slices.Equal(got, want) {
			problems = append(problems, fmt.Sprintf("%s: %s has %v, expected %v", file, c.Pod, got, want))
		}
	}
	for _, kind := range namesIn(t, pods, folder) {
		if kind == testsFile {
			continue
		}
		for _, name := range namesIn(t, pods, path.Join(folder, kind)) {
			if pod := path.Join(kind, name); !named[pod] && path.Ext(pod) == ".json" {
				problems = append(problems, file+" does not name "+pod)
			}
		}
	}
	return problems
}

// A policyTest is a tests.yaml.
type policyTest struct {
	Policy string
	Checks []string // none: all
	Cases  []policyCase
}

type policyCase struct {
	Pod        string
	Violations []struct{ Check, Container, Subject string }
	Skipped    string
}

func (c *policyCase) expected() []string {
	if c.Skipped != "" {
		return []string{"skipped: " + c.Skipped}
	}
	var words []string
	for _, v := range c.Violations {
		words = append(words, phrase(v.Check, v.Container, v.Subject))
	}
	return words
}

// phrase joins the words that are not empty.
func phrase(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), " ")
}

// outcome is a verdict in the words of a case.
func outcome(table *rules.Table, checks []string, verdict rules.Verdict) (words []string) {
	if verdict.SkipReason != "" {
		return []string{"skipped: " + verdict.SkipReason}
	}
	for _, v := range verdict.Violations {
		if id := table.Checks()[v.Check].ID; len(checks) == 0 || slices.Contains(checks, id) {
			words = append(words, phrase(id, v.Container, v.Subject))
		}
	}
	return words
}
