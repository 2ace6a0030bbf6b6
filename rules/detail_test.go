package rules_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kube-devops/kube-devops/rules"
)

// detailsOf are those of all violations of a pod, which must be the same for the projected pod, and for the pod with line
// breaks in its JSON.
func detailsOf(t testing.TB, table *rules.Table, pod []byte) (details []rules.Detail) {
	t.Helper()
	verdict, err := table.Evaluate(pod)
	if err != nil {
		t.Fatalf("%v: %s", err, pod)
	}
	reduced := projected(t, table.Projection(), pod)
	var indented bytes.Buffer
	if err := json.Indent(&indented, pod, "\r\n", "\t"); err != nil {
		t.Fatal(err)
	}
	for i := range verdict.Violations {
		v := &verdict.Violations[i]
		d := table.Detail(pod, v)
		for what, other := range map[string][]byte{"the projection": reduced, "line breaks": indented.Bytes()} {
			if got := table.Detail(other, v); got != d {
				t.Fatalf("detail of %+v: %+v, with %s %+v\npod:\n%s\nit is:\n%s", *v, d, what, got, pod, other)
			}
		}
		details = append(details, d)
	}
	if diff := cmp.Diff(details, table.Details(nil, pod, verdict.Violations)); diff != "" {
		t.Fatalf("details (-one by one +all at once):\n%s\npod:\n%s", diff, pod)
	}
	return details
}

