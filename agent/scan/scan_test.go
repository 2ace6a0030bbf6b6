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
	"unicode"

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

var stdin = dump.Found{Files: []dump.File{{Path: "-"}}}

func open(t testing.TB, policy string) *rules.Table {
	t.Helper()
	table, err := policies.Open(policy)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func found(t testing.TB, paths ...string) dump.Found {
	t.Helper()
	found := dump.Find(paths, nil)
	if len(found.Errors) > 0 {
		t.Fatal(found.Errors)
	}
	return found
}

// scanned is the result of a scan of a text under the default table.
func scanned(t testing.TB, text string, change ...func(*Options)) (*report.Scan, error) {
	t.Helper()
	o := Options{Table: open(t, policies.Default), Found: stdin, Stdin: strings.NewReader(text), Workers: 2}
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
func violations(found *report.Scan) []state.PodViolation {
	return slices.Collect(found.Snapshot.Violations())
}

// comparable returns the parts of a snapshot that are compared.
func comparable(s *state.Snapshot) any {
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
	names := policies.Names()
	if testing.Short() {
		names = []string{policies.Default, "recommended"}
	}
	for _, policy := range names {
		table := open(t, policy)
		pods := 700
		if testing.Short() {
			pods = 150
		}
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
		if failures, err := reference.Replace(t.Context(), 2, slices.Values(observed)); err != nil || len(failures) > 0 {
			t.Fatal(failures, err)
		}
		want := comparable(reference.SnapshotWithViolations())
		for _, workers := range []int{0, 1, 2, 7} {
			for name, text := range map[string]string{"list": list.String(), "events": lines.String()} {
				found, err := scanned(t, text, func(o *Options) { o.Table, o.Workers = table, workers })
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, comparable(found.Snapshot), sameTable); diff != "" {
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
{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"web","namespace":"shop"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}},
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
		"shop/planned": "Pod/planned :0", "shop/Deployment/web": "Deployment/web :0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("origins (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(report.Inputs{
		Files: 1, Pods: 8, Templates: 1, OtherKinds: map[string]int{"Service": 1},
		ExcludedNamespaces: map[string]report.Excluded{"kube-system": {Pods: 1, Pattern: "kube-*"}},
	}, found.Inputs); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
}

// TestOriginsInFiles: a file has one name in all reports, however it was named, and standard input has none.
func TestOriginsInFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	recorded := list(small("a", `,"spec":{"containers":[{"name":"c"}]}`))
	manifest := "\n" + `{"kind":"Deployment","metadata":{"name":"web","namespace":"shop"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}}`
	if err := errors.Join(os.Mkdir("d", 0o700), os.WriteFile("d/one.json", []byte(recorded+manifest), 0o600), os.WriteFile("two.json", []byte(recorded+manifest), 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"./d/../d//one.json": {"Deployment/web d/one.json:2 ", "Pod/a :0 d/one.json"}, "d/one.json ./two.json": {"Deployment/web d/one.json:2 ", "Pod/a :0 two.json"}, // the recorded pod counts as it was last
		"-": {"Deployment/web :0 ", "Pod/a :0 "},
	} {
		found, err := Run(t.Context(), Options{Table: open(t, policies.Default), Found: namedFiles(path), Stdin: strings.NewReader(recorded + manifest), Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for v := range found.Snapshot.Violations() {
			if o, ok := v.Origin.(*report.Origin); ok {
				of := o.Workload
				if of.Kind == "" {
					of = report.Workload{Kind: "Pod", Name: v.Pod.Name}
				}
				got = append(got, fmt.Sprintf("%s %s:%d %s", of, o.File, o.Line, o.Dump))
			} else {
				got = append(got, "Pod/"+v.Pod.Name+" :0 ")
			}
		}
		if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
			t.Errorf("%s: origins (-want +got):\n%s", path, diff)
		}
	}
	for _, path := range []string{"/dev/stdin", "/dev/fd/0", "/dev/fd/63", "/proc/self/fd/0"} {
		if got := sourceOf(dump.File{Path: path}); *got != (source{name: path}) {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

func namedFiles(paths string) (found dump.Found) {
	for _, path := range strings.Fields(paths) {
		found.Files = append(found.Files, dump.File{Path: path})
	}
	return found
}

// TestPatchesAreLeftOut: what Kustomize merges into a manifest does not stand for it, whichever comes first.
func TestPatchesAreLeftOut(t *testing.T) {
	t.Chdir(t.TempDir())
	deployment := func(containers string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {template: {spec: {" + containers + "}}}\n"
	}
	patches := map[string]string{
		"probes":        deployment("containers: [{name: c, livenessProbe: {}, readinessProbe: {}}]"),
		"a null image":  deployment("containers: [{name: c, image: null}]"),
		"tolerations":   deployment("tolerations: []"),
		"no containers": deployment("containers: []"),
		"a bare pod":    "kind: Pod\nmetadata: {name: p, namespace: shop}\nspec: {containers: [{name: c, livenessProbe: {}}]}\n",
	}
	base := deployment(`containers: [{name: c, image: "i:latest"}, {name: patched}]`)
	for name, patch := range patches {
		for _, order := range [][2]string{{base, patch}, {patch, base}} {
			if err := errors.Join(os.WriteFile("a.yaml", []byte(order[0]), 0o600), os.WriteFile("b.yaml", []byte(order[1]), 0o600)); err != nil {
				t.Fatal(err)
			}
			var warnings []string
			found, err := Run(t.Context(), Options{Table: open(t, policies.Default), Found: found(t, "a.yaml", "b.yaml"), Workers: 2, Warn: func(line string) { warnings = append(warnings, line) }})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(report.Inputs{Files: 2, Templates: 1, OtherKinds: map[string]int{"patches": 1}}, found.Inputs); diff != "" {
				t.Errorf("%s: inputs (-want +got):\n%s", name, diff)
			}
			if n := len(violations(found)); n != 5 {
				t.Errorf("%s: %d violations, want the 5 of the manifest", name, n)
			}
			if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "1 manifest without a container image left out as a patch: shop/") ||
				!strings.Contains(warnings[0], ".yaml: render patches first (kustomize build . | kube-devops scan -), or check the spelling of spec.containers") {
				t.Errorf("%s: warnings %q", name, warnings)
			}
		}
	}
	// What was recorded is not a patch, whatever it lacks.
	for name, text := range map[string]string{
		"a recorded pod":          small("a", ""),
		"a pod of a list":         `{"kind":"List","items":[{"kind":"Pod","metadata":{"name":"a"}}]}`,
		"a pod of a watch":        `{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"a"}}}`,
		"a recorded Deployment":   `{"kind":"Deployment","metadata":{"name":"a","uid":"u"},"spec":{"template":{"spec":{"containers":[{"name":"c"}]}}}}`,
		"a Deployment of a watch": `{"type":"ADDED","object":{"kind":"Deployment","metadata":{"name":"a"},"spec":{"template":{"spec":{}}}}}`,
	} {
		found, err := scanned(t, text)
		if err != nil || found.Inputs.Pods+found.Inputs.Templates != 1 || found.Inputs.OtherKinds != nil {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
}

// TestTemplateEqualsItsPod: a manifest has the violations of the pod that comes of it, and is skipped as that is.
func TestTemplateEqualsItsPod(t *testing.T) {
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
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: i}]}}}}}
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
	text := `{"kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"i","readinessProbe":{}}]}}`
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

// list is a recording of pods.
func list(pods ...string) string {
	return `{"kind":"PodList","items":[` + strings.Join(pods, ",") + `]}`
}

func small(name, more string) string {
	return `{"kind":"Pod","metadata":{"name":"` + name + `","namespace":"shop","uid":"u"}` + more + `}`
}

func TestDuplicatePodsCountOnce(t *testing.T) {
	bad, good := `,"spec":{"containers":[{"name":"c"}]}`, `,"spec":{"containers":[{"name":"c","livenessProbe":{},"readinessProbe":{}}]}`
	var warnings []string
	found, err := scanned(t, list(small("a", bad), small("b", good), small("a", good), small("b", bad), small("a", good))+
		`{"type":"ADDED","object":`+small("c", bad)+`}{"type":"MODIFIED","object":`+small("c", bad)+`}{"type":"DELETED","object":`+small("d", bad)+`}`,
		func(o *Options) { o.Warn = func(line string) { warnings = append(warnings, line) } })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report.Inputs{Files: 1, Pods: 3, Duplicates: 3}, found.Inputs); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"3 duplicate pods; the last one wins; the first is shop/a in stdin"}, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if n := len(violations(found)); n != 4 || violations(found)[0].Pod.Name != "b" {
		t.Errorf("%d violations, want 4 of b and c", n)
	}
}

// TestDuplicatesNameBothFiles: the warning says what stood there again, and where.
func TestDuplicatesNameBothFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	bad := `,"spec":{"containers":[{"name":"c","image":"i"}]}`
	workload := `{"kind":"Deployment","metadata":{"name":"w","namespace":"shop"},"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}}`
	for name, text := range map[string]string{"a.json": workload + list(small("a", bad)), "b.json": list(small("b", bad)), "c.json": workload + list(small("b", bad))} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for paths, want := range map[string][]string{
		"a.json b.json c.json": {
			"1 duplicate pod; the last one wins: shop/b in c.json",
			"1 manifest is identical to another one and counts once: shop/Deployment/w in c.json and a.json",
		},
		"b.json c.json":   {"1 duplicate pod; the last one wins: shop/b in c.json and b.json"},
		"a.json ./c.json": {"1 manifest is identical to another one and counts once: shop/Deployment/w in ./c.json and a.json"},
	} {
		var warnings []string
		if _, err := Run(t.Context(), Options{Table: open(t, policies.Default), Found: namedFiles(paths), Workers: 2, Warn: func(line string) { warnings = append(warnings, line) }}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, warnings); diff != "" {
			t.Errorf("%s: warnings (-want +got):\n%s", paths, diff)
		}
	}
}

// TestHostileNamesStayOnOneLine: no name begins a line, or a command of a terminal or a CI system.
func TestHostileNamesStayOnOneLine(t *testing.T) {
	t.Chdir(t.TempDir())
	const evil = `\n::error::x\u001b[2J\u202e`
	file := "f\n::error::\x1b[2J.json"
	pod := func(more string) string {
		return `{"kind":"Pod","metadata":{"name":"` + evil + `","namespace":"` + evil + `"}` + more + `}`
	}
	image := `,"spec":{"containers":[{"image":"i"}]}`
	for what, text := range map[string]string{
		"repeated": pod(image) + pod(image), "a patch": pod(image) + pod(""), "a template": strings.Replace(pod(`,"spec":{"containers":[{"image":"{{ x }}"}]}`), "x", "y", 1), "a fault": pod(`,"x":1,"x":2`), "truncated": pod("")[:100],
		"others": `{"kind":"` + evil + `"}`, "items of a list of others": `{"kind":"` + evil + `List","items":[{}]}`, "no name": `{"kind":"` + evil + `","spec":{"template":{"spec":{"containers":[]}}}}`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, keepGoing := range []bool{false, true} {
			found, err := Run(t.Context(), Options{Table: open(t, policies.Default), Found: found(t, file), KeepGoing: keepGoing, Workers: 2, Warn: func(line string) { lines = append(lines, line) }})
			if err != nil {
				lines = append(lines, err.Error())
			} else {
				lines = append(lines, found.Inputs.Unreadable...)
			}
		}
		if len(lines) == 0 {
			t.Errorf("%s: no warning", what)
		}
		for _, line := range lines {
			if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || !strings.Contains(line, `f\n::error::\x1b[2J.json`) {
				t.Errorf("%s: %q", what, line)
			}
		}
	}
}

// TestErrorsOfFind: errors of Find are listed with those of reading.
func TestErrorsOfFind(t *testing.T) {
	found, err := scanned(t, small("a", "")+`{"kind":"Pod"}`, func(o *Options) {
		o.KeepGoing, o.Found.Errors = true, []error{&dump.Error{Name: "none.json", Offset: -1, Err: errors.New("no such file or directory")}}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"none.json: no such file or directory", "stdin: item 2, byte 67: metadata.name of the \"Pod\" is missing"}
	if diff := cmp.Diff(want, found.Inputs.Unreadable); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
}

// TestGeneratedNames: a manifest may leave its name to the API server, which makes another object of each.
func TestGeneratedNames(t *testing.T) {
	job := "kind: Job\nmetadata: {generateName: import-}\nspec: {template: {spec: {containers: [{name: c, image: i}]}}}\n---\n"
	var warnings []string
	found, err := scanned(t, job+"kind: Pod\nmetadata: {generateName: debug-}\nspec: {containers: [{name: c, image: i}]}\n---\n"+job,
		func(o *Options) { o.Warn = func(line string) { warnings = append(warnings, line) } })
	if err != nil {
		t.Fatal(err)
	}
	if found.Inputs.Templates != 2 || found.Inputs.Pods != 1 || len(warnings) > 0 {
		t.Errorf("%+v, warnings %q", found.Inputs, warnings)
	}
	var got []string
	for v := range found.Snapshot.Violations() {
		got = append(got, v.Pod.Name+" of "+v.Origin.(*report.Origin).Workload.String())
	}
	if diff := cmp.Diff([]string{"Job/import- of Job/import-", "Job/import-\x001 of Job/import-", "debug- of Pod/debug-"}, slices.Compact(got)); diff != "" {
		t.Errorf("pods (-want +got):\n%s", diff)
	}
}

// TestUnrenderedTemplates: they are errors, and what only carries a template for another program is not.
func TestUnrenderedTemplates(t *testing.T) {
	deployment := func(name, annotation, image string) string {
		return fmt.Sprintf("kind: Deployment\nmetadata: {name: %q, namespace: shop, annotations: {a: %q}}\nspec: {template: {spec: {containers: [{name: c, image: %q}]}}}\n---\n", name, annotation, image)
	}
	for text, want := range map[string]string{
		deployment("web", "{{ with secret }}", "nginx:1") + list(small("{{ x }}", "")): "",
		deployment("web", "", "{{ .Values.image }}:1"):                                 "shop/Deployment/web: the image contains {{: this is a template; render it first, for example with `helm template`",
		deployment("{{ .Release.Name }}-db", "", "db:1"):                               "shop/Deployment/{{ .Release.Name }}-db: the name contains {{: this is a template; render it first, for example with `helm template`",
	} {
		_, err := scanned(t, text)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasSuffix(err.Error(), want)) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
		found, err := scanned(t, text+deployment("other", "", "nginx:1"), func(o *Options) { o.KeepGoing = true })
		if err != nil || want != "" && (len(found.Inputs.Unreadable) != 1 || !strings.HasSuffix(found.Inputs.Unreadable[0], want) || found.Inputs.Templates != 1) {
			t.Errorf("%s: %+v, %v", text, found, err)
		}
	}
}

// TestUnmatchedNamespacePattern: a pattern that matches nothing is a warning.
func TestUnmatchedNamespacePattern(t *testing.T) {
	var warnings []string
	_, err := scanned(t, list(small("a", "")), func(o *Options) {
		o.Namespaces = []string{"sh*", "nosuch"}
		o.Warn = func(line string) { warnings = append(warnings, line) }
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"--namespace nosuch matches no pods that count"}, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestDeletedPods(t *testing.T) {
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

// TestDeletedPodsAfterPatches: a reused batch has nothing of its previous pods.
func TestDeletedPodsAfterPatches(t *testing.T) {
	t.Chdir(t.TempDir())
	texts := slices.Repeat([]string{`{"kind":"Pod","metadata":{"name":"patch"}}`}, 8)
	texts = append(texts, list(small("a", ""), small("b", "")), `{"type":"DELETED","object":`+small("a", "")+`}`)
	var paths []string
	for i, text := range texts {
		paths = append(paths, fmt.Sprintf("%02d.json", i))
		if err := os.WriteFile(paths[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := Run(t.Context(), Options{Table: open(t, policies.Default), Found: found(t, paths...), Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	if found.Inputs.Pods != 1 || found.Inputs.OtherKinds["patches"] != 8 {
		t.Errorf("%+v", found.Inputs)
	}
}

func TestNamespacesOption(t *testing.T) {
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
	if want := "no pods that count: --namespace none matches no pods that count (the input has pods in batch, checkout, data, kube-system, legacy, 5 more)"; err == nil || err.Error() != want || !errors.Is(err, ErrAllExcluded) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestValidate(t *testing.T) {
	if err := Validate([]string{"shop", "team-*", "[ab]"}); err != nil {
		t.Error(err)
	}
	if err := Validate([]string{"[", ""}); err == nil || strings.Count(err.Error(), "is not a pattern of a name") != 2 {
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
		"system.json":  `{"kind":"List","items":[{"kind":"Pod","metadata":{"name":"s","namespace":"kube-system","uid":"u"},"x":[tru]},` + one + `]}`,
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
		{"service.json", "read service.json: no pods found, only objects of other kinds (Service 1): record pods with `kubectl get pods -A -o json`", []string{"service.json: no pods found, only objects of other kinds (Service 1): record pods with `kubectl get pods -A -o json`"}},
		{"service.json node.yaml", "no pods and no workloads in 2 files: 2 objects of other kinds (Node 1, Service 1); --allow-empty accepts that", nil},
		{"a.json empty.json", "read empty.json: the input is empty: record pods with `kubectl get pods -A -o json`", []string{"empty.json: the input is empty: record pods with `kubectl get pods -A -o json`"}},
		{"binary.json a.json", "read binary.json: byte 0: this is a binary file (byte 0x7f): record pods with `kubectl get pods -A -o json`", []string{"binary.json: byte 0: this is a binary file (byte 0x7f): record pods with `kubectl get pods -A -o json`"}},
		{"short.json a.json", "read short.json: item 2, byte 152: unexpected end of JSON: the dump is truncated; record it again", []string{"short.json: item 2, byte 152: unexpected end of JSON: the dump is truncated; record it again"}},
		{"a.json nameless.json", "read nameless.json: item 1, byte 0: metadata.name of the \"Pod\" is missing", []string{"nameless.json: item 1, byte 0: metadata.name of the \"Pod\" is missing"}},
		{"twice.json", `read twice.json: item 2, byte 166: pod shop/b: invalid JSON: duplicate key "x"`, []string{`twice.json: item 2, byte 166: pod shop/b: invalid JSON: duplicate key "x"`}},
		{"broken.json short.json", "read broken.json: item 1, byte 96: pod shop/b: invalid JSON: invalid value", []string{"broken.json: item 1, byte 96: pod shop/b: invalid JSON: invalid value", "short.json: item 2, byte 152: unexpected end of JSON: the dump is truncated; record it again"}},
		{"broken.yaml", "read broken.yaml: item 1, byte 30: line 3: invalid YAML: did not find expected node content", []string{"broken.yaml: item 1, byte 30: line 3: invalid YAML: did not find expected node content"}},
		{"swallow.json a.json", "read swallow.json: item 1, byte 98: pod shop/b: invalid JSON: control character in a string", []string{"swallow.json: item 1, byte 98: pod shop/b: invalid JSON: control character in a string"}},
		{"system.json", "read system.json: item 1, byte 103: pod kube-system/s: invalid JSON: invalid value", []string{"system.json: item 1, byte 103: pod kube-system/s: invalid JSON: invalid value"}},
	} {
		t.Run(tt.paths, func(t *testing.T) {
			for _, keepGoing := range []bool{false, true} {
				found, err := Run(t.Context(), Options{Table: open(t, policies.Default), Found: found(t, strings.Fields(tt.paths)...), KeepGoing: keepGoing, Workers: 2})
				if tt.want == "" || keepGoing && tt.left != nil {
					if err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(tt.left, found.Inputs.Unreadable); diff != "" {
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
	if totals.TotalPods != 2 || totals.Unevaluated != 1 || found.Inputs.Pods != 3 || len(found.Inputs.Unreadable) != 2 {
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
	_, err := Run(ctx, Options{Table: open(t, policies.Default), Found: stdin, Stdin: r, Workers: 2})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	_ = w.Close() // ends the goroutine that still reads
}

func TestReadError(t *testing.T) {
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
