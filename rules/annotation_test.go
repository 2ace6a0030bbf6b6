package rules_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
)

const annotatedTable = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: t}
checks:
  - {id: latest_tag, weight: 1, forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}}
  - {id: no_probe, weight: 1, forEach: spec.containers, violation: {path: livenessProbe, operator: absent}}
  - {id: privileged, weight: 1, forEach: spec.containers, violation: {path: privileged, operator: equals, value: true}}
waivers: [{id: of-table, reason: r, expires: 2030-02-01, pod: waived, check: latest_tag}]
annotationWaivers: {checks: [latest_tag, no_probe], maxDays: 90}
`

// annotatedPod is a pod of one container with all violations. Without a creation time it is as in a manifest.
func annotatedPod(name, created, annotation string) []byte {
	metadata := map[string]any{"name": name, "annotations": map[string]any{"other": "x", rules.WaiveAnnotation: annotation}}
	if created != "" {
		metadata["creationTimestamp"] = created
	}
	pod, err := json.Marshal(map[string]any{
		"metadata": metadata, "spec": map[string]any{"containers": []any{map[string]any{"name": "c", "image": "a", "privileged": true}}},
	})
	if err != nil {
		panic(err)
	}
	return pod
}

// waivedAs lists the checks of a verdict with their waivers.
func waivedAs(table *rules.Table, v rules.Verdict) string {
	var words []string
	for _, v := range v.Violations {
		word := table.Checks()[v.Check].ID
		if w := v.Waiver; w != nil {
			word += fmt.Sprintf(" (%s until %s: %s)", strings.TrimPrefix(w.ID, "kube-devops.io/"), w.Expires.Format(time.DateOnly), w.Reason)
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

func TestAnnotationWaivers(t *testing.T) {
	const created = "2030-01-01T10:00:00Z"
	at := func(number int, what string) string {
		return fmt.Sprintf("line %d of annotation kube-devops.io/waive accepts nothing: %s", number, what)
	}
	const form = `it must have the form "CHECK[,CHECK] expires DATE: REASON"`
	tests := []struct {
		name, annotation, want string
		mistakes               []string
	}{
		{"nothing", "", "latest_tag, no_probe, privileged", nil},
		{"one check", "latest_tag expires 2030-01-31: until the release: Ada", "latest_tag (waive until 2030-01-31: until the release: Ada), no_probe, privileged", nil},
		{"two checks, spaces and blank lines", "\n  latest_tag , no_probe   expires  2030-01-31 :  r  \r\n\n",
			"latest_tag (waive until 2030-01-31: r), no_probe (waive until 2030-01-31: r), privileged", nil},
		{"of several lines the one that expires last", "latest_tag expires 2030-01-10: a\nlatest_tag,no_probe expires 2030-01-20: b\nno_probe expires 2030-01-15: c",
			"latest_tag (waive until 2030-01-20: b), no_probe (waive until 2030-01-20: b), privileged", nil},
		{"a date that has passed", "latest_tag expires 2020-01-31: r", "latest_tag (waive until 2020-01-31: r), no_probe, privileged", nil},
		{"the last day", "latest_tag expires 2030-04-01: r", "latest_tag (waive until 2030-04-01: r), no_probe, privileged", nil},
		{"too far away", "no_probe expires 2030-01-31: r\nlatest_tag expires 2030-04-02: r", "latest_tag, no_probe (waive until 2030-01-31: r), privileged",
			[]string{at(2, "2030-04-02 is more than 90 days after the creation of the pod")}},
		{"a check that is not allowed", "latest_tag,privileged expires 2030-01-31: r", "latest_tag, no_probe, privileged",
			[]string{at(1, `annotationWaivers does not allow check "privileged"`)}},
		{"no checks", "expires 2030-01-31: r", "latest_tag, no_probe, privileged", []string{at(1, form)}},
		{"an empty check", "latest_tag, expires 2030-01-31: r", "latest_tag, no_probe, privileged", []string{at(1, `annotationWaivers does not allow check ""`)}},
		{"no reason", "latest_tag expires 2030-01-31:  ", "latest_tag, no_probe, privileged", []string{at(1, `it has no reason after "latest_tag expires 2030-01-31:"`)}},
		{"a reason without letters", "latest_tag expires 2030-01-31: \u200b\nno_probe expires 2030-01-31: : -", "latest_tag, no_probe, privileged",
			[]string{at(1, `it has no reason after "latest_tag expires 2030-01-31:"`), at(2, `it has no reason after "no_probe expires 2030-01-31:"`)}},
		{"a reason in another script", "latest_tag expires 2030-01-31: 期限", "latest_tag (waive until 2030-01-31: 期限), no_probe, privileged", nil},
		{"no date", "latest_tag: r", "latest_tag, no_probe, privileged", []string{at(1, form)}},
		{"not a date", "latest_tag expires 2030-02-30: r", "latest_tag, no_probe, privileged", []string{at(1, `"2030-02-30" is not a date such as 2030-12-31`)}},
		{"a time", "latest_tag expires 2030-01-31T10:00:00Z: r", "latest_tag, no_probe, privileged", []string{at(1, `"2030-01-31T10" is not a date such as 2030-12-31`)}},
		{"many mistakes", strings.Repeat("x\n", 1000), "latest_tag, no_probe, privileged",
			[]string{at(1, form), at(2, form), at(3, form), "997 more lines of annotation kube-devops.io/waive accept nothing"}},
		{"too long", "latest_tag expires 2030-01-31: " + strings.Repeat("r", 4096), "latest_tag, no_probe, privileged",
			[]string{"annotation kube-devops.io/waive must be a text of at most 4096 bytes; it accepts nothing"}},
	}
	table := load(t, annotatedTable)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := annotatedPod("p", created, tt.annotation)
			reduced, err := table.Projection().AppendTo(nil, pod)
			if err != nil {
				t.Fatal(err)
			}
			for _, pod := range [][]byte{pod, reduced} {
				verdict, err := table.Evaluate(pod)
				if err != nil {
					t.Fatal(err)
				}
				if got := waivedAs(table, verdict); got != tt.want {
					t.Errorf("violations %s, want %s", got, tt.want)
				}
				if diff := cmp.Diff(tt.mistakes, verdict.Mistakes); diff != "" {
					t.Errorf("mistakes (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestAnnotationWaiversCountFromThePod: neither the moment of the table nor a forged creation time extends what a line may accept.
func TestAnnotationWaiversCountFromThePod(t *testing.T) {
	january := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	const line = "latest_tag expires 2030-03-31: r"
	for _, tt := range []struct {
		name, created string
		now           time.Time
		accepts       bool
	}{
		{"a live pod", "2030-01-01T00:00:00Z", time.Time{}, true},
		{"an older live pod", "2029-12-01T00:00:00Z", time.Time{}, false},
		{"an older live pod, later", "2029-12-01T00:00:00Z", january.AddDate(0, 3, 0), false},
		{"a manifest", "", january, true},
		{"a manifest, too early", "", january.AddDate(0, -1, 0), false},
		{"a manifest, too early, in a scan of the last day", "", time.Date(2030, 3, 31, 0, 0, 0, 0, time.UTC), true},
		{"a manifest that claims to be of the future", "2030-01-01T00:00:00Z", january.AddDate(0, -1, 0), false},
		{"no moment at all", "", time.Time{}, false},
		{"a creation time that is not one", "yesterday", time.Time{}, false},
	} {
		table := load(t, annotatedTable)
		if !tt.now.IsZero() {
			table = table.AsOf(tt.now)
		}
		verdict, err := table.Evaluate(annotatedPod("p", tt.created, line))
		if err != nil {
			t.Fatal(err)
		}
		if accepts := verdict.Violations[0].Waiver != nil; accepts != tt.accepts || accepts == (len(verdict.Mistakes) > 0) {
			t.Errorf("%s: accepted %t, want %t; mistakes %q", tt.name, accepts, tt.accepts, verdict.Mistakes)
		}
	}
}

func TestAnnotationBesideTheTable(t *testing.T) {
	table := load(t, annotatedTable)
	for annotation, want := range map[string]string{
		"latest_tag expires 2030-01-31: r": "latest_tag (of-table until 2030-02-01: r), no_probe, privileged",
		"latest_tag expires 2030-02-01: r": "latest_tag (of-table until 2030-02-01: r), no_probe, privileged",
		"latest_tag expires 2030-02-02: r": "latest_tag (waive until 2030-02-02: r), no_probe, privileged",
	} {
		verdict, err := table.Evaluate(annotatedPod("waived", "2030-01-01T00:00:00Z", annotation))
		if err != nil {
			t.Fatal(err)
		}
		if got := waivedAs(table, verdict); got != want {
			t.Errorf("%q: violations %s, want %s", annotation, got, want)
		}
	}
	// A table that does not read annotations finds nothing in them. One with a part of the checks reads lines that name the others.
	off := load(t, strings.ReplaceAll(annotatedTable, "annotationWaivers: {", "# {"))
	subset, err := table.Subset("no_probe")
	if err != nil {
		t.Fatal(err)
	}
	pod := annotatedPod("p", "2030-01-01T00:00:00Z", "latest_tag,no_probe expires 2030-01-31: r\nx")
	for _, tt := range []struct {
		table    *rules.Table
		want     string
		mistakes int
	}{{off, "latest_tag, no_probe, privileged", 0}, {subset, "no_probe (waive until 2030-01-31: r)", 1}} {
		verdict, err := tt.table.Evaluate(pod)
		if err != nil {
			t.Fatal(err)
		}
		if got := waivedAs(tt.table, verdict); got != tt.want || len(verdict.Mistakes) != tt.mistakes {
			t.Errorf("violations %s, want %s; mistakes %q", got, tt.want, verdict.Mistakes)
		}
	}
}

// TestHostileAnnotation has as many lines as fit, for a pod of as many violations as there may be.
func TestHostileAnnotation(t *testing.T) {
	table := load(t, annotatedTable)
	containers := strings.TrimSuffix(strings.Repeat(`{"name":"c"},`, rules.MaxSubjects), ",")
	lines := strings.Repeat(`latest_tag,no_probe expires 2030-01-02:r\n`, 97)
	pod := []byte(`{"metadata":{"creationTimestamp":"2030-01-01T00:00:00Z","annotations":{"kube-devops.io/waive":"` + lines + `"}},"spec":{"containers":[` + containers + `]}}`)
	var verdict rules.Verdict
	_ = table.EvaluateInto(&verdict, pod) // the memory of the verdict is reused
	with := allocated(func() { _ = table.EvaluateInto(&verdict, pod) })
	if len(verdict.Mistakes) > 0 || verdict.Violations[0].Waiver == nil {
		t.Fatalf("mistakes %q", verdict.Mistakes)
	}
	without := allocated(func() { _ = table.EvaluateInto(&verdict, []byte(strings.Replace(string(pod), "waive", "x", 1))) })
	if with > without+200_000 {
		t.Errorf("%d bytes are allocated for a hostile annotation and %d without", with, without)
	}
}

// FuzzAnnotation gives a pod any annotation: what it accepts is of the checks that the table names, in time, and the same for the reduced
// pod and by the naive engine.
func FuzzAnnotation(f *testing.F) {
	for _, lines := range []string{
		"", "latest_tag expires 2030-01-31: r", "latest_tag , no_probe\texpires 2030-01-31 : r\n\nx", "privileged expires 2030-01-31: r", "latest_tag expires 2031-01-31: r",
		"latest_tag expires 2030-01-31 expires 2030-01-31: r", "latest_tag expires 2030-02-30: r", ": r", "latest_tag,, expires 2030-01-31: r", "latest_tag expires 2030-01-31:\u00a0",
		"latest_tag expires 2030-01-31:r\rno_probe expires 2030-01-31:r", strings.Repeat("latest_tag expires 2030-01-31: r\n", 200),
	} {
		f.Add(lines)
	}
	table := load(f, annotatedTable)
	naive := loadNaive(f, []byte(annotatedTable))
	projection := table.Projection()
	latest := time.Date(2030, 4, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, lines string) {
		pod := annotatedPod("p", "2030-01-01T10:00:00Z", lines)
		verdict, err := table.Evaluate(pod)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range verdict.Violations {
			if w := v.Waiver; w != nil && (table.Checks()[v.Check].ID == "privileged" || w.Expires.After(latest) || strings.TrimSpace(w.Reason) == "") {
				t.Errorf("%q accepts a violation of %s by %+v", lines, table.Checks()[v.Check].ID, w)
			}
		}
		if len(verdict.Mistakes) > 4 {
			t.Errorf("%d mistakes", len(verdict.Mistakes))
		}
		reduced, err := projection.AppendTo(nil, pod)
		if err != nil {
			t.Fatal(err)
		}
		got := inWords(table, verdict)
		if diff := compareVerdicts(evaluateOrFail(t, table, string(reduced)), got); diff != "" {
			t.Errorf("the reduced pod (-reduced +whole):\n%s", diff)
		}
		decoded, err := decodeNaive(pod)
		if err != nil {
			t.Fatal(err)
		}
		if quoted, _ := json.Marshal(lines); len(quoted) > 4000 && len(lines) < 4100 {
			return // the naive engine does not know the exact bound
		}
		if diff := compareVerdicts(naive.evaluate(decoded), got); diff != "" {
			t.Errorf("(-naive +engine):\n%s", diff)
		}
	})
}
