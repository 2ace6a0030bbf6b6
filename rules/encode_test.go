package rules_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
)

// equalTables compares all of two tables but what a second writing may change: the text's hash, where the nodes of the
// text are and how they were written, descriptions that were filled in, and compiled functions, whose operators
// and values that they are compiled from are compared.
var equalTables = cmp.Options{
	cmp.Exporter(func(reflect.Type) bool { return true }),
	cmp.FilterPath(func(p cmp.Path) bool {
		switch field := p.Last().String(); field {
		case ".hash", ".Description", ".Line", ".Column", ".Style", ".Tag", ".HeadComment", ".LineComment", ".FootComment":
			return true
		}
		return p.Last().Type().Kind() == reflect.Func
	}, cmp.Ignore()),
}

// roundTrip writes a table, loads what was written, and compares.
func roundTrip(t *testing.T, table *rules.Table) {
	t.Helper()
	text := table.YAML()
	again, err := rules.Load("written.yaml", text)
	if err != nil {
		t.Fatalf("what was written does not load: %v\n%s", err, text)
	}
	if diff := cmp.Diff(table, again, equalTables); diff != "" {
		t.Fatalf("the table that was written is another (-table +written):\n%s\n%s", diff, text)
	}
	for i, c := range table.Checks() {
		if got := again.Checks()[i]; got.Description != c.Message() {
			t.Errorf("check %s: description %q, want %q", c.ID, got.Description, c.Message())
		}
	}
	if diff := cmp.Diff(string(text), string(again.YAML())); diff != "" {
		t.Errorf("written a second time (-first +second):\n%s", diff)
	}
}

func TestYAML(t *testing.T) {
	for _, text := range append(shippedTexts(t), filesOf(t, "lint/testdata/*.yaml")...) {
		roundTrip(t, load(t, string(text)))
	}
	roundTrip(t, load(t, fullTable))
}

// TestYAMLOfRandomTables has the tables of the differential test, and pods that both tables must agree on.
func TestYAMLOfRandomTables(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for range 2 * randomTables() {
		table := load(t, string(randomTable(r)))
		roundTrip(t, table)
		again := load(t, string(table.YAML()))
		for range 20 {
			pod := randomPod(r)
			want, wantErr := table.Evaluate(pod)
			got, gotErr := again.Evaluate(pod)
			if diff := cmp.Diff(want, got, equalTables); diff != "" || (wantErr == nil) != (gotErr == nil) {
				t.Fatalf("verdicts differ (-table +written), errors %v and %v:\n%s\n%s", wantErr, gotErr, diff, pod)
			}
		}
	}
}

// TestYAMLOfUnusualStrings has what YAML may take for something else.
func TestYAMLOfUnusualStrings(t *testing.T) {
	texts := []string{"", " ", "a ", " a", "5", "0x5", "1_000", "true", "null", "~", "2030-01-01", "no", "a: b", "a #b", "- a", "[a]", "{a", "*a", "&a", "!a", "|", ">", "%", "@", "`", "'", `"`, `\`,
		"a\nb", "a\n", "\na", "a\r\nb", "\t", "\x00", "\x7f", "\u0085", "\u00a0", "\u2028", "\ufeff", "é", "\U0001F600", "---", "...", "=", "<<", "1e3", ".5", "+1", "1:30", "0b1", "a\tb"}
	var values []string
	for _, text := range texts {
		values = append(values, fmt.Sprintf("%q", strings.ToValidUTF8(text, "")))
	}
	leaf := "{path: a, operator: in, value: [" + strings.Join(values, ", ") + "]}"
	leaf = strings.NewReplacer(`\x7f`, `\x7F`, `\ufeff`, `\uFEFF`).Replace(leaf)
	roundTrip(t, tableOf(t, "", leaf))
	roundTrip(t, tableOf(t, "", `{path: a, operator: in, value: [5, 0x10, 0b11, 0o7, 1_000, 1.50, .5, 1e3, !!float 5.5, !!int 5, !!str 5, true, False, -0, -0.0, 9223372036854775807]}`,
		`{path: a, operator: length, value: {max: 5, min: 0x2}}`, `{path: a, operator: quantityLessThan, value: 1e3}`, `{path: 'a\.b.#(c=="d e")#.f', operator: exists}`))
	for _, text := range texts {
		if text == "" {
			continue // an empty description is filled in
		}
		quoted := strings.NewReplacer(`\x7f`, `\x7F`, `\ufeff`, `\uFEFF`).Replace(fmt.Sprintf("%q", text))
		table := load(t, "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\nchecks:\n  - {id: c, weight: 1, description: "+quoted+", remediation: "+quoted+", violation: {path: a, operator: exists}}\n")
		roundTrip(t, table)
		if got := table.Checks()[0].Description; got != text {
			t.Errorf("description %q, want %q", got, text)
		}
	}
}

// TestYAMLOfWaivers has every field of a waiver, in the table and in a file beside it.
func TestYAMLOfWaivers(t *testing.T) {
	inside := `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: t}
checks:
  - {id: full, weight: 1, forEach: spec.containers, violation: {path: a, operator: exists}}
  - {id: least, weight: 1, violation: {path: a, operator: exists}}
pods:
  skip:
    - {reason: job, when: {not: {path: status.phase, operator: exists}}}
waivers:
  - {id: a, reason: "one: two", expires: 2030-01-01, namespace: ["a-*", b], workload: "Deployment/w[!a]*", check: full}
  - id: b
    reason: r
    expires: "2030-01-01T12:30:00.5+02:00"
    pod: "*"
    container: c
    labels: {app.kubernetes.io/name: x, "5": "6"}
    owner: {kind: Job, name: "j*"}
    check: [full, least]
  - {id: c, reason: r, expires: 2030-01-01T00:00:00Z, owner: {kind: Job}}
annotationWaivers: {checks: [least, full], maxDays: 90}
`
	table := load(t, inside)
	roundTrip(t, table)
	with, err := table.WithWaivers("w.yaml", []byte("apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers: [{id: d, reason: r, expires: 2031-12-31, pod: p}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, with)
	var got []string
	for _, w := range with.Waivers() {
		got = append(got, w.Scope())
	}
	want := []string{
		"namespace a-* or b, workload Deployment/w[^a]*, check full",
		"pod *, container c, label 5=6, label app.kubernetes.io/name=x, owner Job j*, check full or least",
		"owner Job",
		"pod p",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scopes (-want +got):\n%s", diff)
	}
}

func TestDescriptions(t *testing.T) {
	table := load(t, `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: t}
namespaces: {include: [a], exclude: [b]}
pods: {skip: [{reason: job, when: {path: status.phase, operator: equals, value: Failed}}]}
checks:
  - {id: c, weight: 1, when: {path: a, operator: exists}, violation: {path: b, operator: absent}}
  - {id: d, weight: 1, violation: {path: b, operator: absent}}
`)
	include, exclude := table.Namespaces()
	checks := table.Checks()
	got := []any{include, exclude, table.Skips(), table.Grades(), checks[0].When(), checks[0].Violation(), checks[1].When()}
	want := []any{[]string{"a"}, []string{"b"}, []rules.Skip{{Reason: "job", When: "status.phase is Failed"}},
		[]rules.Grade{{Name: "Healthy", Min: 80}, {Name: "Stable", Min: 60}, {Name: "Degraded", Min: 40}, {Name: "Critical", Min: 0}}, "a is set", "b is not set", ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("descriptions (-want +got):\n%s", diff)
	}
}
