package rules_test

import (
	"errors"
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
		{"null, numbers and texts among the containers", `{"spec":{"containers":[null,5,"x",[],{` + image + `,` + probes + `},true]}}`, 1, []string{latest("spec.containers.4", "")}},
		{"containers behind a status", `{"status":{"containers":[{}]},"spec":{"containers":[{"name":"a",` + image + `,` + probes + `}]}}`, 1, []string{latest("spec.containers.0", "a")}},
		{"an empty container", `{"spec":{"containers":[{}]}}`, 1, []string{`missing_liveness spec.containers.0 ""`, `missing_readiness spec.containers.0 ""`}},
		{"an image null, probes null", `{"spec":{"containers":[{"name":"a","image":null,"livenessProbe":null,"readinessProbe":null}]}}`, 1,
			[]string{`missing_liveness spec.containers.0 "a"`, `missing_readiness spec.containers.0 "a"`}},
		{"an image that is no text", `{"spec":{"containers":[{"image":[":latest"],` + probes + `},{"image":{"x":":latest"},` + probes + `},{"image":5,` + probes + `}]}}`, 3, nil},
		{"probes that are no objects", `{"spec":{"containers":[{"livenessProbe":false,"readinessProbe":""}]}}`, 1, nil},
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

// TestEvaluateRefusesWhatCostsTooMuch goes to each bound of a pod, and one beyond it.
func TestEvaluateRefusesWhatCostsTooMuch(t *testing.T) {
	containers := func(n int) string { return strings.Repeat("{},", n-1) + "{}" }
	matches := func(expression string) *rules.Table {
		return tableOf(t, "", `{path: a, operator: matches, value: "`+expression+`"}`)
	}
	text := func(n int) string { return `{"a":"` + strings.Repeat("a", n) + `"}` }
	heavy := strings.Repeat("b{100}", 9) + "cde" // 905 instructions: its letters, a match and a failure
	tests := []struct {
		name   string
		table  *rules.Table
		pod    func(n int) string
		bound  int
		want   string
		reason error
	}{
		{
			name: "subjects", table: defaultTable(t), bound: rules.MaxSubjects,
			pod:  func(n int) string { return `{"spec":{"containers":[` + containers(n) + `]}}` },
			want: "too many subjects: more than 10000 at spec.containers", reason: rules.ErrTooManySubjects,
		},
		{
			name: "subjects of a list of paths", table: tableOf(t, "[a, b]", `{path: x, operator: exists}`), bound: rules.MaxSubjects,
			pod:  func(n int) string { return `{"a":[` + containers(n-1) + `],"b":[` + containers(1) + `]}` },
			want: "too many subjects: more than 10000 at b", reason: rules.ErrTooManySubjects,
		},
		{
			name: "subjects of nested arrays", table: tableOf(t, `"a.#.b"`, `{path: x, operator: exists}`), bound: rules.MaxSubjects,
			pod:  func(n int) string { return `{"a":[{"b":[` + containers(n/2) + `]},{"b":[` + containers(n-n/2) + `]}]}` },
			want: "too many subjects: more than 10000 at a.#.b", reason: rules.ErrTooManySubjects,
		},
		{
			name: "a text to match", table: matches(heavy), bound: 5_000_000 / 905,
			pod:  text,
			want: fmt.Sprintf("a value of 5525 bytes is too long to match against %q", heavy),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.table.Evaluate([]byte(tt.pod(tt.bound))); err != nil {
				t.Errorf("at the bound of %d: %v", tt.bound, err)
			}
			verdict, err := tt.table.Evaluate([]byte(tt.pod(tt.bound + 1)))
			if err == nil || err.Error() != tt.want || tt.reason != nil && !errors.Is(err, tt.reason) {
				t.Errorf("beyond the bound of %d: error %v, want %s", tt.bound, err, tt.want)
			}
			if len(verdict.Violations) > 0 || len(verdict.Subjects) > 0 {
				t.Errorf("beyond the bound of %d: there is a verdict: %v", tt.bound, verdict)
			}
		})
	}
}

// TestVerdictSharesNothingWithThePod overwrites the pod's text after its evaluation.
func TestVerdictSharesNothingWithThePod(t *testing.T) {
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

// TestEvaluateIntoLeavesNothingBehind uses one verdict again and again: it must be as a fresh one each time.
func TestEvaluateIntoLeavesNothingBehind(t *testing.T) {
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
