package scan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/dump/dumptest"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, policy string) *rules.Table {
	t.Helper()
	table, err := policies.Open(policy)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func files(t testing.TB, paths ...string) []dump.File {
	t.Helper()
	found, err := dump.Files(paths)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// scanned is the result of a scan of a text under the default table.
func scanned(t testing.TB, text string, change ...func(*Options)) (*report.Scan, error) {
	t.Helper()
	o := Options{Table: open(t, policies.Default), Files: []dump.File{{Path: "-"}}, Stdin: strings.NewReader(text), Workers: 2}
	for _, c := range change {
		c(&o)
	}
	return Run(t.Context(), o)
}

// sameTable compares tables, and the waivers of violations, by what they are called.
var sameTable = cmp.Options{
	cmp.Comparer(func(a, b *rules.Table) bool { return a.Hash() == b.Hash() }),
	cmp.Comparer(func(a, b *rules.Waiver) bool { return a == b || a != nil && b != nil && a.ID == b.ID }),
	cmpopts.IgnoreFields(state.PodViolation{}, "Origin"),
}

// violations are those that count.
func violations(found *report.Scan) []state.PodViolation { return slices.Collect(found.Snapshot.Violations()) }

// told is all that a snapshot tells, to be compared.
func told(s *state.Snapshot) any {
	type snapshot struct {
		Table              *rules.Table
		Namespaces         []state.NamespaceSnapshot
		Skipped            map[string]int
		Violations, Waived []state.PodViolation
	}
	return snapshot{s.Table, s.Namespaces, s.Skipped, slices.Collect(s.Violations()), slices.Collect(s.Waived())}
}

// TestScanEqualsReplace: the state of a scan is that of an agent which has the same pods at once, whatever the number of
// workers and the shape of the input.
func TestScanEqualsReplace(t *testing.T) {
	for _, policy := range policies.Names() {
		table := open(t, policy)
		const pods = 700
		var list, lines bytes.Buffer
		if err := dumptest.WriteList(&list, 3, pods); err != nil {
			t.Fatal(err)
		}
		reference := state.New(table)
		var observed []state.Observation
		if _, err := dump.Read(t.Context(), "list", bytes.NewReader(list.Bytes()), func(e dump.Event) error {
			observed = append(observed, state.Observation{Pod: state.Pod{Namespace: e.Namespace, Name: e.Name, UID: e.UID}, JSON: bytes.Clone(e.JSON)})
			fmt.Fprintf(&lines, "{\"type\":\"ADDED\",\"object\":%s}\n", e.JSON)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if failures := reference.Replace(2, slices.Values(observed)); len(failures) > 0 {
			t.Fatal(failures)
		}
		want := told(reference.SnapshotWithViolations())
		for _, workers := range []int{0, 1, 2, 7} {
			for name, text := range map[string]string{"list": list.String(), "events": lines.String()} {
				found, err := scanned(t, text, func(o *Options) { o.Table, o.Workers = table, workers })
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, told(found.Snapshot), sameTable); diff != "" {
					t.Fatalf("%s, %s, %d workers (-replace +scan):\n%s", policy, name, workers, diff)
				}
			}
		}
	}
}

const manyShapes = `{"apiVersion":"v1","kind":"List","items":[
{"kind":"Pod","metadata":{"name":"web-6f7-x2x","namespace":"shop","uid":"1","labels":{"pod-template-hash":"6f7"},"ownerReferences":[{"kind":"Node","name":"n"},{"kind":"ReplicaSet","name":"web-6f7","controller":true}]},"spec":{"containers":[{"name":"c"}]}},
{"kind":"Pod","metadata":{"name":"rs-x","namespace":"shop","uid":"2","ownerReferences":[{"kind":"ReplicaSet","name":"rs","controller":true}]},"spec":{"containers":[{"name":"c"}]}},
{"kind":"Pod","metadata":{"name":"backup-29620001-abc","namespace":"shop","uid":"3","ownerReferences":[{"kind":"Job","name":"backup-29620001","controller":true}]},"spec":{"containers":[{"name":"c"}]}},
{"kind":"Pod","metadata":{"name":"once-abc","namespace":"shop","uid":"4","ownerReferences":[{"kind":"Job","name":"once-2962000","controller":true}]},"spec":{"containers":[{"name":"c"}]}},
{"kind":"Pod","metadata":{"name":"db-0","namespace":"shop","uid":"5","ownerReferences":[{"kind":"StatefulSet","name":"db"}]},"spec":{"containers":[{"name":"c"}]}},
{"kind":"Pod","metadata":{"name":"alone","namespace":"shop","uid":"6"},"spec":{"containers":[{"name":"c"}]}},
{"kind":"Pod","metadata":{"name":"planned","namespace":"shop"},"spec":{"containers":[{"name":"c"}]}},
{"kind":"Pod","metadata":{"name":"clean","namespace":"shop"},"spec":{"containers":[{"name":"c","livenessProbe":{},"readinessProbe":{}}]}},
{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web","namespace":"shop"},"spec":{"template":{"spec":{"containers":[{"name":"c"}]}}}},
{"kind":"Pod","metadata":{"name":"elsewhere","namespace":"kube-system"},"spec":{"containers":[{"name":"c"}]}},
{"kind":"Service","metadata":{"name":"web"}}
]}`

func TestOrigins(t *testing.T) {
	found, err := scanned(t, manyShapes)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for v := range found.Snapshot.Violations() {
		if o, ok := v.Origin.(*report.Origin); ok {
			got[v.Namespace+"/"+v.Pod.Name] = fmt.Sprintf("%s %s:%d", o.Workload, o.File, o.Line)
		}
	}
	want := map[string]string{
		"shop/web-6f7-x2x": "Deployment/web :0", "shop/rs-x": "ReplicaSet/rs :0", "shop/backup-29620001-abc": "CronJob/backup :0",
		"shop/once-abc": "Job/once-2962000 :0", "shop/db-0": "StatefulSet/db :0",
		"shop/planned": "Pod/planned stdin:8", "shop/Deployment/web": "Deployment/web stdin:10",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("origins (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(report.Inputs{Files: 1, Pods: 8, Templates: 1, Others: map[string]int{"Service": 1}}, found.Inputs); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
}

// TestTemplateIsJudgedAsItsPod: a manifest has the violations of the pod that comes of it, and is skipped as that is.
func TestTemplateIsJudgedAsItsPod(t *testing.T) {
	table, err := rules.Load("t.yaml", []byte(`apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: t}
pods: {skip: [{reason: job, when: {path: metadata.ownerReferences.#.kind, operator: equals, value: Job}}]}
checks:
  - {id: team, weight: 1, violation: {path: metadata.labels.team, operator: absent}}
  - {id: latest, weight: 1, forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}}
`))
	if err != nil {
		t.Fatal(err)
	}
	const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {team: a}}
spec:
  template:
    spec: {containers: [{name: c, image: "nginx"}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: backup, namespace: shop}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: c}]}}}}}
