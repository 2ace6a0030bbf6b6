package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
)

// TestValueFrom compares two values of a pod.
func TestValueFrom(t *testing.T) {
	table := tableOf(t, "",
		"{path: a, operator: equals, valueFrom: b}", "{path: a, operator: notEquals, valueFrom: b}",
		"{path: a, operator: greaterThan, valueFrom: b}", "{path: a, operator: lessThan, valueFrom: b}",
		"{path: a, operator: quantityGreaterThan, valueFrom: b}", "{path: a, operator: quantityLessThan, valueFrom: b}", "{path: a, operator: quantityEquals, valueFrom: b}",
		"{path: a, operator: hasPrefix, valueFrom: b}", "{path: a, operator: hasSuffix, valueFrom: b}", "{path: a, operator: contains, valueFrom: b}",
	)
	for _, test := range []struct{ a, b, want string }{
		//            = ≠ > < q> q< q= ^ $ ∋
		{`"x"`, `"x"`, "T......TTT"},
		{`"xyz"`, `"x"`, ".T.....T.T"},
		{`"5"`, `5`, ".T....T..."},
		{`5`, `5.0`, "T.....T..."},
		{`5`, `4`, ".TT.T....."},
		{`5`, `6`, ".T.T.T...."},
		{`9007199254740993`, `9007199254740992`, ".TT.T....."},
		{`0.3`, `0.1`, ".TT.T....."},
		{`9223372036854775808`, `9223372036854775807`, ".TT.T....."},
		{`"1500m"`, `"1"`, ".T..T..T.T"},
		{`"1Gi"`, `1073741824`, ".T....T..."},
		{`"1Gi"`, `"x"`, ".T........"},
		{`true`, `true`, "T........."},
		{`true`, `false`, ".T........"},
		{`["x",5]`, `5`, ".T.......T"},
		{`["x",5]`, `"y"`, ".T........"},
		{`[1e400]`, `1e400`, ".T.......U"},
		{`{"c":1}`, `{"c":1}`, ".T........"},
		{`1e400`, `1e400`, "UUUUUUU..."},
		{`"1e400"`, `1`, ".T..UUU..."},
		{`"x"`, `1e400`, ".T........"},
		{`null`, `5`, ".T........"},
		{`5`, `null`, ".........."},
		{`null`, `null`, ".........."},
	} {
		if got := holds(t, table, `{"a":`+test.a+`,"b":`+test.b+`}`); got != test.want {
			t.Errorf("a: %s, b: %s: %s, want %s", test.a, test.b, got, test.want)
		}
	}
}

// TestTimes multiplies exactly.
func TestTimes(t *testing.T) {
	table := tableOf(t, "spec.containers",
		"{path: limits.cpu, operator: quantityGreaterThan, valueFrom: requests.cpu, times: 4}",
		"{path: limits.cpu, operator: quantityEquals, valueFrom: requests.cpu, times: 1.1}",
		"{path: limits.cpu, operator: quantityLessThan, valueFrom: requests.cpu, times: 0.000000000000000001}",
		"{path: n, operator: lessThan, valueFrom: $.spec.n, times: 3}",
		"{path: n, operator: greaterThan, valueFrom: $.spec.n, times: 100000000000000000}",
	)
	for _, test := range []struct{ container, want string }{
		{`"limits":{"cpu":"2"},"requests":{"cpu":"500m"}`, "....."},
		{`"limits":{"cpu":"2001m"},"requests":{"cpu":"500m"}`, "T...."},
		{`"limits":{"cpu":"110m"},"requests":{"cpu":0.1}`, ".T..."},
		{`"limits":{"cpu":"1n"},"requests":{"cpu":"1G"}`, "....."},
		{`"limits":{"cpu":"1n"},"requests":{"cpu":"1e10"}`, "..T.."},
		{`"limits":{"cpu":"1n"},"requests":{"cpu":"1E"}`, "..T.."},
		{`"limits":{"cpu":"9e99"},"requests":{"cpu":"1e99"}`, "T...."},
		{`"limits":{"cpu":"1e101"},"requests":{"cpu":"1"}`, "UUU.."},
		{`"limits":{"cpu":"1"}`, "....."},
		{`"n":8`, "...T."}, {`"n":9`, "....."}, {`"n":8.999999999999`, "...T."}, {`"n":300000000000000001`, "....T"}, {`"n":"8"`, "....."},
	} {
		if got := holds(t, table, `{"spec":{"n":3,"containers":[{`+test.container+`}]}}`); got != test.want {
			t.Errorf("%s: %s, want %s", test.container, got, test.want)
		}
	}
	text := string(table.YAML())
	if want := "{path: limits.cpu, operator: quantityEquals, valueFrom: requests.cpu, times: 1.1}"; !strings.Contains(text, want) {
		t.Errorf("encoded without %s:\n%s", want, text)
	}
	if got := table.Checks()[0].Violation(); got != "limits.cpu is more than 4 times requests.cpu" {
		t.Errorf("described as %q", got)
	}
}

