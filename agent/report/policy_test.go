package report_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

func loadPolicy(t *testing.T, text string) *rules.Table {
	t.Helper()
	table, err := rules.Load("t.yaml", []byte("apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestPolicyMarkdownEscapes has texts that would break a table, or be taken for markup.
func TestPolicyMarkdownEscapes(t *testing.T) {
	table := loadPolicy(t, `namespaces: {include: ["a|b"], exclude: []}
checks:
  - id: c
    description: "a | b\n<script> *x* _y_ [z](u) \x60code\x60 \\"
    weight: 1
    violation: {path: a, operator: in, value: ["x|y", "\x60", "\n"]}
waivers: [{id: w, reason: "a|b", expires: "2030-01-01T02:00:00+02:00", pod: "p|q"}]
`)
	var b bytes.Buffer
	if err := report.PolicyMarkdown(&b, table); err != nil {
		t.Fatal(err)
	}
	want := "# Policy `t`\n\n## Scope\n\nNamespaces `a\\|b`.\n\n## Checks\n\n" +
		"| check | severity | weight | what is wrong | what to do |\n| --- | --- | ---: | --- | --- |\n" +
		"| `c` | medium | 1 | a \\| b &lt;script> \\*x\\* \\_y\\_ \\[z](u) \\`code\\` \\\\ |  |\n\n" +
		"### What they look for\n\n| check | of each | when | violation |\n| --- | --- | --- | --- |\n" +
		"| `c` | pod |  | a is one of x\\|y, \\`, \"\\\\n\" |\n\n" +
		"## Grades\n\n| grade | compliance |\n| --- | --- |\n| Healthy | 80 % and more |\n| Stable | 60 % and more |\n| Degraded | 40 % and more |\n| Critical | 0 % and more |\n\n" +
		"## Waivers\n\n| waiver | accepts | until | reason |\n| --- | --- | --- | --- |\n| `w` | `pod p\\|q` | 2030-01-01T00:00:00Z | a\\|b |\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("Markdown (-want +got):\n%s", diff)
	}
	if err := report.PolicyMarkdown(failingWriter{}, table); !errors.Is(err, errFailing) {
		t.Errorf("error %v, want that of the writer", err)
	}
}

// TestPolicyMarkdownOfLists prints what the sentences about named lists refer to.
func TestPolicyMarkdownOfLists(t *testing.T) {
	table := loadPolicy(t, `lists: {registries: [ghcr.io/org, "a|b"]}
checks: [{id: c, weight: 1, violation: {path: image, operator: notIn, value: {list: registries}}}]
`)
	var b bytes.Buffer
	if err := report.PolicyMarkdown(&b, table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| `c` | pod |  | image is not in the list registries |\n\n### Lists\n\n| list | values |\n| --- | --- |\n| `registries` | `ghcr.io/org`, `a\\|b` |\n\n## Grades",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no\n%s\nin\n%s", want, b.String())
		}
	}
}

var errFailing = errors.New("no room")

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errFailing }

