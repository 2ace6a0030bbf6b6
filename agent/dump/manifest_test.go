package dump

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
)

const template = `{"metadata":{"labels":{"app":"web"},"name":"ignored","namespace":"ignored","ownerReferences":[]},"spec":{"containers":[{"name":"c","image":"i:latest"}]}}`

// owned is the pod that a workload stands for.
func owned(kind, namespace, name, ownerKind, apiVersion, metadata string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s/%s","namespace":%q,"ownerReferences":[{"apiVersion":%q,"kind":%q,"name":%q,"controller":true}]%s},"spec":{"containers":[{"name":"c","image":"i:latest"}]}}`,
		kind, name, namespace, apiVersion, ownerKind, name, metadata)
}

func TestManifests(t *testing.T) {
	labels := `,"labels":{"app":"web"}`
	workload := func(kind string) string {
		return `{"apiVersion":"apps/v1","kind":"` + kind + `","metadata":{"namespace":"shop","name":"web"},"spec":{"replicas":3,"template":` + template + `}}`
	}
	for _, tt := range []struct {
		name, input string
		want        []string
		others      map[string]int
	}{
		{"Deployment", workload("Deployment"), []string{owned("Deployment", "shop", "web", "ReplicaSet", "apps/v1", labels)}, nil},
		{"StatefulSet", workload("StatefulSet"), []string{owned("StatefulSet", "shop", "web", "StatefulSet", "apps/v1", labels)}, nil},
		{"DaemonSet", workload("DaemonSet"), []string{owned("DaemonSet", "shop", "web", "DaemonSet", "apps/v1", labels)}, nil},
		{"Job", workload("Job"), []string{owned("Job", "shop", "web", "Job", "apps/v1", labels)}, nil},
		{"a custom kind", workload("Rollout"), []string{owned("Rollout", "shop", "web", "Rollout", "apps/v1", labels)}, nil},
		{"CronJob", `{"apiVersion":"batch/v1","kind":"CronJob","spec":{"jobTemplate":{"spec":{"template":` + template + `}}},"metadata":{"name":"web"}}`,
			[]string{owned("CronJob", "default", "web", "Job", "batch/v1", labels)}, nil},
		{"keys in another order", `{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"i:latest"}]},"metadata":null}},"metadata":{"name":"web","namespace":"shop"},"kind":"Deployment","apiVersion":"apps/v1"}`,
			[]string{owned("Deployment", "shop", "web", "ReplicaSet", "apps/v1", "")}, nil},
		{"in a list, beside others", `{"kind":"List","items":[` + workload("Deployment") + `,{"kind":"Service","metadata":{"name":"web"}},{"kind":"SealedSecret","spec":{"template":{"data":{}}}}]}`,
			[]string{owned("Deployment", "shop", "web", "ReplicaSet", "apps/v1", labels)}, map[string]int{"Service": 1, "SealedSecret": 1}},
		{"one that another owns", `{"kind":"List","items":[` + pod("a") + `,` + strings.Replace(workload("ReplicaSet"), `"name":"web"`, `"name":"web-7","ownerReferences":[{"kind":"Deployment","name":"web"}]`, 1) + `]}`,
			[]string{pod("a"), owned("ReplicaSet", "shop", "web-7", "ReplicaSet", "apps/v1", labels)}, nil},
		{"one that might be owned, and is not", strings.Replace(workload("ReplicaSet"), `"name":"web"`, `"name":"web","ownerReferences":[ ]`, 1),
			[]string{owned("ReplicaSet", "shop", "web", "ReplicaSet", "apps/v1", labels)}, nil},
		{"a watch event", `{"type":"ADDED","object":` + workload("Deployment") + `}`, []string{owned("Deployment", "shop", "web", "ReplicaSet", "apps/v1", labels)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			stats, err := Read(t.Context(), "x.json", strings.NewReader(tt.input), func(e Event) error {
				got = append(got, string(e.JSON))
				if e.Template != strings.Contains(e.Name, "/") {
					t.Errorf("%s: Template is %v", e.Name, e.Template)
				}
				return nil
			}, Manifests)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("pods (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.others, stats.Others); diff != "" {
				t.Errorf("others (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOwners: a workload that has owners is an event, which names them and the object's own API version.
func TestOwners(t *testing.T) {
	const object = `{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"web","ownerReferences":%s},"spec":{"template":` + template + `}}`
	for references, want := range map[string][]Owner{
		`[]`: nil, `null`: nil, `[null]`: nil, `[7]`: nil, `"x"`: nil,
		`[{"apiVersion":"argoproj.io/v1","kind":"Rollout","name":"web","uid":"u-1","controller":true}, {"kind":"App","name":7}, {"name":"n"}]`: {
			{"argoproj.io/v1", "Rollout", "web", "u-1"}, {Name: "n"}},
	} {
		var got []Event
		_, err := Read(t.Context(), "x.json", strings.NewReader(fmt.Sprintf(object, references)), func(e Event) error {
			got = append(got, e)
			return nil
		}, Manifests)
		if err != nil || len(got) != 1 || got[0].APIVersion != "apps/v1" {
			t.Fatalf("%s: %+v, %v", references, got, err)
		}
		if diff := cmp.Diff(want, got[0].Owners); diff != "" {
			t.Errorf("%s (-want +got):\n%s", references, diff)
		}
	}
}

// TestWithoutManifests: what a recording means to a replay does not change.
func TestWithoutManifests(t *testing.T) {
	input := `{"kind":"Deployment","metadata":{"name":"web"},"spec":{"template":` + template + `}}` + pod("a")
	stats, err := Read(t.Context(), "x.json", strings.NewReader(input), func(Event) error { return nil })
	if diff := cmp.Diff(Stats{Applied: 1, Others: map[string]int{"Deployment": 1}, Bytes: int64(len(input))}, stats); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestManifestErrors(t *testing.T) {
	for name, tt := range map[string]struct{ input, want string }{
		"no name":           {`{"kind":"Deployment","spec":{"template":` + template + `}}`, `item 1, byte 0: metadata.name of the "Deployment" is missing`},
		"a name of numbers": {`{"kind":"Deployment","metadata":{"name":7},"spec":{"template":` + template + `}}`, "item 1, byte 0: metadata.name must be a string, got a number"},
		"two specs":         {`{"kind":"Job","metadata":{"name":"a"},"spec":{},"spec":{"template":` + template + `}}`, `item 1, byte 55: duplicate key "spec"`},
		"broken":            {`{"kind":"Job","metadata":{"name":"a"},"spec":{"template":{"spec":{"containers":[tru]}}}}`, "item 1, byte 83: invalid JSON: invalid character ']' in literal true (expecting 'e')"},
		"too deep":          {`{"kind":"Job","metadata":{"name":"a"},"spec":{"template":{"spec":` + strings.Repeat("[", 197) + strings.Repeat("]", 197) + `}}}`, ""},
	} {
		_, err := Read(t.Context(), "x.json", strings.NewReader(tt.input), func(Event) error { return nil }, Manifests)
		if want := "read x.json: " + tt.want; tt.want != "" && (err == nil || err.Error() != want) || tt.want == "" && err != nil {
			t.Errorf("%s: got  %v\nwant %s", name, err, want)
		}
	}
}

func TestKeepGoing(t *testing.T) {
	list := func(items ...string) string { return `{"kind":"List","items":[` + strings.Join(items, ",") + `]}` }
	a, b := pod("a"), pod("b")
	for _, tt := range []struct {
		name, input string
		pods, left  []string
		err         string
	}{
		{"an item without a name", list(a, `{"kind":"Pod"}`, b), []string{"a", "b"}, []string{"read x: item 2, byte 94: metadata.name of the \"Pod\" is missing"}, ""},
		{"items that are none", list(a, `7`, `"x"`, `[{"kind":"Pod"}]`, b), []string{"a", "b"}, []string{
			"read x: item 2, byte 94: a list item must be an object, got a number", "read x: item 3, byte 96: a list item must be an object, got a string",
			"read x: item 4, byte 100: a list item must be an object, got an array"}, ""},
		{"a broken Service", list(a, `{"kind":"Service","x":[tru]}`, b), []string{"a", "b"}, []string{"read x: item 2, byte 120: invalid JSON: invalid character ']' in literal true (expecting 'e')"}, ""},
		{"a document without a kind", `{"x":1}` + "\n" + a, []string{"a"}, []string{"read x: item 1, byte 0: the object has no kind: " + hint}, ""},
		{"truncated", list(a, b)[:120], []string{"a"}, nil, "read x: item 2, byte 120: unexpected end of JSON: the dump is truncated; record it again"},
		{"garbage", list(a, "\x01", b), []string{"a"}, nil, "read x: item 2, byte 94: a list item must be an object, got '\\x01'"},
		{"yaml", "kind: Pod\nmetadata: {name: a}\n---\na: [\n---\nkind: Pod\nmetadata: {name: b}\n", []string{"a", "b"}, []string{
			"read x: item 2, byte 34: line 4: invalid YAML: did not find expected node content"}, ""},
		{"yaml that is nothing else", "kind: Pod\nkind: Pod\n", nil, []string{`read x: item 1, byte 10: line 2: duplicate key "kind"`}, ""},
		{"an item that is nothing else", list(`{"kind":"Pod"}`), nil, []string{"read x: item 1, byte 24: metadata.name of the \"Pod\" is missing"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var pods, left []string
			_, err := Read(t.Context(), "x", strings.NewReader(tt.input), func(e Event) error {
				pods = append(pods, e.Name)
				return nil
			}, KeepGoing(func(e *Error) { left = append(left, e.Error()) }))
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
				t.Errorf("got  %v\nwant %s", err, tt.err)
			}
			if diff := cmp.Diff([][]string{tt.pods, tt.left}, [][]string{pods, left}); diff != "" {
				t.Errorf("pods, and what was left out (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeepGoingEndsWithTheCaller(t *testing.T) {
	_, err := Read(t.Context(), "x", strings.NewReader(pod("a")+pod("b")), func(e Event) error { return os.ErrClosed }, KeepGoing(func(e *Error) {
		t.Errorf("passed over: %v", e)
	}))
	if err == nil || err.Error() != "read x: item 1, byte 0: file already closed" {
		t.Error(err)
	}
}

func zstdOf(t *testing.T, s string) string {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(z.EncodeAll([]byte(s), nil))
}

func TestZstd(t *testing.T) {
	list := string(listOf(t, 20))
	for name, input := range map[string]string{"one frame": zstdOf(t, list), "two frames": zstdOf(t, list[:5000]) + zstdOf(t, list[5000:])} {
		for how, s := range sources(input) {
			_, stats, err := readAll(s)
			if err != nil || stats.Applied != 20 || stats.Bytes != int64(len(list)) {
				t.Errorf("%s, %s: %+v, %v", name, how, stats, err)
			}
		}
	}
	whole := zstdOf(t, list)
	for name, tt := range map[string]struct{ input, want string }{
		"truncated":                  {whole[:len(whole)/2], "the zstd data is truncated: record it again"},
		"damaged":                    {whole[:100] + "\x00\x00\x00" + whole[103:], "the zstd data is damaged: "},
		"a window that is too large": {"\x28\xb5\x2f\xfd\x00\x98" + whole, "the zstd data needs more than 128 MiB to decompress: decompress it with `zstd -dc --long=31`"},
	} {
		if _, _, err := readAll(source{strings.NewReader(tt.input), 64}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

func TestInFolder(t *testing.T) {
	input := "replicas: 3\nimage: {tag: latest}\n---\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v2\nname: chart\ntype: application\n"
	stats, err := Read(t.Context(), "values.yaml", strings.NewReader(input), func(Event) error { return nil }, InFolder)
	if err != nil || stats.Applied != 1 || stats.Others["no kind"] != 2 {
		t.Errorf("%+v, %v", stats, err)
	}
	text := "apiVersion: v1\nmetadata: {name: a}\n"
	if _, err := Read(t.Context(), "pod.yaml", strings.NewReader(text), func(Event) error { return nil }, InFolder); err == nil || errors.Is(err, ErrNoPods) {
		t.Errorf("%q: %v, want an error that names what is missing", text, err)
	}
}

// TestLinesOfJSON: the line is that of the item's first byte, wherever the window stands.
func TestLinesOfJSON(t *testing.T) {
	list := listOf(t, 40)
	for _, buffer := range []int{64, 4096, firstBuffer} {
		_, err := readInput(newInput(t.Context(), bytes.NewReader(list), buffer), "x", func(e Event) error {
			if want := bytes.Count(list[:e.Offset], []byte{'\n'}) + 1; e.Line != want {
				return fmt.Errorf("line %d, want %d", e.Line, want)
			}
			return nil
		}, Manifests)
		if err != nil {
			t.Error(err)
		}
	}
}
