package dump

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestUnrelatedFiles: what else lies in a folder is left out and counted, and no reason to read nothing at all.
func TestUnrelatedFiles(t *testing.T) {
	large := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"node_modules/package-%d": {"version": "1.0.%d", "resolved": "https://registry.example.com/x"},`+"\n", i, i)
		}
		return b.String() + `"last": {}`
	}
	for name, input := range map[string]string{
		"a patch of YAML":                 "# patches/replicas.yaml\n- op: replace\n  path: /spec/replicas\n  value: 3\n",
		"a patch of JSON":                 `[{"op": "test", "path": "/kind", "value": "Pod"}, 7, "x", ["y"]]`,
		"an empty array":                  "[]\n",
		"values with items":               "image: x\nitems: [a, b]\n",
		"values with items that are maps": "items:\n- name: a\n  kind: secret\n- name: b\n",
		"values with no items":            "items: []\n",
		"values with items of JSON":       `{"items": [1, {"name": "x"}], "image": "y"}`,
		"values with an object":           "object: {bucket: x}\n",
		"values with a type":              "type: s3\nobject: {kind: bucket}\nmetadata: {}\n",
		"Chart.yaml":                      "apiVersion: v2\nname: chart\ntype: application\n",
		"tsconfig.json":                   "{\n  // See https://example.com, which isn't \"short\".\n  \"compilerOptions\": {\"target\": \"es2022\", /* all */ \"strict\": true},\n}\n",
		"a comment within":                `{"compilerOptions": {"target": "x", /* all */ "strict": true}}`,
		"a comma behind the last":         "{\"a\": 1,\n}",
		"a comment first":                 "// settings\n{\"a\": 1}\n",
		"pnpm-lock.yaml":                  "lockfileVersion: '9.0'\npackages:\n" + strings.Repeat("  package@1.0.0:\n    resolution: {integrity: sha512-x}\n    kind: x\n", 1<<17),
		"package-lock.json":               `{"name": "x", "lockfileVersion": 3, "packages": {` + large(50_000) + "}}\n",
		"many keys":                       "{" + large(10_000) + "}\n",
		"many keys that are too much":     "{" + large(50_000) + "}\n",
	} {
		t.Run(name, func(t *testing.T) {
			for how, s := range sources(input) {
				if len(input) > 1<<20 && how == "byte by byte" {
					continue
				}
				stats, err := readInput(newInput(t.Context(), s.r, s.buffer), "x", func(Event) error { return nil }, InFolder, Manifests, Unchecked)
				if !errors.Is(err, ErrNoPods) || len(stats.Others) != 1 || stats.Others[noKind] != 1 {
					t.Fatalf("%s: %+v, %v; want one that is left out", how, stats, err)
				}
				if _, err := Read(t.Context(), "x", strings.NewReader(input), func(Event) error { return nil }); err == nil || errors.Is(err, ErrNoPods) {
					t.Fatalf("named by itself: %v, want a fault", err)
				}
			}
		})
	}
}

// TestPatchesInFolders: what says $patch is a part of an object, of whatever kind, and says so wherever the key stands.
func TestPatchesInFolders(t *testing.T) {
	for _, input := range []string{
		"$patch: delete\napiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n", "kind: Deployment\nmetadata: {name: x}\n$patch: delete\n", `{"$patch": "delete", "kind": "Pod", "metadata": {}}`,
	} {
		stats, err := Read(t.Context(), "x", strings.NewReader(input), func(Event) error { return nil }, InFolder, Manifests)
		if !errors.Is(err, ErrNoPods) || len(stats.Others) != 1 || stats.Others[Patches] != 1 {
			t.Errorf("%s: %+v, %v", input, stats, err)
		}
	}
}

func TestUnrelatedDocuments(t *testing.T) {
	pods := "kind: Pod\nmetadata: {name: a}\n---\nkind: Pod\nmetadata: {name: b}\n"
	for name, input := range map[string]string{
		"a list first": "- a\n- b\n---\n" + pods, "a list last": pods + "---\n[a, b]\n", "values": "items: [x]\n---\n" + pods, "JSON": `["a"] ` + pod("a") + `{"items":["b"]}` + pod("b"),
	} {
		stats, err := Read(t.Context(), "x", strings.NewReader(input), func(Event) error { return nil }, InFolder)
		if err != nil || stats.Applied != 2 || stats.Others[noKind] == 0 {
			t.Errorf("%s: %+v, %v", name, stats, err)
		}
	}
	for name, input := range map[string]string{"comments alone": "# values\n\n# nothing\n", "an empty document": "---\n# nothing\n---\n"} {
		if _, err := Read(t.Context(), "x", strings.NewReader(input), func(Event) error { return nil }, InFolder); !errors.Is(err, ErrNoPods) {
			t.Errorf("%s: %v, want no pods and no fault", name, err)
		}
	}
}

// TestDamagedDumpsAreNotUnrelated: a recording that lies in a folder and is damaged is a fault there too.
func TestDamagedDumpsAreNotUnrelated(t *testing.T) {
	a := pod("a")
	for name, input := range map[string]string{
		"empty":                                 "",
		"cut":                                   `{`,
		"cut within the first key":              `{"apiV`,
		"cut behind the first line, of YAML":    "apiVersion: v1\n",
		"an array of pods":                      "[" + a + "]",
		"an array of pods, of YAML":             "- kind: Pod\n  metadata: {name: a}\n",
		"a comment in a manifest":               "{// a pod\n\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}",
		"a comment within a manifest":           `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {/* none */}}`,
		"a comma too much in a list":            `{"items": [` + a + `,]}`,
		"an item that is none":                  `{"apiVersion": "v1", "items": [7], "kind": "List"}`,
		"the item has no metadata":              `{"items": [` + a + `, {"kind": "Pod"}]}`,
		"an item that is none, and last a List": `{"items": [7], "kind": "List"}`,
		"events, recorded without their types":  `{"object": ` + a + `}`,
		"an event without an object":            `{"type": "ADDED"}`,
		"a fault behind a pod":                  a + `{"x": [}`,
		"a broken item":                         `{"items": [{"name": "a" "b"}]}`,
		"a list of YAML without its kind":       "items:\n- kind: Pod\n  metadata: {name: a}\n",
		"a pod without a kind":                  "apiVersion: v1\nmetadata: {name: a}\n",
		"a pod that is too large, of YAML":      "spec: |\n" + strings.Repeat("  x\n", maxItem/3) + "kind: Pod\n",
		"its kind behind, of YAML":              "x:\n" + strings.Repeat("  - x\n", maxItem/3) + "kind: Pod\n",
		"a pod that is too large":               `{"kind": "Pod", "metadata": {"name": "a"}, "spec": "` + strings.Repeat("x", maxItem) + `"}`,
	} {
		stats, err := Read(t.Context(), "x", strings.NewReader(input), func(Event) error { return nil }, InFolder, Manifests)
		if err == nil || errors.Is(err, ErrNoPods) {
			t.Errorf("%s: %+v, %v; want a fault", name, stats, err)
		}
	}
}
