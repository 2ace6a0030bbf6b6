package agent_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
	"k8s.io/apimachinery/pkg/runtime"
	kubectlyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/kube-devops/kube-devops/agent/dump"
)

// readAsKubectl reads objects as the visitors of k8s.io/cli-runtime do.
func readAsKubectl(input string) (objects []map[string]any, err error) {
	text := transform.NewReader(strings.NewReader(input), unicode.BOMOverride(unicode.UTF8.NewDecoder()))
	for d := kubectlyaml.NewYAMLOrJSONDecoder(text, 4096); ; {
		var raw runtime.RawExtension
		switch err := d.Decode(&raw); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return objects, err
		}
		if raw.Raw = bytes.TrimSpace(raw.Raw); len(raw.Raw) == 0 || string(raw.Raw) == "null" {
			continue
		}
		var object map[string]any
		if err := json.Unmarshal(raw.Raw, &object); err != nil {
			return objects, err
		}
		items, ok := object["items"].([]any)
		if !ok {
			objects = append(objects, object)
		}
		for _, item := range items {
			object, _ := item.(map[string]any)
			objects = append(objects, object)
		}
	}
}

// TestReadsAsKubectl: an input gives the objects that kubectl reads of it, or an error where kubectl has one.
func TestReadsAsKubectl(t *testing.T) {
	const p, q = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n", "apiVersion: v1\nkind: Pod\nmetadata: {name: q}\n"
	const j = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"j"}}`
	utf16 := func(endianness unicode.Endianness, text string) string {
		encoded, err := unicode.UTF16(endianness, unicode.UseBOM).NewEncoder().String(text)
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	for _, input := range []string{
		// The first line.
		"apiVersion : v1\nkind : Pod\nmetadata: {name: p}\n", "\"apiVersion\" : v1\n'kind': Pod\nmetadata: {name: p}\n", "? apiVersion\n: v1\n? kind\n: Pod\n? metadata\n: {name: p}\n",
		"$patch: merge\n" + p, "x y: 1\n" + p, ".x: 1\n" + p, "7: 1\n" + p, "\u043a\u043b\u044e\u0447: 1\n" + p, "a+b(c): 1\n" + p, "@x: 1\n" + p, "`x: 1\n" + p, "%x: 1\n" + p, "~: 1\n" + p, "<<: {kind: Pod}\napiVersion: v1\nmetadata: {name: p}\n",
		"&a\n" + p, "!!map\n" + p, "&a {apiVersion: v1, kind: Pod, metadata: {name: p}}\n", "!!str apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n", "text\n---\n" + p, "NAME: x\n" + p,
		// Indentation.
		"  " + strings.ReplaceAll(strings.TrimSpace(p), "\n", "\n  ") + "\n", "\n\n # c\n " + strings.ReplaceAll(strings.TrimSpace(p), "\n", "\n ") + "\n", "---\n  " + strings.ReplaceAll(strings.TrimSpace(p), "\n", "\n  ") + "\n", "\t" + p, "\t\n" + p,
		// Documents.
		p + "---\nnull\n---\n" + q, p + "---\n~ # c\n---\n" + q, p + "---\n!!null\n---\n" + q, p + "---\n# c\n---\n" + q, p + "---\n---\n\n---\n" + q, p + "...\n", p + "...\n---\n" + q, p + "...\n" + q, p + "... # c\nx: [\n---\n" + q, p + "...\n...\n" + q,
		"...\n" + p, "...\n---\n" + p, "---\n...\n---\n" + p, p + "---\n...\n---\n" + q, "--- {apiVersion: v1, kind: Pod, metadata: {name: p}}\n", "---x\n" + p, "----\n" + p, "--- # c\n" + p, "---# c\n" + p, p + "---# c\n" + q, p + "--- \t\n" + q, p + "--- text\n", "%YAML 1.1\n---\n" + p, p + "---\n%YAML 1.1\n---\n" + q, "# c\n%TAG ! x:\n---\n" + p,
		// JSON and flow style.
		"{apiVersion: v1, kind: Pod, metadata: {name: p}}\n", "{\napiVersion: v1, # c\nkind: Pod,\nmetadata: {name: p}}\n---\n" + q, "{'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'p'}}", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p",},}`,
		"{\"apiVersion\": v1, kind: Pod, metadata: {name: p}}\n", j, j + j, j + "\n" + j + "\n", j + "\n---\n" + j, j + "\n---\n" + p, j + "\n---\n" + p + "---\n" + j, p + "---\n" + j, "---\n" + j + "\n---\n" + p, "# c\n" + j, j + "\n# c\n", j + "\n\n---\n\n", j + " \t\n---\n" + p, j + "\n  " + strings.ReplaceAll(p, "\n", "\n  ") + "\n",
		j + "\n" + j + "\n---\n" + p, j + "\n{apiVersion: v1, kind: Pod, metadata: {name: p}}\n", j + "}", "{", `{"kind":"Pod"`, "[" + j + "]", "\"text\"", "7\n", "{apiVersion: v1, kind: List, items: [" + j + ", {apiVersion: v1, kind: Pod, metadata: {name: p}}]}\n",
		// Scalars with the tag !.
		p + "x: ! 5\ny: !\nz: [! 1, &a ! 2]\nw: '! 5'\nv: a ! 5\n", p + "x: |\n  ! 5\ny: # ! 5\n  7\n",
		// Byte order marks.
		utf16(unicode.LittleEndian, p+"---\n"+q), utf16(unicode.BigEndian, p), utf16(unicode.LittleEndian, j), "\ufeff" + p, "\ufeff" + j, "\ufeff---\n" + p,
	} {
		want, wantErr := readAsKubectl(input)
		var got []map[string]any
		_, err := dump.Read(t.Context(), "x", strings.NewReader(input), func(e dump.Event) error {
			var object map[string]any
			if err := json.Unmarshal(e.JSON, &object); err != nil {
				return err
			}
			got = append(got, object)
			return nil
		}, dump.Manifests)
		if (err == nil) != (wantErr == nil) && !(err != nil && len(want) == 0) {
			t.Errorf("%q:\ngot  %v\nwant %v", input, err, wantErr)
		} else if diff := cmp.Diff(want, got); err == nil && diff != "" {
			t.Errorf("%q (-kubectl +reader):\n%s", input, diff)
		}
	}
}
