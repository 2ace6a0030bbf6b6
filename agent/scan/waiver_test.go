package scan

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// TestReportsNameExpiredWaivers: an expired waiver does not fail a gate without a word in the report, whichever the format.
func TestReportsNameExpiredWaivers(t *testing.T) {
	table, err := open(t, policies.Default).WithWaivers("w.yaml", []byte(`apiVersion: kube-devops.io/v1
kind: Waivers
waivers:
  - {id: expired, reason: r, expires: 2030-01-01, check: missing_liveness}
  - {id: used, reason: r, expires: 2031-01-01, check: latest_tag}
  - {id: useless, reason: r, expires: 2031-01-01, pod: other}
  - {id: shadowed, reason: r, expires: 2030-09-01, check: latest_tag, namespace: default}
`))
	if err != nil {
		t.Fatal(err)
	}
	text := `{"kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i:latest","readinessProbe":{}},{"name":"d","image":"i:1","readinessProbe":{}}]}}`
	found, err := scanned(t, text, func(o *Options) { o.Table, o.Now = table, time.Date(2030, 6, 1, 0, 0, 0, 0, time.UTC) })
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"Waiver expired expired at 2030-01-01 00:00 UTC: 2 violations count again.",
		"Waivers that another one supersedes, which accepts the same and expires later: shadowed (by used).",
		"Waivers that accept nothing here: useless. No violation matches them, or another waiver accepts it until later.",
	}
	for _, format := range report.Formats() {
		var b bytes.Buffer
		if err := format.Print(&b, found, report.Options{}); err != nil {
			t.Fatal(err)
		}
		for _, sentence := range want {
			if hasNotes := format.Name != "ndjson" && format.Name != "prometheus"; strings.Contains(b.String(), sentence) != hasNotes {
				t.Errorf("%s: %q is there: %t\n%s", format.Name, sentence, !hasNotes, b.String())
			}
		}
	}
	var agent bytes.Buffer
	if err := report.JSON(&agent, found.Snapshot, nil, nil); err != nil || !strings.Contains(agent.String(), `"warnings": ["`+want[0]) {
		t.Errorf("the report of an agent: %v\n%s", err, agent.String())
	}
}

// TestWaiversOutsideTheSelection: a scan of some namespaces does not say that the waivers of other namespaces are useless.
func TestWaiversOutsideTheSelection(t *testing.T) {
	table, err := open(t, policies.Default).WithWaivers("w.yaml", []byte(`apiVersion: kube-devops.io/v1
kind: Waivers
waivers:
  - {id: outside, reason: r, expires: 2031-01-01, namespace: "team-*", check: latest_tag}
  - {id: useless, reason: r, expires: 2031-01-01, namespace: shop, pod: other}
`))
	if err != nil {
		t.Fatal(err)
	}
	text := `{"kind":"Pod","metadata":{"name":"a","namespace":"shop"},"spec":{"containers":[{"name":"c","image":"i:latest"}]}}`
	for names, namespaces := range map[string][]string{"useless": {"shop"}, "outside, useless": nil} {
		found, err := scanned(t, text, func(o *Options) { o.Table, o.Namespaces = table, namespaces })
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := report.Table(&b, found, report.Options{}); err != nil {
			t.Fatal(err)
		}
		if want := "Waivers that accept nothing here: " + names + "."; !strings.Contains(b.String(), want) {
			t.Errorf("namespaces %v: %q is missing:\n%s", namespaces, want, b.String())
		}
	}
}