func TestDetail(t *testing.T) {
	long := strings.Repeat("é", 100) // 200 bytes
	value := func(text string) rules.Detail { return rules.Detail{Value: text} }
	withheld := rules.Detail{Withheld: true}
	tests := []struct {
		name, forEach, violation, pod string
		want                          rules.Detail
	}{
		{"a string", "", `{path: spec.a, operator: hasSuffix, value: ":latest"}`, `{"spec":{"a":"nginx\u003alatest"}}`, value("nginx:latest")},
		{"a boolean", "", `{path: spec.a, operator: notEquals, value: true}`, `{"spec":{"a":false}}`, value("false")},
		{"a number as it stands", "", `{path: spec.a, operator: greaterThan, value: 1}`, `{"spec":{"a":1.50e1}}`, value("1.50e1")},
		{"nothing is there", "", `{path: spec.a, operator: notEquals, value: true}`, `{"spec":{}}`, rules.Detail{}},
		{"null is there", "", `{path: spec.a, operator: notIn, value: [true]}`, `{"spec":{"a":null}}`, rules.Detail{}},
		{"absent", "", `{path: spec.a, operator: absent}`, `{"spec":{}}`, rules.Detail{}},
		{"behind one without a value", "", `{all: [{path: spec.a, operator: absent}, {path: spec.b, operator: equals, value: x}]}`, `{"spec":{"b":"x"}}`, value("x")},
		{"the first of several", "", `{all: [{path: spec.b, operator: equals, value: x}, {path: spec.a, operator: exists}]}`, `{"spec":{"a":1,"b":"x"}}`, value("x")},
		{"behind one that is false", "", `{any: [{path: spec.a, operator: equals, value: 2}, {path: spec.b, operator: equals, value: x}]}`, `{"spec":{"a":1,"b":"x"}}`, value("x")},
		{"under not", "", `{not: {path: spec.a, operator: equals, value: 2}}`, `{"spec":{"a":1}}`, rules.Detail{}},
		{"beside not", "", `{all: [{not: {path: spec.a, operator: equals, value: 2}}, {path: spec.a, operator: exists}]}`, `{"spec":{"a":1}}`, value("1")},
		{"exists", "", `{path: spec.a, operator: exists}`, `{"spec":{"a":"x"}}`, value("x")},
		{"an object", "", `{path: spec.a, operator: exists}`, `{"spec":{"a":{"b":"x"}}}`, rules.Detail{}},
		{"a list", "", `{path: spec.a, operator: contains, value: x}`, `{"spec":{"a":["x"]}}`, rules.Detail{}},
		{"the length of a list", "", `{path: "spec.a.#", operator: greaterThan, value: 1}`, `{"spec":{"a":[1,{}]}}`, value("2")},
		{"one of one value", "", `{path: "spec.a.#.b", operator: equals, value: x}`, `{"spec":{"a":[{},{"b":"x"},{"b":null}]}}`, value("x")},
		{"several values", "", `{path: "spec.a.#.b", operator: equals, value: x}`, `{"spec":{"a":[{"b":"y"},{"b":"x"}]}}`, rules.Detail{}},
		{"of a subject", "spec.containers", `{path: image, operator: exists}`, `{"spec":{"containers":[{"image":"nginx"}]}}`, value("nginx")},
		{"of a subject's pod", "spec.containers", `{path: $.spec.a, operator: equals, value: x}`, `{"spec":{"containers":[{}],"a":"x"}}`, value("x")},
		{"a dot in a key", `'a\.b'`, `{path: 'c\.d', operator: exists}`, `{"a.b":[{"c.d":"x"}]}`, value("x")},
		{"200 bytes", "", `{path: spec.a, operator: exists}`, `{"spec":{"a":"` + long + `"}}`, value(long)},
		{"more bytes", "", `{path: spec.a, operator: exists}`, `{"spec":{"a":"` + long + `x"}}`, value(strings.Repeat("é", 98) + "…")},
		{"a long number", "", `{path: spec.a, operator: greaterThan, value: 1}`, `{"spec":{"a":` + strings.Repeat("9", 300) + `}}`, value(strings.Repeat("9", 197) + "…")},
		{"an unknown violation", "", `{all: [{path: spec.a, operator: exists}, {path: spec.a, operator: quantityGreaterThan, value: 1}]}`, `{"spec":{"a":"1e101"}}`, withheld},
		{"an annotation", "", `{path: 'metadata.annotations.a\.b', operator: exists}`, `{"metadata":{"annotations":{"a.b":"secret"}}}`, withheld},
		{"an annotation behind a value", "", `{any: [{path: metadata.annotations.a, operator: absent}, {path: spec.a, operator: exists}, {path: metadata.annotations.b, operator: exists}]}`,
			`{"metadata":{"annotations":{"b":"secret"}},"spec":{"a":1}}`, value("1")},
		{"a value behind an annotation", "", `{all: [{path: metadata.annotations.b, operator: exists}, {path: spec.a, operator: exists}]}`,
			`{"metadata":{"annotations":{"b":"secret"}},"spec":{"a":1}}`, withheld},
		{"annotations that are a string", "", `{path: metadata.annotations, operator: exists}`, `{"metadata":{"annotations":"secret"}}`, withheld},
		{"a subject below env", "spec.containers.#.env", `{path: value, operator: exists}`, `{"spec":{"containers":[{"env":[{"value":"secret"}]}]}}`, withheld},
		{"a pod's value for a subject below env", "spec.containers.#.env", `{path: $.spec.a, operator: exists}`, `{"spec":{"a":"x","containers":[{"env":[{"value":"secret"}]}]}}`, value("x")},
		{"a subject that is a string", "spec.a", `{operator: exists}`, `{"spec":{"a":["x"]}}`, value("x")},
		{"a subject that is a number", "spec.a", `{operator: greaterThan, value: 1}`, `{"spec":{"a":[1.50e1]}}`, value("1.50e1")},
		{"a subject that is an argument", "allContainers.args", `{operator: exists}`, `{"spec":{"containers":[{"args":["secret"]}]}}`, withheld},
		{"an argument", "spec.containers", `{path: args.0, operator: exists}`, `{"spec":{"containers":[{"args":["secret"]}]}}`, withheld},
		{"an environment variable by its name", "spec.containers", `{path: 'env.#(name=="A").value', operator: exists}`, `{"spec":{"containers":[{"env":[{"name":"A","value":"secret"}]}]}}`, withheld},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			details := detailsOf(t, tableOf(t, tt.forEach, tt.violation), []byte(tt.pod))
			if diff := cmp.Diff([]rules.Detail{tt.want}, details); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
		})
	}
}

