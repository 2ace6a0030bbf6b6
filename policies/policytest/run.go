package policytest

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// A Report is the result of all suites, in the order of their files.
type Report []Suite

// A Suite is the result of one file of test cases.
type Suite struct {
	File   string
	Policy string // the name of the table
	// Err says why no case of the file could run: an error in the file, its policy or its waivers.
	Err     error
	Results []Result
}

// A Result is the result of one case.
type Result struct {
	Case
	// Err says why there is no verdict: the file cannot be read, or is not a pod.
	Err error
	// Differences is empty when the case passes.
	Differences []Difference
}

// Run runs the cases of files, and of all files of test cases in folders and below. Tests that set no time use now for waivers. The error
// is about the arguments only.
func Run(now time.Time, args ...string) (Report, error) {
	var files []string
	for _, arg := range args {
		found, err := find(arg)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	var report Report
	for _, file := range slices.Compact(files) {
		report = append(report, runFile(file, now))
	}
	return report, nil
}

func runFile(file string, now time.Time) Suite {
	suite := Suite{File: file}
	test, table, err := open(file)
	if err != nil {
		suite.Err = err
		return suite
	}
	suite.Policy = table.Name()
	if !test.At.IsZero() {
		now = test.At
	}
	table = table.AsOf(now)
	for _, c := range test.Cases {
		result := Result{Case: c}
		verdict, err := evaluate(table, beside(file, c.Pod))
		if err == nil && len(c.Violations) == 0 {
			err = test.Looks(table, verdict)
		}
		if err != nil {
			result.Err = fmt.Errorf("%s:%d: case %q: %w", file, c.Line, c.Name, err)
		} else {
			result.Differences = test.Compare(&c, table, verdict, now)
		}
		suite.Results = append(suite.Results, result)
	}
	return suite
}

// open loads a file of test cases and its policy.
func open(file string) (*Test, *rules.Table, error) {
	text, err := policies.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	test, err := Load(file, text)
	if err != nil {
		return nil, nil, err
	}
	table, err := test.table()
	return test, table, err
}

// table loads the policy of the test. The error is strictyaml.Errors.
func (p *Test) table() (*rules.Table, error) {
	table, err := p.open(p.Policy, p.policyLine, "policy", func(policy string) (*rules.Table, error) { return policies.Open(policy) })
	if err == nil && p.Waivers != "" {
		table, err = p.open(p.Waivers, p.waiversLine, "waivers", func(waivers string) (*rules.Table, error) {
			text, err := policies.ReadFile(waivers)
			if err != nil {
				return nil, err
			}
			return table.WithWaivers(waivers, text)
		})
	}
	if err != nil {
		return nil, err
	}
	return table, p.Against(table)
}

// open reads a file that the test names, or a built-in table. An error that is not about a line of that file is about the line that names
// it.
func (p *Test) open(name string, line int, field string, load func(string) (*rules.Table, error)) (*rules.Table, error) {
	file := name
	if _, ships := policies.Shipped(name); !ships || field != "policy" {
		file = beside(p.file, name)
	}
	table, err := load(file)
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		if err = path.Err; errors.Is(err, fs.ErrNotExist) && field == "policy" {
			err = policies.NotFound(file, err)
		}
	}
	if errs := (rules.LoadErrors)(nil); err != nil && !errors.As(err, &errs) {
		r := strictyaml.NewReader(p.file)
		r.ErrorAt(&yaml.Node{Line: line}, "", "%s: %q: %s", field, name, err)
		err = r.Err()
	}
	return table, err
}

// Check loads a test with its policy, and looks whether the files of its pods exist. The error is strictyaml.Errors.
func Check(file string, text []byte) error {
	test, err := Load(file, text)
	if err != nil {
		return err
	}
	var all strictyaml.Errors
	_, err = test.table()
	_ = errors.As(err, &all)
	pods := strictyaml.NewReader(file)
	for _, c := range test.Cases {
		info, err := os.Stat(beside(file, c.Pod))
		if path, ok := errors.AsType[*fs.PathError](err); ok {
			err = path.Err
		} else if err == nil && info.IsDir() {
			err = errors.New("is a directory, not a file")
		}
		if err != nil {
			pods.ErrorAt(&yaml.Node{Line: c.Line}, fmt.Sprintf("case %q", c.Name), "pod: %q: %s", c.Pod, err)
		}
	}
	if errs := (strictyaml.Errors)(nil); errors.As(pods.Err(), &errs) {
		all = append(all, errs...)
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// beside resolves a path that is relative to a file.
func beside(file, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}

func evaluate(table *rules.Table, file string) (rules.Verdict, error) {
	pod, namespace, err := readPod(file)
	if err != nil {
		return rules.Verdict{}, err
	}
	if !table.Includes(cmp.Or(namespace, "default")) {
		return rules.Verdict{SkipReason: NamespaceReason}, nil
	}
	verdict, err := table.Evaluate(pod)
	if err != nil {
		return rules.Verdict{}, fmt.Errorf("%s: %w", file, err)
	}
	if misspelled := policies.PodSchema().MisspelledField(pod); misspelled != "" {
		return rules.Verdict{}, fmt.Errorf("%s: %s", file, misspelled)
	}
	return verdict, nil
}

// Counts returns the numbers of cases that ran, of those that failed, and of suites and cases that could not run.
func (r Report) Counts() (cases, failed, broken int) {
	for _, s := range r {
		if s.Err != nil {
			broken++
		}
		for _, result := range s.Results {
			switch {
			case result.Err != nil:
				broken++
				continue
			case len(result.Differences) > 0:
				failed++
			}
			cases++
		}
	}
	return cases, failed, broken
}

// Err says which suites and cases could not run, and how many cases failed. It is nil when all passed.
func (r Report) Err() error {
	var errs []error
	for _, s := range r {
		errs = append(errs, s.Err)
		for _, result := range s.Results {
			errs = append(errs, result.Err)
		}
	}
	if cases, failed, _ := r.Counts(); failed > 0 {
		errs = append(errs, fmt.Errorf("%d of %d cases failed", failed, cases))
	}
	return errors.Join(errs...)
}