// A mount refers to a volume: values of the pod are compared with each subject.
func TestValueFromOfSubjects(t *testing.T) {
	table := tableOf(t, "spec.containers.#.volumeMounts",
		"{not: {path: $.spec.volumes.#.name, operator: equals, valueFrom: name}}",
		"{some: {in: $.spec.volumes, is: {path: name, operator: equals, valueFrom: $.spec.hostname}}}",
		"{path: [mountPath, $.spec.path], operator: hasPrefix, valueFrom: $.spec.hostname}",
	)
	pod := `{"spec":{"hostname":"a","path":"a/b","volumes":[{"name":"a"},{"name":"b"}],"containers":[{"volumeMounts":[{"name":"b"},{"name":"c","mountPath":"x"}]}]}}`
	got := evaluateOrFail(t, table, pod)
	want := []string{
		`c0 spec.containers.0.volumeMounts.1 "" "c"`, `c1 spec.containers.0.volumeMounts.0 "" "b"`, `c1 spec.containers.0.volumeMounts.1 "" "c"`,
		`c2 spec.containers.0.volumeMounts.0 "" "b"`,
	}
	if diff := cmp.Diff(want, got.Violations); diff != "" {
		t.Errorf("violations (-want +got):\n%s", diff)
	}
}

// What is compared with a secret is not shown either: it may be equal to it.
func TestDetailOfValueFrom(t *testing.T) {
	for _, test := range []struct {
		forEach, predicate, pod string
		want                    rules.Detail
	}{
		{"", "{path: spec.a, operator: equals, valueFrom: spec.b}", `{"spec":{"a":"x","b":"x"}}`, rules.Detail{Value: "x"}},
		{"", "{path: spec.a, operator: equals, valueFrom: metadata.annotations.b}", `{"spec":{"a":"x"},"metadata":{"annotations":{"b":"x"}}}`, rules.Detail{Withheld: true}},
		{"spec.containers.#.env", "{path: $.spec.a, operator: equals, valueFrom: value}", `{"spec":{"a":"x","containers":[{"env":[{"value":"x"}]}]}}`, rules.Detail{Withheld: true}},
		{"spec.containers.#.env", "{path: $.spec.a, operator: equals, valueFrom: $.spec.b}", `{"spec":{"a":"x","b":"x","containers":[{"env":[{"value":"x"}]}]}}`, rules.Detail{Value: "x"}},
	} {
		table := tableOf(t, test.forEach, test.predicate)
		if diff := cmp.Diff([]rules.Detail{test.want}, detailsOf(t, table, []byte(test.pod))); diff != "" {
			t.Errorf("%s of %s (-want +got):\n%s", test.predicate, test.pod, diff)
		}
	}
}

// TestHostileValueFrom has pods in which each of many subjects is compared with each of many values, or with a long text. What exceeds
// the budget is unknown.
func TestHostileValueFrom(t *testing.T) {
	list := func(n int, of string) string { return strings.TrimSuffix(strings.Repeat(of+",", n), ",") }
	containers := func(of string) string { return `"containers":[` + list(rules.MaxSubjects, of) + `]` }
	for name, test := range map[string]struct{ predicate, pod string }{
		"many values": {
			"{path: $.spec.volumes.#.name, operator: equals, valueFrom: name}",
			`{"spec":{"volumes":[` + list(50_000, `{"name":"a"}`) + `],` + containers(`{"name":"b"}`) + `}}`,
		},
		"many elements without a value": {
			"{path: $.spec.volumes.#.nothing, operator: notEquals, valueFrom: name}",
			`{"spec":{"volumes":[` + list(300_000, `{}`) + `],` + containers(`{"name":"b"}`) + `}}`,
		},
		"a long text": {
			"{path: [nothing, $.spec.hostname], operator: contains, valueFrom: name}",
			`{"spec":{"hostname":"` + strings.Repeat(`x\u0001`, 200_000) + `",` + containers(`{"name":"x\u0002"}`) + `}}`,
		},
		"a long operand": {
			"{path: name, operator: quantityEquals, valueFrom: $.spec.hostname}",
			`{"spec":{"hostname":"` + strings.Repeat(`0`, megabyte) + `",` + containers(`{"name":1}`) + `}}`,
		},
		"long numbers": {
			"{path: n.#.m, operator: lessThan, valueFrom: m, times: 1.5}",
			`{"spec":{"containers":[{"m":` + strings.Repeat("9", megabyte) + `,"n":[` + list(50_000, `{"m":1e999999999}`) + `]}]}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			table := tableOf(t, "spec.containers", test.predicate)
			var verdict rules.Verdict
			bytes := allocated(func() {
				if err := table.EvaluateInto(&verdict, []byte(test.pod)); err != nil {
					t.Fatal(err)
				}
			})
			if bytes > 64*megabyte {
				t.Errorf("%d bytes are allocated, want at most 64 MB", bytes)
			}
			// Each of them would cost a thousand times as much without the budget.
			if n := len(verdict.Violations); name != "many elements without a value" && (n == 0 || !verdict.Violations[n-1].Unknown) {
				t.Errorf("%d violations, want the last one to be unknown", n)
			}
		})
	}
}

// BenchmarkValueFrom compares a limit with a request, and with a fixed value.
func BenchmarkValueFrom(b *testing.B) {
	pod := []byte(`{"spec":{"containers":[{"resources":{"limits":{"cpu":"2"},"requests":{"cpu":"500m"}}}]}}`)
	for name, operand := range map[string]string{"value": "value: 4", "valueFrom": "valueFrom: resources.requests.cpu, times: 4"} {
		table := tableOf(b, "spec.containers", fmt.Sprintf("{path: resources.limits.cpu, operator: quantityGreaterThan, %s}", operand))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var verdict rules.Verdict
			for b.Loop() {
				if err := table.EvaluateInto(&verdict, pod); err != nil || len(verdict.Violations) > 0 {
					b.Fatal(verdict, err)
				}
			}
		})
	}
}