// A pod that has changed since it was evaluated may have no such subject any more.
func TestDetailOfAnotherPod(t *testing.T) {
	table := tableOf(t, "spec.containers", `{path: image, operator: hasSuffix, value: ":latest"}`)
	verdict, err := table.Evaluate([]byte(`{"spec":{"containers":[{},{"image":"a:latest"}]}}`))
	if err != nil || len(verdict.Violations) != 1 {
		t.Fatalf("verdict %v, error %v", verdict, err)
	}
	for pod, want := range map[string]string{
		`{}`: "", ``: "", `{"spec":"["}`: "", `{"spec":{"containers":[{}]}}`: "", `{"spec":{"containers":[{},[]]}}`: "", `{"spec":{"containers":[{},{"image":"a:1"}]}}`: "",
		`{"spec":{"containers":[{},{"image":"b:latest"}]}}`: "b:latest",
	} {
		if got := table.Detail([]byte(pod), &verdict.Violations[0]); got != (rules.Detail{Value: want}) {
			t.Errorf("%s: detail %+v, want %q", pod, got, want)
		}
	}
}

// TestDetailsOfRandomPods compares the details of pods with those of their projections, and of pods with line breaks.
func TestDetailsOfRandomPods(t *testing.T) {
	tables := shippedTables(t)
	for seed := range randomTables() {
		tables = append(tables, load(t, string(randomTable(newRand(seed)))))
	}
	whole := newRandomPods(t).text[:200]
	if testing.Short() {
		whole = whole[:80]
	}
	pods := slices.Concat(whole, [][]byte{realisticPod(t, true), realisticPod(t, false)})
	var values, withheld, none int
	for _, table := range tables {
		for _, pod := range pods {
			for _, d := range detailsOf(t, table, pod) {
				switch {
				case d.Withheld && d.Value == "":
					withheld++
				case d.Withheld, len(d.Value) > 200, !utf8.ValidString(d.Value):
					t.Fatalf("detail %+v", d)
				case d.Value != "":
					values++
				default:
					none++
				}
			}
		}
	}
	t.Logf("%d values, %d withheld, %d without", values, withheld, none)
	// Each random table should try some. Who changes the random tables changes these counts.
	if least := 20 * int(randomTables()); values < least || withheld < least/15 || none < least {
		t.Errorf("%d values, %d withheld, %d without; want at least %d, %d, %d from %d random tables", values, withheld, none, least, least/15, least, randomTables())
	}
}

// TestSecretsAreWithheld puts a secret below each field that may hold one, anywhere in a pod, and looks for it in the details
// of tables that ask for it. What is shown of the rest proves that the tables do ask.
func TestSecretsAreWithheld(t *testing.T) {
	secrets := []string{"env", "envFrom", "args", "command", "annotations", "data", "stringData", "httpHeaders", "volumeAttributes", "options"}
	shown := 0
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"spec", "a", "b", "dataSource"}
		if rapid.Bool().Draw(t, "secrets") {
			names = append(names, secrets...)
		}
		keys := rapid.SliceOfN(rapid.SampledFrom(names), 1, 4).Draw(t, "keys")
		element := rapid.Bool().Draw(t, "list")
		cut := rapid.IntRange(0, len(keys)).Draw(t, "cut")
		operator := rapid.SampledFrom([]string{"operator: exists", "operator: notEquals, value: x", `operator: matches, value: "^sec"`}).Draw(t, "operator")
		pod, path := `"secret"`, strings.Join(keys, ".")
		for i := len(keys) - 1; i >= 0; i-- {
			if element && i == cut-1 {
				pod = "[" + pod + "]"
			}
			pod = fmt.Sprintf("{%q:%s}", keys[i], pod)
		}
		check := "violation: {path: " + path + ", " + operator + "}"
		if element && cut > 0 && cut < len(keys) {
			check = "forEach: " + strings.Join(keys[:cut], ".") + ", violation: {path: " + strings.Join(keys[cut:], ".") + ", " + operator + "}"
		} else if element {
			return
		}
		table, err := rules.Load("t", []byte(hostileHead+"checks: [{id: c, weight: 1, "+check+"}]"))
		if err != nil {
			t.Fatal(err)
		}
		verdict, err := table.Evaluate([]byte(pod))
		if err != nil || len(verdict.Violations) != 1 {
			t.Fatalf("%s of %s: %v, error %v", check, pod, verdict, err)
		}
		secret := false
		for _, key := range keys {
			secret = secret || contains(secrets, key)
		}
		reduced, err := table.Projection().AppendTo(nil, []byte(pod))
		if err != nil {
			t.Fatal(err)
		}
		want := rules.Detail{Value: "secret"}
		if secret {
			want = rules.Detail{Withheld: true}
		} else {
			shown++
		}
		for _, of := range []string{pod, string(reduced)} {
			if got := table.Detail([]byte(of), &verdict.Violations[0]); got != want {
				t.Fatalf("%s of %s: %+v, want %+v", check, of, got, want)
			}
		}
		if secret && strings.Contains(operator, "exists") && strings.Contains(string(reduced), "secret") {
			t.Fatalf("%s: the projection keeps the secret: %s", check, reduced)
		}
	})
	if shown == 0 {
		t.Error("no value is shown: nothing was tried")
	}
}

