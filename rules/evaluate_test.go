package rules_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
)

func defaultTable(t testing.TB) *rules.Table {
	t.Helper()
	return load(t, string(readFile(t, "../policies/default.yaml")))
}

// TestEvaluateOddPods gives the default table pods that no API server would send. Each has a verdict.
func TestEvaluateOddPods(t *testing.T) {
	const image, probes = `"image":"nginx:latest"`, `"livenessProbe":{},"readinessProbe":{}`
	latest := func(path, name string) string { return fmt.Sprintf("latest_tag %s %q", path, name) }
	tests := []struct {
		name     string
		pod      string
		subjects int
		want     []string
	}{
		{"an empty object", `{}`, 0, nil},
		{"spaces around it", " \n\t\r{ } \n", 0, nil},
		{"no spec", `{"metadata":{"name":"a"},"status":{}}`, 0, nil},
		{"spec null", `{"spec":null}`, 0, nil},
		{"spec a text", `{"spec":"{\"containers\":[{}]}"}`, 0, nil},
		{"spec an array", `{"spec":[{"containers":[{}]}]}`, 0, nil},
		{"spec a number", `{"spec":5}`, 0, nil},
		{"no containers", `{"spec":{}}`, 0, nil},
		{"containers null", `{"spec":{"containers":null}}`, 0, nil},
		{"containers an object", `{"spec":{"containers":{"0":{` + image + `}}}}`, 0, nil},
		{"containers a text", `{"spec":{"containers":"[{` + strings.ReplaceAll(image, `"`, `\"`) + `}]"}}`, 0, nil},
		{"containers a number", `{"spec":{"containers":1e9}}`, 0, nil},
		{"containers true", `{"spec":{"containers":true}}`, 0, nil},
		{"containers empty", `{"spec":{"containers":[]}}`, 0, nil},
		{"null and lists among the containers", `{"spec":{"containers":[null,[],{` + image + `,` + probes + `}]}}`, 1, []string{latest("spec.containers.2", "")}},
		{"a string that is a container", `{"spec":{"containers":["{` + strings.ReplaceAll(image, `"`, `\"`) + `}"]}}`, 1, []string{`missing_liveness spec.containers.0 ""`, `missing_readiness spec.containers.0 ""`}},
		{"containers behind a status", `{"status":{"containers":[{}]},"spec":{"containers":[{"name":"a",` + image + `,` + probes + `}]}}`, 1, []string{latest("spec.containers.0", "a")}},
		{"an empty container", `{"spec":{"containers":[{}]}}`, 1, []string{`missing_liveness spec.containers.0 ""`, `missing_readiness spec.containers.0 ""`}},
		{"an image null, probes null", `{"spec":{"containers":[{"name":"a","image":null,"livenessProbe":null,"readinessProbe":null}]}}`, 1,
			[]string{`missing_liveness spec.containers.0 "a"`, `missing_readiness spec.containers.0 "a"`}},
		{"an image that is not a string", `{"spec":{"containers":[{"image":[":latest"],` + probes + `},{"image":{"x":":latest"},` + probes + `},{"image":5,` + probes + `}]}}`, 3, nil},
		{"probes that are not objects", `{"spec":{"containers":[{"livenessProbe":false,"readinessProbe":""}]}}`, 1, nil},
		{"an image in escapes", `{"spec":{"containers":[{"image":"nginx\u003a\u006catest",` + probes + `}]}}`, 1, []string{latest("spec.containers.0", "")}},
		{"an image with more behind the tag", `{"spec":{"containers":[{"image":"nginx:latest@sha256:0",` + probes + `},{"image":"nginx:latest ",` + probes + `}]}}`, 2, nil},
		{"two containers with the tag", `{"spec":{"containers":[{"name":"a",` + image + `,` + probes + `},{"name":"b",` + image + `,` + probes + `}]}}`, 2,
			[]string{latest("spec.containers.0", "a"), latest("spec.containers.1", "b")}},
		{"init containers are not looked at", `{"spec":{"initContainers":[{` + image + `}],"containers":[]}}`, 0, nil},
		{"all violations, by check", `{"spec":{"containers":[{"name":"a",` + image + `},{"name":"b",` + image + `}]}}`, 2, []string{
			latest("spec.containers.0", "a"), latest("spec.containers.1", "b"),
			`missing_liveness spec.containers.0 "a"`, `missing_liveness spec.containers.1 "b"`,
			`missing_readiness spec.containers.0 "a"`, `missing_readiness spec.containers.1 "b"`,
		}},
	}
	table := defaultTable(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := naiveVerdict{
				Violations: tt.want,
				Subjects:   map[string]int{"latest_tag": tt.subjects, "missing_liveness": tt.subjects, "missing_readiness": tt.subjects},
			}
			if diff := cmp.Diff(want, evaluateOrFail(t, table, tt.pod)); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEvaluateThePodItself has checks without forEach: the pod is their one subject, and has no path.
func TestEvaluateThePodItself(t *testing.T) {
	table := tableOf(t, "", `{path: spec.hostNetwork, operator: equals, value: true}`, `{path: metadata.name, operator: absent}`)
	want := naiveVerdict{Subjects: map[string]int{"c0": 1, "c1": 1}, Violations: []string{`c0  ""`}}
	got := evaluateOrFail(t, table, `{"name":"no name of a subject","metadata":{"name":"p"},"spec":{"hostNetwork":true}}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
	want = naiveVerdict{Subjects: map[string]int{"c0": 1, "c1": 1}, Violations: []string{`c1  ""`}}
	if diff := cmp.Diff(want, evaluateOrFail(t, table, `{}`)); diff != "" {
		t.Errorf("verdict of an empty pod (-want +got):\n%s", diff)
	}
}

// TestEvaluateBounds goes to each bound of a pod, and one beyond it: the check is then unknown for one subject, and all
// other answers are as before.
func TestEvaluateBounds(t *testing.T) {
	containers := func(n int) string { return strings.Repeat("{},", n-1) + "{}" }
	matches := func(expression string) *rules.Table {
		return tableOf(t, "", `{path: a, operator: matches, value: "`+expression+`"}`, `{path: a, operator: absent}`)
	}
	text := func(n int) string { return `{"a":"` + strings.Repeat("a", n) + `"}` }
	each := tableOf(t, "a", `{path: b, operator: matches, value: "`+heavyExpression+`"}`, `{path: b, operator: absent}`)
	tests := []struct {
		name  string
		table *rules.Table
		pod   func(n int) string
		bound int
		want  []string // beyond the bound
	}{
		{
			name: "subjects", table: tableOf(t, "spec.containers", `{path: x, operator: exists}`, `{path: y, operator: exists}`), bound: rules.MaxSubjects,
			pod:  func(n int) string { return `{"spec":{"containers":[` + containers(n) + `]}}` },
			want: []string{`c0 spec.containers.10000 "" unknown`, `c1 spec.containers.10000 "" unknown`},
		},
		{
			name: "subjects of a list of paths", table: tableOf(t, "[a, b]", `{path: x, operator: exists}`), bound: rules.MaxSubjects,
			pod:  func(n int) string { return `{"a":[` + containers(n-1) + `],"b":[` + containers(1) + `]}` },
			want: []string{`c0 b.0 "" "b.0" unknown`},
		},
		{
			name: "subjects of nested arrays", table: tableOf(t, `"a.#.b"`, `{path: x, operator: exists}`), bound: rules.MaxSubjects,
			pod:  func(n int) string { return `{"a":[{"b":[` + containers(n/2) + `]},{"b":[` + containers(n-n/2) + `]}]}` },
			want: []string{`c0 a.1.b.5000 "" "a.1.b.5000" unknown`},
		},
		{
			name: "a text to match", table: matches(heavyExpression), bound: 5_000_000 / 905,
			pod:  text,
			want: []string{`c0  "" unknown`},
		},
		{
			name: "texts to match", table: each, bound: 50_000_000 / 905 / 1000,
			pod: func(n int) string {
				return `{"a":[` + strings.TrimSuffix(strings.Repeat(`{"b":"`+strings.Repeat("a", 1000)+`"},`, n), ",") + `]}`
			},
			want: []string{`c0 a.55 "" "a.55" unknown`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := evaluateOrFail(t, tt.table, tt.pod(tt.bound)); len(got.Violations) > 0 {
				t.Errorf("at the bound of %d: %v", tt.bound, got.Violations)
			}
			pod := tt.pod(tt.bound + 1)
			got := evaluateOrFail(t, tt.table, pod)
			if diff := cmp.Diff(tt.want, got.Violations); diff != "" {
				t.Errorf("beyond the bound of %d (-want +got):\n%s", tt.bound, diff)
			}
			sameOfProjection(t, tt.table, tt.table.Projection(), []byte(pod))
			if twice := evaluateOrFail(t, tt.table, tt.pod(tt.bound+1000)); len(twice.Violations) == 0 {
				t.Errorf("far beyond the bound: no violation")
			}
		})
	}
}

// TestUnknown has a value that is too long to match: the answer is unknown wherever no other operand decides.
func TestUnknown(t *testing.T) {
	const (
		unknown = `{path: long, operator: matches, value: "` + heavyExpression + `"}`
		yes, no = `{path: long, operator: exists}`, `{path: long, operator: absent}`
	)
	pod := `{"long":"` + strings.Repeat("a", 10_000) + `","list":[{"x":1},{"x":2}]}`
	tests := []struct{ name, violation, want string }{
		{"alone", unknown, "unknown"},
		{"not", `{not: ` + unknown + `}`, "unknown"},
		{"all, with one that is false behind", `{all: [` + unknown + `, ` + no + `]}`, ""},
		{"all, with one that is false before", `{all: [` + no + `, ` + unknown + `]}`, ""},
		{"all, with one that is true", `{all: [` + unknown + `, ` + yes + `]}`, "unknown"},
		{"any, with one that is true behind", `{any: [` + unknown + `, ` + yes + `]}`, "true"},
		{"any, with one that is true before", `{any: [` + yes + `, ` + unknown + `]}`, "true"},
		{"any, with one that is false", `{any: [` + unknown + `, ` + no + `]}`, "unknown"},
		{"not all", `{not: {all: [` + unknown + `, ` + no + `]}}`, "true"},
		{"not any", `{not: {any: [` + unknown + `, ` + no + `]}}`, "unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table := load(t, hostileHead+"checks: [{id: c, weight: 1, violation: "+tt.violation+"}, {id: other, weight: 1, violation: "+yes+"}]")
			want := naiveVerdict{Subjects: map[string]int{"c": 1, "other": 1}, Violations: []string{`c  "" unknown`, `other  ""`}}
			switch tt.want {
			case "":
				want.Violations = want.Violations[1:]
			case "true":
				want.Violations[0] = `c  ""`
			}
			if diff := cmp.Diff(want, evaluateOrFail(t, table, pod)); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("when", func(t *testing.T) {
		table := load(t, hostileHead+`checks: [{id: c, weight: 1, forEach: list, when: {all: [{path: x, operator: equals, value: 2}, `+
			strings.Replace(unknown, "path: long", "path: $.long", 1)+`]}, violation: {path: x, operator: absent}}]`)
		want := naiveVerdict{Subjects: map[string]int{"c": 1}, Violations: []string{`c list.1 "" "list.1" unknown`}}
		if diff := cmp.Diff(want, evaluateOrFail(t, table, pod)); diff != "" {
			t.Errorf("verdict (-want +got):\n%s", diff)
		}
	})
	t.Run("skip", func(t *testing.T) {
		table := load(t, hostileHead+`pods: {skip: [{reason: r, when: `+unknown+`}, {reason: s, when: {not: `+unknown+`}}]}
checks: [{id: c, weight: 1, violation: `+yes+`}]`)
		want := naiveVerdict{Subjects: map[string]int{"c": 1}, Violations: []string{`c  ""`}}
		if diff := cmp.Diff(want, evaluateOrFail(t, table, pod)); diff != "" {
			t.Errorf("verdict (-want +got):\n%s", diff)
		}
	})
	t.Run("waiver", func(t *testing.T) {
		table := load(t, hostileHead+`checks: [{id: c, weight: 1, violation: `+unknown+`}]
waivers: [{id: w, reason: r, expires: 2030-01-01, check: c}]`)
		want := naiveVerdict{Subjects: map[string]int{"c": 1}, Violations: []string{`c  "" unknown waived by w`}}
		if diff := cmp.Diff(want, evaluateOrFail(t, table, pod)); diff != "" {
			t.Errorf("verdict (-want +got):\n%s", diff)
		}
	})
}

// heavyExpression has 905 instructions: its letters, a match and a failure.
const heavyExpression = "b{100}b{100}b{100}b{100}b{100}b{100}b{100}b{100}b{100}cde"

// A long value hides nothing else of a pod: a table of an annotation and of privileged containers finds both.
func TestLongValueHidesNothing(t *testing.T) {
	table := load(t, hostileHead+`checks:
  - {id: owner_mail, weight: 1, violation: {not: {path: metadata.annotations.owner, operator: matches, value: "^[a-z0-9._-]{1,60}@example[.]com$"}}}
  - {id: privileged, weight: 10, forEach: spec.containers, violation: {path: securityContext.privileged, operator: equals, value: true}}
`)
	pod := `{"metadata":{"annotations":{"owner":"` + strings.Repeat("a", 100_000) + `"}},"spec":{"containers":[{"name":"c","securityContext":{"privileged":true}}]}}`
	want := naiveVerdict{Subjects: map[string]int{"owner_mail": 1, "privileged": 1}, Violations: []string{`owner_mail  "" unknown`, `privileged spec.containers.0 "c"`}}
	if diff := cmp.Diff(want, evaluateOrFail(t, table, pod)); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
	sameOfProjection(t, table, table.Projection(), []byte(pod))
}

// TestVerdictDoesNotReferToThePod overwrites the pod's text after its evaluation.
func TestVerdictDoesNotReferToThePod(t *testing.T) {
	table := tableOf(t, `[spec.containers, 'spec.containers.#(name=="b")#']`, `{path: image, operator: exists}`, `{path: '$.metadata.name', operator: matches, value: p}`)
	text := `{"metadata":{"name":"pod"},"spec":{"containers":[{"name":"a","image":"x"},{"name":"b","image":"\u0079"}` + strings.Repeat(`,{"name":"c","image":"z"}`, 40) + `]}}`
	want := evaluateOrFail(t, table, text)
	pod := []byte(text)
	verdict, err := table.Evaluate(pod)
	if err != nil {
		t.Fatal(err)
	}
	for i := range pod {
		pod[i] = '!'
	}
	if diff := cmp.Diff(want, inWords(table, verdict)); diff != "" {
		t.Errorf("the verdict changed with the text of the pod (-before +after):\n%s", diff)
	}
	if len(want.Violations) != 86 {
		t.Errorf("%d violations, want 86", len(want.Violations))
	}
}

// TestEvaluateIntoReusesVerdict uses one verdict again and again: it must be as a fresh one each time.
func TestEvaluateIntoReusesVerdict(t *testing.T) {
	one, other := defaultTable(t), tableOf(t, "", `{path: '$.a', operator: exists}`)
	pods := []string{
		string(realisticPod(t, false)), `{}`, `{"spec":{"containers":[{}]}}`, `{"a":1}`, `{"spec":{"containers":[{"image":"x:latest"}]}`, `{"spec":{"containers":[{}]}}`,
		`{"spec":{"containers":[` + strings.Repeat("{},", rules.MaxSubjects) + `{}]}}`, string(realisticPod(t, true)), ``,
	}
	var verdict rules.Verdict
	for i, pod := range pods {
		for _, table := range []*rules.Table{one, other} {
			fresh, freshErr := table.Evaluate([]byte(pod))
			err := table.EvaluateInto(&verdict, []byte(pod))
			if fmt.Sprint(err) != fmt.Sprint(freshErr) {
				t.Errorf("pod %d: error %v, fresh %v", i, err, freshErr)
			}
			if fmt.Sprint(verdict) != fmt.Sprint(fresh) {
				t.Errorf("pod %d: verdict %v, fresh %v", i, verdict, fresh)
			}
			if err != nil && len(verdict.Subjects)+len(verdict.Violations) > 0 {
				t.Errorf("pod %d: error %v and verdict %v", i, err, verdict)
			}
		}
	}
}

// TestEvaluateConcurrently has goroutines share tables: each must see the verdicts that it would see alone.
func TestEvaluateConcurrently(t *testing.T) {
	var tables []*rules.Table
	for seed := range uint64(4) {
		tables = append(tables, load(t, string(randomTable(newRand(seed)))))
	}
	var pods []string
	r := newRand(2)
	for range 50 {
		pods = append(pods, string(randomPod(r)))
	}
	pods = append(pods, string(realisticPod(t, false)), `{"a":`, `{"a":1,"a":2}`)
	inTurn := func() string {
		var b strings.Builder
		for _, table := range tables {
			for _, pod := range pods {
				verdict, err := table.Evaluate([]byte(pod))
				fmt.Fprintln(&b, verdict, err)
			}
		}
		return b.String()
	}
	want := inTurn()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 5 {
				if diff := cmp.Diff(want, inTurn()); diff != "" {
					t.Errorf("verdicts (-alone +among others):\n%s", diff)
				}
			}
		})
	}
	wait.Wait()
}