func annotating(t *testing.T) *rules.Table {
	t.Helper()
	table, err := rules.Load("policy", []byte(`apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: t}
checks: [{id: latest_tag, weight: 5, forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}}]
annotationWaivers: {checks: [latest_tag], maxDays: 90}
`))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestAnnotationWaivers scans manifests with annotations. Each mistake is reported with its file and line, also one that only a manifest
// shows: the annotation stands on the workload and not on its template.
func TestAnnotationWaivers(t *testing.T) {
	t.Chdir(t.TempDir())
	const manifests = `apiVersion: apps/v1
kind: Deployment
metadata: {name: accepted, namespace: shop}
spec:
  template:
    metadata:
      annotations:
        kube-devops.io/waive: |
          latest_tag expires 2030-03-01: until the release
    spec: {containers: [{name: c, image: "a"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: wrong, namespace: shop}
spec:
  template:
    metadata:
      annotations:
        kube-devops.io/waive: latest_tag until 2030-03-01
    spec: {containers: [{name: c, image: "a"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: misplaced
  namespace: shop
  annotations:
    kube-devops.io/waive: "latest_tag expires 2030-03-01: r"
spec:
  template:
    spec: {containers: [{name: c, image: "a:1"}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: night, namespace: shop}
spec:
  jobTemplate:
    metadata:
      annotations: {kube-devops.io/waive: "latest_tag expires 2030-03-01: r"}
    spec:
      template:
        spec: {containers: [{name: c, image: "a:1"}]}
`
	if err := os.WriteFile("shop.yaml", []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	result, err := Run(t.Context(), Options{Table: annotating(t), Found: found(t, "shop.yaml"), Now: time.Date(2030, 1, 15, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := report.Table(&b, result, report.Options{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, "accepts nothing") || strings.Contains(line, "2030-03-01") {
			got = append(got, strings.Join(strings.Fields(line), " "))
		}
	}
	want := []string{
		"kube-devops.io/waive 2030-03-01 shop latest_tag 1",
		"shop.yaml:39: CronJob/night: annotation kube-devops.io/waive of a CronJob accepts nothing; move it to the metadata of its pod template.",
		"shop.yaml:28: Deployment/misplaced: annotation kube-devops.io/waive of a Deployment accepts nothing; move it to the metadata of its pod template.",
		`shop.yaml:19: Deployment/wrong: line 1 of annotation kube-devops.io/waive accepts nothing: it must have the form "CHECK[,CHECK] expires DATE: REASON".`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s\n%s", diff, b.String())
	}
}

// TestWaiversMatchWhatReportsPrint: each violation is accepted by a waiver of the workload that its report names, in a recording and in a
// manifest.
func TestWaiversMatchWhatReportsPrint(t *testing.T) {
	const spec = `"spec":{"containers":[{"name":"c","image":"a:latest","livenessProbe":{},"readinessProbe":{}}]}`
	owned := func(name, kind, owner, labels string) string {
		return `{"kind":"Pod","metadata":{"uid":"u","namespace":"shop","name":"` + name + `","labels":{` + labels + `},"ownerReferences":[{"kind":"` + kind + `","name":"` + owner + `","controller":true}]},` + spec + `}`
	}
	for want, text := range map[string]string{
		"Deployment/web": list(owned("web-5d-x", "ReplicaSet", "web-5d", `"pod-template-hash":"5d"`)), "CronJob/night": list(owned("n", "Job", "night-28918140", "")),
		"StatefulSet/db": list(owned("db-0", "StatefulSet", "db", "")), "Pod/alone": list(`{"metadata":{"uid":"u","namespace":"shop","name":"alone"},` + spec + `}`),
		"Deployment/api": `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"api","namespace":"shop"},"spec":{"template":{` + spec + `}}}`,
		"CronJob/weekly": `{"apiVersion":"batch/v1","kind":"CronJob","metadata":{"name":"weekly","namespace":"shop"},"spec":{"jobTemplate":{"spec":{"template":{` + spec + `}}}}}`,
		"Pod/file":       `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"file","namespace":"shop"},` + spec + `}`,
	} {
		table, err := open(t, policies.Default).WithWaivers("w", []byte("apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers: [{id: w, reason: r, expires: 2099-01-01, workload: "+want+"}]\n"))
		if err != nil {
			t.Fatal(err)
		}
		found, err := scanned(t, text, func(o *Options) { o.Table = table })
		if err != nil {
			t.Fatal(err)
		}
		accepted := slices.Collect(found.Snapshot.Waived())
		if len(accepted) != 1 {
			t.Errorf("%s: %d violations are accepted", want, len(accepted))
			continue
		}
		var b bytes.Buffer
		if err := report.ScanJSON(&b, found, report.Options{}); err != nil || !strings.Contains(b.String(), `"workload":"`+want+`"`) {
			t.Errorf("%s: %v, %s", want, err, b.String())
		}
	}
}

// TestAnnotationsAreReadAlike: a scan of a recording and an agent with the same pods have the same state, whenever the scan runs.
func TestAnnotationsAreReadAlike(t *testing.T) {
	table := annotating(t)
	var pods []string
	reference := state.New(table)
	reference.ExpireWaivers(time.Date(2030, 2, 1, 0, 0, 0, 0, time.UTC))
	for i, line := range []string{"latest_tag expires 2030-03-01: r", "latest_tag expires 2030-06-01: r", "latest_tag expires 2030-01-20: r", "x", ""} {
		name := string(rune('a' + i))
		pods = append(pods, `{"kind":"Pod","metadata":{"uid":"u","namespace":"shop","name":"`+name+`","creationTimestamp":"2030-01-01T00:00:00Z","annotations":{"kube-devops.io/waive":"`+line+`"}},"spec":{"containers":[{"name":"c","image":"a"}]}}`)
		if _, err := reference.Observe(state.Pod{Namespace: "shop", Name: name}, []byte(pods[i])); err != nil {
			t.Fatal(err)
		}
	}
	found, err := scanned(t, list(pods...), func(o *Options) { o.Table, o.Now = table, time.Date(2030, 2, 1, 0, 0, 0, 0, time.UTC) })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(comparable(reference.SnapshotWithViolations()), comparable(found.Snapshot), sameTable); diff != "" {
		t.Errorf("(-agent +scan):\n%s", diff)
	}
}