func TestMessageOf(t *testing.T) {
	value, long := rules.Detail{Value: "nginx:latest"}, strings.Repeat("x", 300)
	cut := strings.Repeat("x", 197) + "…"
	for _, test := range []struct {
		check, container, subject string
		detail                    rules.Detail
		want                      string
	}{
		{"description: The image ends with :latest", "web", "", value, "The image ends with :latest: nginx:latest"},
		{"description: The image ends with :latest.", "web", "", value, "The image ends with :latest: nginx:latest"},
		{"description: The image ends with :latest.", "web", "", rules.Detail{}, "The image ends with :latest."},
		{"description: The image ends with :latest.", "web", "", rules.Detail{Withheld: true}, "The image ends with :latest."},
		// A sentence made of the predicate may already end with the value.
		{"severity: low", "web", "", rules.Detail{Value: "set"}, "a is set"},
		{"severity: low", "web", "", rules.Detail{Value: "t"}, "a is set: t"},
		{`description: d, message: "{container} has {value}: pin {value}."`, "web", "", value, "web has nginx:latest: pin nginx:latest."},
		{`message: "{container}, {subject}, {value}"`, "", "", rules.Detail{}, "(none), (none), (none)"},
		{`message: "{container}, {subject}, {value}"`, "web", "TOKEN", rules.Detail{Withheld: true}, "web, TOKEN, (not shown)"},
		{`message: "No placeholder"`, "web", "", value, "No placeholder"},
		// What comes from the pod is not read as a placeholder again.
		{`message: "{container}{subject}{value}"`, "{value}", "{subject}", rules.Detail{Value: "{container}"}, "{value}{subject}{container}"},
		{`message: "{container} {subject}"`, long, long, rules.Detail{}, cut + " " + cut},
		// A table that repeats what a pod has makes no report of gigabytes.
		{`message: "` + strings.Repeat("{subject}", 100) + `"`, "", strings.Repeat("x", 200), rules.Detail{}, strings.Repeat("x", 1997) + "…"},
	} {
		table := load(t, hostileHead+"checks: [{id: c, weight: 1, "+test.check+", violation: {path: a, operator: exists}}]")
		if got := table.Checks()[0].MessageOf(test.container, test.subject, test.detail); got != test.want {
			t.Errorf("%s: %q, want %q", test.check, got, test.want)
		}
	}
}

// TestShowValue hides a value, and never shows what may be a secret.
func TestShowValue(t *testing.T) {
	pod := []byte(`{"metadata":{"annotations":{"a":"secret"}},"spec":{"a":"x"}}`)
	for _, test := range []struct {
		check string
		want  rules.Detail
	}{
		{"violation: {path: spec.a, operator: exists}", rules.Detail{Value: "x"}},
		{"showValue: true, violation: {path: spec.a, operator: exists}", rules.Detail{Value: "x"}},
		{"showValue: false, violation: {path: spec.a, operator: exists}", rules.Detail{Withheld: true}},
		{"showValue: false, violation: {path: spec.b, operator: absent}", rules.Detail{}},
		{"showValue: true, violation: {path: metadata.annotations.a, operator: exists}", rules.Detail{Withheld: true}},
	} {
		table := load(t, hostileHead+"checks: [{id: c, weight: 1, "+test.check+"}]")
		if diff := cmp.Diff([]rules.Detail{test.want}, detailsOf(t, table, pod)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.check, diff)
		}
	}
}

// BenchmarkDetail looks at a pod of 8 KB again, and at its projection, for the details of its violations.
func BenchmarkDetail(b *testing.B) {
	table := load(b, string(readFile(b, "../policies/default.yaml")))
	pod := realisticPod(b, false)
	verdict, err := table.Evaluate(pod)
	if err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string][]byte{"pod": pod, "projection": projected(b, table.Projection(), pod)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Detail(text, &verdict.Violations[0])
			}
		})
	}
}