// comparison holds pods under two tables: one changes what a container must have, one leaves out a namespace.
func comparison(t *testing.T) *report.Difference {
	t.Helper()
	before := state.New(loadPolicy(t, `checks:
  - {id: image, weight: 2, forEach: spec.containers, violation: {path: image, operator: absent}}
  - {id: gone, weight: 1, violation: {path: spec.gone, operator: exists}}
`))
	after := state.New(loadPolicy(t, `namespaces: {exclude: [left-out]}
pods: {skip: [{reason: job, when: {path: job, operator: exists}}]}
checks:
  - {id: host, weight: 5, violation: {path: spec.host, operator: exists}}
  - {id: image, weight: 2, forEach: spec.containers, violation: {path: image, operator: equals, value: a}}
`))
	pods := []struct{ namespace, name, json string }{
		{"same", "a", `{"spec":{"containers":[{"image":"b"}]}}`},
		{"left-out", "a", `{"spec":{"gone":1,"containers":[{}]}}`},
		{"shop", "a", `{"spec":{"containers":[{"image":"a"},{"image":"a"},{}]}}`},
		{"shop", "b", `{"spec":{"host":1}}`},
		{"shop", "job", `{"job":1,"spec":{"containers":[{}]}}`},
		{"weird\x1b[31m", "a", `{"spec":{"host":1}}`},
		{"only-jobs", "a", `{"job":1}`},
	}
	for _, p := range pods {
		for _, s := range []*state.ClusterState{before, after} {
			if _, err := s.Observe(state.Pod{Namespace: p.namespace, Name: p.name}, []byte(p.json)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return report.Compare(before.SnapshotWithViolations(), after.SnapshotWithViolations())
}

func TestDifferenceText(t *testing.T) {
	var b bytes.Buffer
	if err := report.DifferenceText(&b, comparison(t)); err != nil {
		t.Fatal(err)
	}
	want := `NAMESPACE        PODS    SCORE         COMPLIANCE        GRADE                VIOLATIONS
left-out         1 -> -  3.00 -> -     0.0 % -> -        Critical -> -        -1 gone, -1 image
only-jobs        1 -> -  0.00 -> -     100.0 % -> -      Healthy -> -
shop             3 -> 2  1.33 -> 4.50  63.6 % -> 43.7 %  Stable -> Degraded   +2 -2 image, +1 host
"weird\x1b[31m"  1       0.00 -> 5.00  100.0 % -> 0.0 %  Healthy -> Critical  +1 host
(cluster)        7 -> 4  0.87 -> 3.17  72.7 % -> 47.9 %  Stable -> Degraded
4 namespaces changed, 1 unchanged.

The table changes:
  check image, description: image is not set -> image is a
  check image, violation: {"operator":"absent","path":"image"} -> {"operator":"equals","path":"image","value":"a"}
- check gone
+ check host
+ skip job
  namespaces, exclude: ["kube-*","*-system","cert-manager","monitoring","observability","argocd"] -> ["left-out"]
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	for _, write := range []func() error{
		func() error { return report.DifferenceText(failingWriter{}, comparison(t)) },
		func() error { return report.DifferenceText(failingWriter{}, &report.Difference{}) },
		func() error { return report.DifferenceJSON(failingWriter{}, comparison(t)) },
	} {
		if err := write(); !errors.Is(err, errFailing) {
			t.Errorf("error %v, want that of the writer", err)
		}
	}
}

// TestDifferenceOfTables changes what no score shows, or not by itself: severities, texts, grades, and what waivers accept.
func TestDifferenceOfTables(t *testing.T) {
	const old = `checks:
  - {id: image, description: No image, severity: high, weight: 2, forEach: spec.containers, violation: {path: image, operator: absent}}
waivers:
  - {id: gone, reason: r, expires: 2030-06-30, namespace: other}
  - {id: w, reason: r, expires: 2030-06-30, container: a}
`
	const fresh = `checks:
  - {id: image, description: The image is missing, severity: critical, weight: 2, forEach: spec.containers, violation: {path: image, operator: absent}}
grades: [{name: Healthy, min: 80, maxSeverity: high}, {name: Stable, min: 60}, {name: Degraded, min: 40}, {name: Critical, min: 0}]
waivers: [{id: w, reason: r, expires: 2030-07-31, container: b}]
annotationWaivers: {checks: [image], maxDays: 30}
`
	var snapshots []*state.Snapshot
	for _, text := range []string{old, fresh} {
		s := state.New(loadPolicy(t, text))
		if _, err := s.Observe(state.Pod{Namespace: "shop", Name: "p"}, []byte(`{"spec":{"containers":[{"name":"a"},{"name":"b"},{"name":"c"}]}}`)); err != nil {
			t.Fatal(err)
		}
		snapshots = append(snapshots, s.SnapshotWithViolations())
	}
	var text, encoded bytes.Buffer
	difference := report.Compare(snapshots[0], snapshots[1])
	if err := errors.Join(report.DifferenceText(&text, difference), report.DifferenceJSON(&encoded, difference)); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(text.String(), "\n(cluster)")
	_, got, _ = strings.Cut(got, "\n")
	want := `1 namespace changed, 0 unchanged.
Violations: 2 high -> 2 critical.

The table changes:
  check image, description: No image -> The image is missing
  check image, severity: high -> critical
  grade Healthy, maxSeverity: (none) -> high
- waiver gone
  waiver w, container: a -> b
  waiver w, expires: 2030-06-30T00:00:00Z -> 2030-07-31T00:00:00Z
  annotationWaivers, checks: (none) -> ["image"]
  annotationWaivers, maxDays: (none) -> 30
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	if !strings.Contains(text.String(), "+1 -1 image (1 waived) (1 no longer waived)") {
		t.Errorf("what waivers accept is not marked:\n%s", text.String())
	}
	for _, part := range []string{`"waived": {`, `"unwaived": {`, `"part": "waiver gone",`, `"removed": true`, `"before": "high"`} {
		if !strings.Contains(encoded.String(), part) {
			t.Errorf("the JSON has no %s:\n%s", part, encoded.String())
		}
	}
}

// TestDifferenceOfNothing has no pods at all.
func TestDifferenceOfNothing(t *testing.T) {
	empty := state.New(loadPolicy(t, "checks: [{id: c, weight: 1, violation: {path: a, operator: exists}}]\n")).SnapshotWithViolations()
	var text, json bytes.Buffer
	if err := errors.Join(report.DifferenceText(&text, report.Compare(empty, empty)), report.DifferenceJSON(&json, report.Compare(empty, empty))); err != nil {
		t.Fatal(err)
	}
	if text.String() != "Nothing changes in 0 namespaces.\n" || !strings.Contains(json.String(), `"score": null`) || !strings.Contains(json.String(), `"namespaces": []`) {
		t.Errorf("%s%s", text.String(), json.String())
	}
}
