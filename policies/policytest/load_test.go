package policytest_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/policies/policytest"
	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/golden"
)

// TestLoadErrors compares all that is said about the files of testdata/bad with messages.txt beside them,
// which UPDATE_GOLDEN=1 writes again.
func TestLoadErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found no bad policy tests: %v", err)
	}
	var messages strings.Builder
	for _, file := range files {
		test, err := policytest.Load(filepath.Base(file), readFile(t, file))
		var errs rules.LoadErrors
		if test != nil || !errors.As(err, &errs) {
			t.Errorf("%s: loaded with %v and error %v, want its errs", file, test, err)
			continue
		}
		messages.WriteString(err.Error() + "\n")
	}
	golden.Compare(t, "testdata/bad/messages.txt", messages.String())
}

const policyTestHead = "apiVersion: kube-devops.io/v1\nkind: PolicyTest\npolicy: default\n"

func loadPolicyTest(t *testing.T, text string) *policytest.Test {
	t.Helper()
	test, err := policytest.Load("tests.yaml", []byte(policyTestHead+text))
	if err != nil {
		t.Fatal(err)
	}
	return test
}

const testedTable = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: tested}
pods: {skip: [{reason: job, when: {path: job, operator: exists}}]}
checks:
  - {id: image, weight: 1, forEach: [spec.containers, spec.initContainers], violation: {path: image, operator: absent}}
  - {id: probe, weight: 1, forEach: spec.containers, violation: {path: probe, operator: absent}}
  - {id: host, weight: 1, violation: {path: spec.hostNetwork, operator: exists}}
  - {id: env, weight: 1, forEach: spec.containers.#.env, violation: {path: value, operator: absent}}
  - {id: size, weight: 1, violation: {path: spec.size, operator: quantityGreaterThan, value: 1}}
waivers:
  - {id: w, reason: r, expires: 2030-01-01, container: waived}
`

// TestFormerIDs: a policy test may use the id that a built-in table once had.
func TestFormerIDs(t *testing.T) {
	table, err := rules.LoadAll(rules.Source{File: "t.yaml", Text: []byte(testedTable), Renamed: map[string]string{"picture": "image"}})
	if err != nil {
		t.Fatal(err)
	}
	test := loadPolicyTest(t, "checks: [picture]\ncases: [{name: a, pod: p, violations: [{check: picture, container: c}]}]\n")
	if err := test.Against(table); err != nil {
		t.Fatal(err)
	}
	verdict, err := table.Evaluate([]byte(`{"spec":{"containers":[{"name":"c"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := test.Compare(&test.Cases[0], table, verdict, newYear); len(got) > 0 {
		t.Errorf("differences %v", got)
	}
}

func TestAgainst(t *testing.T) {
	test := loadPolicyTest(t, "checks: [image, imag]\ncases:\n  - {name: a, pod: p, skipped: jobs}\n  - {name: b, pod: p, violations: [{check: image}, {check: imag}], waived: [{check: image, waiver: v}]}\n")
	err := test.Against(load(t, testedTable))
	want := `tests.yaml:4: table tested has no check "imag" (did you mean "image"?)
tests.yaml:6: case "a": table tested has no skip with the reason "jobs" (did you mean "job"?)
tests.yaml:7: case "b": table tested has no check "imag" (did you mean "image"?)
tests.yaml:7: case "b": table tested has no waiver "v"`
	if err == nil || err.Error() != want {
		t.Errorf("errs:\n%v\nwant:\n%s", err, want)
	}
	if err := loadPolicyTest(t, "cases: [{name: a, pod: p, skipped: job}, {name: b, pod: p, violations: [{check: host}]}]\n").Against(load(t, testedTable)); err != nil {
		t.Errorf("errs where there are none: %v", err)
	}
}

func TestCompare(t *testing.T) {
	const two = `{"spec":{"containers":[{"name":"a"},{"name":"b"}],"initContainers":[{"name":"a"}]}}`
	tests := []struct {
		name   string
		checks string
		expect string
		pod    string
		want   []string
	}{
		{"nothing", "", "violations: []", `{}`, nil},
		{"all by check", "", "violations: [{check: image}, {check: image}, {check: image}, {check: probe}, {check: probe}]", two, nil},
		{"general before special", "", "violations: [{check: image}, {check: image, container: a}, {check: image, path: spec.initContainers.0}, {check: probe, container: b}, {check: probe}]", two, nil},
		{"one of two containers of a name", "", "violations: [{check: image, container: a, path: spec.initContainers.0}, {check: image, container: a}, {check: image, container: b}, {check: probe, path: spec.containers.1}, {check: probe}]", two, nil},
		{"unexpected", "checks: [probe]\n", "violations: [{check: probe, container: b}]", two, []string{`unexpected: probe, container "a", spec.containers.0`}},
		{"missing", "checks: [probe]\n", "violations: [{check: probe, container: c}, {check: probe}, {check: probe}, {check: probe, path: spec.containers.5}]", two,
			[]string{`missing: probe, container "c"`, "missing: probe, spec.containers.5"}},
		{"too many expected", "checks: [probe]\n", "violations: [{check: probe}, {check: probe}, {check: probe}]", two, []string{"missing: probe"}},
		{"of the pod", "", "violations: []", `{"spec":{"hostNetwork":true}}`, []string{"unexpected: host"}},
		{"both", "", "violations: [{check: probe}]", `{"spec":{"hostNetwork":true}}`, []string{"missing: probe", "unexpected: host"}},
		{"skipped", "", "skipped: job", `{"job":1,"spec":{"hostNetwork":true}}`, nil},
		{"not skipped", "", "skipped: job", `{"spec":{"hostNetwork":true}}`, []string{"missing: skipped for the reason job", "unexpected: host"}},
		{"skipped unexpectedly", "", "violations: [{check: host}]", `{"job":1,"spec":{"hostNetwork":true}}`, []string{"unexpected: skipped for the reason job"}},
		{"skipped and no violations", "", "{skipped: job, violations: []}", `{"job":1}`, nil},
		{"container and subject", "checks: [env]\n", "violations: [{check: env, container: a}, {check: env, subject: A, container: a}, {check: env, container: A}]",
			`{"spec":{"containers":[{"name":"a","env":[{"name":"A"},{"name":"B"}]},{"name":"b","env":[{"name":"A"}]}]}}`, nil},
		{"another subject", "checks: [env]\n", "violations: [{check: env, subject: B}]", `{"spec":{"containers":[{"name":"a","env":[{"name":"A"}]}]}}`,
			[]string{`missing: env, subject "B"`, `unexpected: env, container "a", subject "A", spec.containers.0.env.0`}},
		{"unknown", "checks: [size]\n", "violations: [], unknown: [{check: size}]", `{"spec":{"size":"1e101"}}`, nil},
		{"known and expected to be unknown", "checks: [size]\n", "violations: [], unknown: [{check: size}]", `{"spec":{"size":"2"}}`, []string{"missing: size, unknown", "unexpected: size"}},
		{"unknown and not expected to be", "checks: [size]\n", "violations: [{check: size}]", `{"spec":{"size":"1e101"}}`, []string{"missing: size", "unexpected: size, unknown"}},
		{"waived", "", "violations: []", `{"spec":{"containers":[{"name":"waived"}]}}`, nil},
		{"waived and expected to be", "checks: [image]\n", "violations: [{check: image, container: a}], waived: [{check: image, waiver: w}]", `{"spec":{"containers":[{"name":"waived"},{"name":"a"}]}}`, nil},
		{"none is waived", "checks: [image]\n", "violations: [], waived: []", `{"spec":{"containers":[{"name":"waived"}]}}`, []string{`unexpected: image, container "waived", spec.containers.0, waived by w`}},
		{"expected to be waived", "checks: [image]\n", "violations: [], waived: [{check: image, container: a, waiver: w}]", `{"spec":{"containers":[{"name":"a"}]}}`,
			[]string{`missing: image, container "a", waived by w`, `unexpected: image, container "a", spec.containers.0`}},
	}
	table := load(t, testedTable)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expect := strings.Trim(tt.expect, "{}")
			if tt.expect[0] != '{' {
				expect = tt.expect
			}
			test := loadPolicyTest(t, tt.checks+"cases: [{name: a, pod: p, "+expect+"}]\n")
			verdict, err := table.Evaluate([]byte(tt.pod))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range test.Compare(&test.Cases[0], table, verdict, newYear.Add(-time.Second)) {
				got = append(got, d.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMoment has a waiver that expires.
func TestMoment(t *testing.T) {
	table := load(t, testedTable)
	test := loadPolicyTest(t, "at: 2029-12-31T23:59:59Z\nwaivers: w.yaml\nchecks: [image]\ncases: [{name: a, pod: p, violations: []}]\n")
	if !test.At.Equal(newYear.Add(-time.Second)) || test.Waivers != "w.yaml" || test.Policy != "default" {
		t.Errorf("loaded %+v", test)
	}
	verdict, err := table.Evaluate([]byte(`{"spec":{"containers":[{"name":"waived"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]int{test.At: 0, newYear: 1} {
		if got := test.Compare(&test.Cases[0], table, verdict, at); len(got) != want {
			t.Errorf("at %s: differences %v, want %d", at, got, want)
		}
	}
}

// TestLooks: a case whose pod has nothing to look at would pass whatever the table says.
func TestLooks(t *testing.T) {
	table := load(t, `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: t}
pods: {skip: [{reason: job, when: {path: job, operator: exists}}]}
checks:
  - {id: image, weight: 1, forEach: spec.containers, violation: {path: image, operator: absent}}
  - {id: probe, weight: 1, forEach: spec.containers, when: {path: probed, operator: exists}, violation: {path: probe, operator: absent}}
`)
	for _, test := range []struct {
		checks, pod string
		want        error
	}{
		{"[image]", `{"spec":{"containers":[{"image":"a"}]}}`, nil},
		{"[image]", `{"spec":{"containres":[{"image":"a"}]}}`, policytest.ErrNoSubject},
		{"[image]", `{"job":1}`, nil},
		{"[image, probe]", `{"spec":{"containers":[]}}`, nil}, // a when may leave out all
		{"[probe]", `{"spec":{"containers":[{}]}}`, nil},
	} {
		verdict, err := table.Evaluate([]byte(test.pod))
		if err != nil {
			t.Fatal(err)
		}
		p := loadPolicyTest(t, "checks: "+test.checks+"\ncases: [{name: a, pod: p, violations: []}]\n")
		if got := p.Looks(table, verdict); !errors.Is(got, test.want) {
			t.Errorf("%s of %s: %v, want %v", test.checks, test.pod, got, test.want)
		}
	}
}

var newYear = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func readFile(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func load(t testing.TB, text string) *rules.Table {
	t.Helper()
	table, err := rules.Load("table.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}
