package scan

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/policies"
)

// tree makes files in a working directory of the test.
func tree(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// scanTree scans the working directory, or what is named in it, and returns the warnings too.
func scanTree(t *testing.T, paths []string, change ...func(*Options)) (*report.Scan, []string, error) {
	t.Helper()
	var lines []string
	o := Options{Table: open(t, policies.Default), Found: dump.Find(paths, nil), Workers: 2, Warn: func(line string) { lines = append(lines, line) }}
	for _, c := range change {
		c(&o)
	}
	found, err := Run(t.Context(), o)
	return found, lines, err
}

// aPod is a manifest with three violations of the default table.
func aPod(name string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", namespace: shop}\nspec: {containers: [{name: c, image: 'i:latest'}]}\n"
}

// TestRepositoryFolder: what is recognised as something else than a manifest is left out and counted, each in one line.
func TestRepositoryFolder(t *testing.T) {
	large := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: large}\ndata:\n  x: |\n" + strings.Repeat("    "+strings.Repeat("x", 100)+"\n", 60_000)
	tree(t, map[string]string{
		"a.yaml": aPod("a"), "values.yaml": "image: {{ x }}\nreplicas: 2\n", "list.yaml": "- a\n- b\n", "chart/Chart.yaml": "apiVersion: v2\nname: c\n",
		"chart/templates/a.yaml": "{{- if x }}\n" + aPod("t") + "{{- end }}\n", "chart/templates/plain.yaml": aPod("plain"), "empty.yaml": "", "comments.yaml": "# a\n---\n# b\n",
		"patch.yaml":   "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: c, env: []}]}}}\n",
		"service.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n", "large.yaml": large, "tsconfig.json": "{\n // x\n \"a\": 1,\n}\n",
		"quoted.yaml":    strings.Replace(aPod("q"), "i:latest", "{{ image }}", 1),
		"broken.yaml":    "a: [\nb: {\n",
		"binary.json":    "\x00\x01\x02",
		"dashboard.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: d, namespace: shop, annotations: {x: '{{ y }}'}}\n# {{ z }}\nspec: {containers: [{name: c, image: 'i:latest'}]}\n",
	})
	if err := os.Symlink("nowhere", "link.yaml"); err != nil {
		t.Fatal(err)
	}
	found, lines, err := scanTree(t, []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	want := report.Inputs{
		Files: 15, Pods: 2, OtherKinds: map[string]int{"Service": 1, "ConfigMap": 1, "patches": 1},
		Ignored: report.Ignored{ChartTemplates: 4, NotManifests: 5, Empty: 2, DanglingLinks: 1},
	}
	found.Inputs.Files = 15
	if diff := cmp.Diff(want, found.Inputs); diff != "" {
		t.Errorf("inputs (-want +got):\n%s", diff)
	}
	wantLines := []string{
		"1 manifest without a container image left out as a patch: default/Deployment/web in patch.yaml: render patches first (kustomize build . | kube-devops scan -), or check the spelling of spec.containers",
		"4 templates left out; the first is chart/templates/a.yaml: render templates first (helm template . | kube-devops scan -)",
		"5 files without apiVersion and kind left out; the first is binary.json",
		"2 empty files left out; the first is comments.yaml",
		"1 dangling link left out: link.yaml",
	}
	if diff := cmp.Diff(wantLines, lines); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	// The same files are errors where they are named, and where they leave nothing else.
	for _, name := range []string{"values.yaml", "list.yaml", "chart/Chart.yaml", "chart/templates/a.yaml", "empty.yaml", "tsconfig.json", "quoted.yaml", "broken.yaml", "binary.json"} {
		if found, _, err := scanTree(t, []string{"a.yaml", name}); err == nil || !strings.Contains(err.Error(), "read "+name+": ") {
			t.Errorf("%s is named: %+v, %v", name, found, err)
		}
	}
}

// TestBrokenManifestsInFolders: they are errors, all of them, and of the pods before the fault none counts.
func TestBrokenManifestsInFolders(t *testing.T) {
	files := map[string]string{"a.yaml": aPod("a"), "list.json": list(small("b", "")) + `{"apiVersion":"v1","kind":"Pod","metadata":`, "z.yaml": aPod("w") + "---\n" + aPod("z") + "x: [\n"}
	for i := range 12 {
		files[fmt.Sprintf("m%02d.yaml", i)] = "kind: Pod\napiVersion: v1\nmetadata: {name: [\n"
	}
	tree(t, files)
	found, _, err := scanTree(t, []string{"."})
	if err == nil || found != nil {
		t.Fatalf("%+v, %v", found, err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 11 || !strings.HasPrefix(lines[0], "read list.json: item 2, byte ") || !strings.HasPrefix(lines[1], "read m00.yaml: item 1, byte ") ||
		!strings.HasSuffix(lines[1], ": fix the manifest, or leave out the file with --exclude") || lines[10] != "4 files more cannot be read" {
		t.Errorf("%d lines:\n%s", len(lines), err)
	}
	found, _, err = scanTree(t, []string{"."}, func(o *Options) { o.KeepGoing = true })
	if err != nil || len(found.Inputs.Unreadable) != 14 {
		t.Fatalf("%+v, %v", found, err)
	}
}

// TestReadErrorInTheMiddle: a file that is left out leaves no pods in the scores, and one that is too large to be held
// back is an error.
func TestReadErrorInTheMiddle(t *testing.T) {
	tree(t, map[string]string{"a.yaml": aPod("a"), "t.yaml": aPod("t1") + "---\n" + aPod("t2") + "---\nx: {{ y }}\n", "u.yaml": aPod("u") + "---\n" + strings.Replace(aPod("u2"), "i:latest", "{{ x }}", 1)})
	for _, keepGoing := range []bool{false, true} {
		found, _, err := scanTree(t, []string{"."}, func(o *Options) { o.KeepGoing = keepGoing })
		if err != nil || found.Inputs.Pods != 1 || found.Inputs.Ignored.ChartTemplates != 2 || len(found.Inputs.Unreadable) > 0 || len(violations(found)) != 3 {
			t.Errorf("keep going %v: %+v, %v", keepGoing, found, err)
		}
	}
	pod := `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"%d","uid":"%d"},"x":"` + strings.Repeat("x", 1<<20) + "\"}\n"
	var b strings.Builder
	for i := range 6 {
		fmt.Fprintf(&b, pod, i, i)
	}
	tree(t, map[string]string{"large.json": b.String(), "cut.json": b.String() + "{{"})
	if found, _, err := scanTree(t, []string{"large.json", "."}); err == nil || !strings.HasPrefix(err.Error(), "read cut.json: ") {
		t.Errorf("%+v, %v", found, err)
	}
	if found, _, err := scanTree(t, []string{"large.json"}); err != nil || found.Inputs.Pods != 6 {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestTreeWithoutWorkloads is an error of one line, which counts what there is; it is none where that is allowed.
func TestTreeWithoutWorkloads(t *testing.T) {
	tree(t, map[string]string{"a/service.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n", "a/values.yaml": "x: 1\n", "a/t.yaml": "{{ x }}\n", "a/e.yaml": "", "b/x.txt": ""})
	for path, want := range map[string]string{
		"a":         "no pods and no workloads in 4 files: 1 template, 1 file without apiVersion and kind, 1 empty file, 1 object of other kinds (Service 1); --allow-empty accepts that",
		"a/e*.yaml": "no pods and no workloads in a/e.yaml: 1 empty file; --allow-empty accepts that",
	} {
		_, lines, err := scanTree(t, []string{path})
		if err == nil || err.Error() != want || !errors.Is(err, dump.ErrNoPods) || len(lines) > 0 {
			t.Errorf("%s: got  %v, %q\nwant %s", path, err, lines, want)
		}
		found, _, err := scanTree(t, []string{path}, func(o *Options) { o.AllowEmpty = true })
		if err != nil || len(found.Snapshot.Namespaces) > 0 {
			t.Errorf("%s: %+v, %v", path, found, err)
		}
	}
	if found, _, err := scanTree(t, []string{"a/service.yaml"}, func(o *Options) { o.AllowEmpty = true }); err != nil || found.Inputs.OtherKinds["Service"] != 1 {
		t.Errorf("a file: %+v, %v", found, err)
	}
	if found, lines, err := scanTree(t, []string{"b"}, func(o *Options) { o.AllowEmpty = true }); err != nil || found == nil || len(lines) != 1 {
		t.Errorf("a folder without files: %+v, %q, %v", found, lines, err)
	}
}

// TestExcludedNamespaces: the pods that the policy leaves out are counted once each, by namespace and pattern.
func TestExcludedNamespaces(t *testing.T) {
	pod := func(namespace, name string) string {
		return `{"kind":"Pod","metadata":{"name":"` + name + `","namespace":"` + namespace + `","uid":"u"}}`
	}
	event := func(kind, pod string) string { return `{"type":"` + kind + `","object":` + pod + `}` }
	text := list(pod("kube-system", "a"), pod("kube-system", "b"), pod("kube-system", "b"), pod("monitoring", "a"), pod("shop", "a"), pod("legacy", "a")) +
		event("MODIFIED", pod("kube-system", "a")) + event("ADDED", pod("kube-system", "c")) + event("DELETED", pod("kube-system", "c")) + event("DELETED", pod("kube-system", "d"))
	var lines []string
	warn := func(o *Options) { lines, o.Warn = nil, func(line string) { lines = append(lines, line) } }
	found, err := scanned(t, text, warn)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]report.Excluded{"kube-system": {Pods: 2, Pattern: "kube-*"}, "monitoring": {Pods: 1, Pattern: "monitoring"}}
	if diff := cmp.Diff(want, found.Inputs.ExcludedNamespaces); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"3 pods in 2 namespaces excluded by the policy: kube-system (kube-*), monitoring (monitoring)"}, lines); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		namespaces []string
		err        string
		lines      []string
	}{
		{[]string{"kube-system"}, "no pods that count: --namespace kube-system matches no pods that count: 2 pods in 1 namespace excluded by the policy: kube-system (kube-*) (the input has pods in kube-system, legacy, monitoring, shop)", nil},
		{[]string{"shop", "kube-*"}, "", []string{"3 pods in 2 namespaces excluded by the policy: kube-system (kube-*), monitoring (monitoring)",
			"--namespace kube-* matches no pods that count: 2 pods in 1 namespace excluded by the policy: kube-system (kube-*)"}},
	} {
		_, err := scanned(t, text, warn, func(o *Options) { o.Namespaces = tt.namespaces })
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err || !errors.Is(err, ErrAllExcluded)) {
			t.Errorf("%q: %v, want %s", tt.namespaces, err, tt.err)
		}
		if diff := cmp.Diff(tt.lines, lines); diff != "" && tt.err == "" {
			t.Errorf("%q: warnings (-want +got):\n%s", tt.namespaces, diff)
		}
	}
	_, err = scanned(t, list(pod("kube-system", "a")))
	if want := "no pods that count: 1 pod in 1 namespace excluded by the policy: kube-system (kube-*)"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestTextAfterDocumentEnd: kubectl ignores the text after a line "...". A pod there is excluded from all scores, with a
// warning.
func TestTextAfterDocumentEnd(t *testing.T) {
	tree(t, map[string]string{"a.yaml": aPod("a") + "...\n" + aPod("b")})
	found, lines, err := scanTree(t, []string{"a.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"1 file has text after a document end marker (...), which is not read: a.yaml: begin the next document with ---, as kubectl requires"}
	if found.Inputs.Pods != 1 || !slices.Equal(lines, want) {
		t.Errorf("%d pods, warnings %q, want 1 and %q", found.Inputs.Pods, lines, want)
	}
}