`
	found, err := scanned(t, manifests, func(o *Options) { o.Table = table })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for v := range found.Snapshot.Violations() {
		got = append(got, v.Pod.Name+" "+table.Checks()[v.Check].ID)
	}
	if diff := cmp.Diff([]string{"Deployment/web team", "Deployment/web latest"}, got); diff != "" || found.Snapshot.Skipped["job"] != 1 {
		t.Errorf("skipped %v, violations (-want +got):\n%s", found.Snapshot.Skipped, diff)
	}
}

// TestWaiverExpires scans the same pod before and after the moment at which its waiver expires.
func TestWaiverExpires(t *testing.T) {
	table, err := open(t, policies.Default).WithWaivers("w.yaml", []byte(`apiVersion: kube-devops.io/v1
kind: Waivers
waivers: [{id: w, reason: r, expires: 2030-06-01T12:00:00Z, pod: a, check: missing_liveness}]
`))
	if err != nil {
		t.Fatal(err)
	}
	expires := time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)
	text := `{"kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","readinessProbe":{}}]}}`
	for after, want := range map[time.Duration][2]int{-time.Nanosecond: {0, 1}, 0: {1, 0}, time.Hour: {1, 0}} {
		found, err := scanned(t, text, func(o *Options) { o.Table, o.Now = table, expires.Add(after) })
		if err != nil {
			t.Fatal(err)
		}
		var got [2]int
		for v, waived := range found.Snapshot.AllViolations() {
			got[map[bool]int{false: 0, true: 1}[waived]]++
			if v.Origin == nil { // a manifest, as it has no uid
				t.Error("a violation has no origin")
			}
		}
		if got != want {
			t.Errorf("%s after: %v violations and waived ones, want %v", after, got, want)
		}
	}
}

func small(name, more string) string {
	return `{"kind":"Pod","metadata":{"name":"` + name + `","namespace":"shop","uid":"u"}` + more + `}`
}

func TestRepeatedPodsCountOnce(t *testing.T) {
	bad, good := `,"spec":{"containers":[{"name":"c"}]}`, `,"spec":{"containers":[{"name":"c","livenessProbe":{},"readinessProbe":{}}]}`
	var warnings []string
	found, err := scanned(t, small("a", bad)+small("b", good)+small("a", good)+small("b", bad)+small("a", good)+
		`{"type":"ADDED","object":`+small("c", bad)+`}{"type":"MODIFIED","object":`+small("c", bad)+`}{"type":"DELETED","object":`+small("d", bad)+`}`,
		func(o *Options) { o.Warn = func(line string) { warnings = append(warnings, line) } })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report.Inputs{Files: 1, Pods: 3, Repeated: 3}, found.Inputs); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"3 pods stood there again, the first of them shop/a in stdin: the later counts"}, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if n := len(violations(found)); n != 4 || violations(found)[0].Pod.Name != "b" {
		t.Errorf("%d violations, want 4 of b and c", n)
	}
}

func TestDeletedPodsAreGone(t *testing.T) {
	bad := `,"spec":{"containers":[{"name":"c"}]}`
	event := func(kind, pod string) string { return `{"type":"` + kind + `","object":` + pod + `}` }
	workload := `{"kind":"Deployment","metadata":{"name":"w","namespace":"shop"},"spec":{"template":{"spec":{"containers":[]}}}}`
	found, err := scanned(t, event("ADDED", small("a", bad))+event("ADDED", small("b", bad))+event("ADDED", workload)+event("DELETED", small("a", bad))+event("DELETED", workload))
	if err != nil {
		t.Fatal(err)
	}
	if found.Inputs.Pods != 1 || found.Inputs.Templates != 0 || len(violations(found)) != 2 {
		t.Errorf("%+v, %d violations", found.Inputs, len(violations(found)))
	}
}

func TestNamespacesAreTheUniverse(t *testing.T) {
	var list bytes.Buffer
	if err := dumptest.WriteList(&list, 1, 300); err != nil {
		t.Fatal(err)
	}
	whole, err := scanned(t, list.String())
	if err != nil {
		t.Fatal(err)
	}
	found, err := scanned(t, list.String(), func(o *Options) { o.Namespaces = []string{"check*", "legacy", "kube-system", "none"} })
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, ns := range found.Snapshot.Namespaces {
		names = append(names, ns.Name)
		i := slices.IndexFunc(whole.Snapshot.Namespaces, func(o state.NamespaceSnapshot) bool { return o.Name == ns.Name })
		if diff := cmp.Diff(whole.Snapshot.Namespaces[i], ns); diff != "" {
			t.Errorf("%s (-whole +part):\n%s", ns.Name, diff)
		}
	}
	if diff := cmp.Diff([]string{"checkout", "legacy"}, names); diff != "" { // the policy leaves kube-system out
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	for v := range found.Snapshot.Violations() {
		if v.Namespace == "storefront" {
			t.Errorf("a violation of %s", v.Namespace)
		}
	}
	_, err = scanned(t, list.String(), func(o *Options) { o.Namespaces = []string{"none"} })
	if want := "no pods that count: 300 pods, all in namespaces that the policy or --namespace leaves out"; err == nil || err.Error() != want || !errors.Is(err, ErrNoneCount) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestValidate(t *testing.T) {
	if err := Validate([]string{"shop", "team-*", "[ab]"}); err != nil {
		t.Error(err)
	}
	if err := Validate([]string{"[", ""}); err == nil || strings.Count(err.Error(), "is no pattern of a name") != 2 {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	one := small("a", "")
	for name, text := range map[string]string{
		"a.json": one, "empty.json": "", "binary.json": "\x7fELF\x02", "service.json": `{"kind":"Service"}`, "node.yaml": "kind: Node\n",
		"short.json": `{"kind":"List","items":[` + one + `,` + small("b", `,"x":[1,2`)[:60], "nameless.json": `{"kind":"Pod"}`,
		"twice.json":   `{"kind":"List","items":[` + one + ",\n" + small("b", `,"x":1,"x":2`) + `]}`,
		"broken.json":  `{"kind":"List","items":[` + small("b", `,"x":[tru]`) + `,` + one + `]}`,
		"broken.yaml":  "kind: Pod\nmetadata: {name: y}\nspec: [\n---\nkind: Pod\nmetadata: {name: z}\n",
		"swallow.json": `{"kind":"List","items":[` + small("b", `,"x":["`) + "\n," + one + "\n," + small("c", `,"x":["]`) + `]}`,
		"system.json":  `{"kind":"List","items":[{"kind":"Pod","metadata":{"name":"s","namespace":"kube-system"},"x":[tru]},` + one + `]}`,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		paths string
		want  string
		left  []string // with KeepGoing
	}{
		{"a.json", "", nil},
		{"a.json service.json node.yaml", "", nil},
		{"service.json", "read service.json: no pods among objects of other kinds (Service 1): record it with `kubectl get pods -A -o json`", []string{"service.json: no pods among objects of other kinds (Service 1): record it with `kubectl get pods -A -o json`"}},
		{"service.json node.yaml", "no pods in 2 files, only 2 objects of other kinds", nil},
		{"a.json empty.json", "read empty.json: the input is empty: record it with `kubectl get pods -A -o json`", []string{"empty.json: the input is empty: record it with `kubectl get pods -A -o json`"}},
		{"binary.json a.json", "read binary.json: byte 0: not JSON but a binary file (byte 0x7f): record it with `kubectl get pods -A -o json`", []string{"binary.json: byte 0: not JSON but a binary file (byte 0x7f): record it with `kubectl get pods -A -o json`"}},
		{"short.json a.json", "read short.json: item 2, byte 152: unexpected end of JSON: the dump is truncated; record it again", []string{"short.json: item 2, byte 152: unexpected end of JSON: the dump is truncated; record it again"}},
		{"a.json nameless.json", "read nameless.json: item 1, byte 0: a pod without a name: record it with `kubectl get pods -A -o json`", []string{"nameless.json: item 1, byte 0: a pod without a name: record it with `kubectl get pods -A -o json`"}},
		{"twice.json", `read twice.json: item 2, byte 166: pod shop/b: invalid JSON: duplicate key "x"`, []string{`twice.json: item 2, byte 166: pod shop/b: invalid JSON: duplicate key "x"`}},
		{"broken.json short.json", "read broken.json: item 1, byte 96: pod shop/b: invalid JSON: invalid value", []string{"broken.json: item 1, byte 96: pod shop/b: invalid JSON: invalid value", "short.json: item 2, byte 152: unexpected end of JSON: the dump is truncated; record it again"}},
		{"broken.yaml", "read broken.yaml: item 1, byte 30: line 3: invalid YAML: did not find expected node content", []string{"broken.yaml: item 1, byte 30: line 3: invalid YAML: did not find expected node content"}},
		{"swallow.json a.json", "read swallow.json: item 1, byte 98: pod shop/b: invalid JSON: control character in a string", []string{"swallow.json: item 1, byte 98: pod shop/b: invalid JSON: control character in a string"}},
		{"system.json", "read system.json: item 1, byte 93: pod kube-system/s: invalid JSON: invalid value", []string{"system.json: item 1, byte 93: pod kube-system/s: invalid JSON: invalid value"}},
	} {
		t.Run(tt.paths, func(t *testing.T) {
			for _, keepGoing := range []bool{false, true} {
				found, err := Run(t.Context(), Options{Table: open(t, policies.Default), Files: files(t, strings.Fields(tt.paths)...), KeepGoing: keepGoing, Workers: 2})
				if tt.want == "" || keepGoing && tt.left != nil {
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(tt.left, found.Inputs.LeftOut); diff != "" {
						t.Errorf("left out (-want +got):\n%s", diff)
					}
					continue
				}
				if found != nil || err == nil || err.Error() != tt.want {
					t.Errorf("keep going %v: got  %v\nwant %s", keepGoing, err, tt.want)
				}
			}
		})
	}
}

// TestKeepGoingCountsTheRest: the pods around a broken one are scored as though it were not there.
func TestKeepGoingCountsTheRest(t *testing.T) {
	bad := `,"spec":{"containers":[{"name":"c"}]}`
	text := `{"kind":"List","items":[` + small("a", bad) + `,` + small("b", `,"x":[tru]`) + `,{"kind":"Pod"},` + small("c", bad) + `]}`
	found, err := scanned(t, text, func(o *Options) { o.KeepGoing = true })
	if err != nil {
		t.Fatal(err)
	}
	totals := found.Snapshot.Totals()
	if totals.TotalPods != 2 || totals.Unevaluated != 1 || found.Inputs.Pods != 3 || len(found.Inputs.LeftOut) != 2 {
		t.Errorf("%+v, %+v", totals, found.Inputs)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, small("a", "")) // the reader goes away
		cancel()
	}()
	_, err := Run(ctx, Options{Table: open(t, policies.Default), Files: []dump.File{{Path: "-"}}, Stdin: r, Workers: 2})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	_ = w.Close() // ends the goroutine that still reads
}

func TestReaderThatFails(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := scanned(t, "", func(o *Options) {
		o.Stdin = io.MultiReader(strings.NewReader(small("a", "")), iotest.ErrReader(broken))
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestLargePodsDoNotStayInBatches(t *testing.T) {
	huge := `,"x":"` + strings.Repeat("y", 3<<20) + `"`
	found, err := scanned(t, small("a", huge)+small("b", huge)+small("c", ""))
	if err != nil || found.Inputs.Pods != 3 {
		t.Fatalf("%v", err)
	}
	b := &batch{text: make([]byte, 0, 5*batchBytes)}
	if b.reset(); b.text != nil {
		t.Error("a batch keeps the memory of a large pod")
	}
}
