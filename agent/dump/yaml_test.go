package dump

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	kubectl "sigs.k8s.io/yaml"

	"github.com/kube-devops/kube-devops/agent/dump/dumptest"
)

// asYAML is a recording as kubectl prints it with -o yaml.
func asYAML(t testing.TB, recording []byte) []byte {
	t.Helper()
	text, err := kubectl.JSONToYAML(recording)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// decoded is JSON as a value, with numbers as they are written.
func decoded(t testing.TB, text []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// TestYAMLEqualsJSON reads a list both as JSON and as YAML, as a whole and taken apart by its lines.
func TestYAMLEqualsJSON(t *testing.T) {
	for _, pods := range []int{1, 3, 60} {
		list := listOf(t, pods)
		text := asYAML(t, list)
		if taken := len(text) > wholeDocument; taken != (pods == 60) {
			t.Fatalf("%d pods are %d bytes of YAML", pods, len(text))
		}
		indented := strings.ReplaceAll(string(text), "\n", "\n  ")
		indented = strings.Replace(indented, "\n  items:", "\nitems:", 1)
		indented = strings.Replace(indented, "\n  kind: List\n  metadata:\n    resourceVersion: \"\"\n  ", "\nkind: List\n", 1)
		var want []seen
		if _, err := Read(t.Context(), "x.json", bytes.NewReader(list), func(e Event) error {
			want = append(want, see(e))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for name, r := range map[string]io.Reader{
			"at once": bytes.NewReader(text), "with comments and an end": strings.NewReader("# a dump\n---\n" + string(text) + "# that was it\n...\n"),
			"by halves": iotest.HalfReader(bytes.NewReader(text)), "indented items": strings.NewReader(indented),
			"with line breaks of Windows": strings.NewReader(strings.ReplaceAll(string(text), "\n", "\r\n")),
		} {
			var got []Event
			stats, err := Read(t.Context(), "x.yaml", r, func(e Event) error {
				e.JSON = bytes.Clone(e.JSON)
				got = append(got, e)
				return nil
			})
			if err != nil || stats.Applied != pods || len(got) != pods {
				t.Fatalf("%s: %+v, %v", name, stats, err)
			}
			for i, e := range got {
				w := want[i]
				if e.Namespace != w.Namespace || e.Name != w.Name || e.UID != w.UID || e.Item != w.Item {
					t.Fatalf("%s: pod %d is %+v, want %+v", name, i, e, w)
				}
				if diff := cmp.Diff(decoded(t, []byte(w.JSON)), decoded(t, e.JSON)); diff != "" {
					t.Fatalf("%s: pod %d (-JSON +YAML):\n%s", name, i, diff)
				}
			}
		}
	}
}

// TestYAMLPlaces: the offset and the line of an event are those of its first byte.
func TestYAMLPlaces(t *testing.T) {
	small := "# manifests\n---\n# the first\nkind: Pod\nmetadata: {name: a}\n---\n\nkind: Pod\nmetadata:\n  name: b\n---\n{kind: Pod, metadata: {name: c}}\n"
	large := string(asYAML(t, listOf(t, 60)))
	for _, input := range []string{small, large, small + "---\n" + large, large + "...\n" + small} {
		lines := strings.SplitAfter(input, "\n")
		_, err := Read(t.Context(), "x.yaml", strings.NewReader(input), func(e Event) error {
			at, line := input[e.Offset:], strings.Join(lines[:e.Line-1], "")
			if len(line) != int(e.Offset) {
				return fmt.Errorf("byte %d is not on line %d", e.Offset, e.Line)
			}
			if !strings.HasPrefix(at, "kind: Pod") && !strings.HasPrefix(at, "- apiVersion: v1\n") && !strings.HasPrefix(at, "{kind") {
				return fmt.Errorf("pod %s is not at %.40q", e.Name, at)
			}
			if end := strings.Index(at[1:], "\n- apiVersion"); end >= 0 && !strings.Contains(at[:end+1], "name: "+e.Name) {
				return fmt.Errorf("pod %s is not within %.40q", e.Name, at)
			}
			return nil
		}, Manifests)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestYAMLPlacesOfItems: each item of a small list has its own place, also where documents before it were given up.
func TestYAMLPlacesOfItems(t *testing.T) {
	flow := "apiVersion: v1\nitems: [{kind: Pod, metadata: {name: a}},\n  {kind: Pod, metadata: {name: b}}]\nkind: List\n"
	block := "apiVersion: v1\nitems:\n# the first\n- kind: Pod\n  metadata: {name: a}\n-\n  kind: Pod\n  metadata: {name: b}\n- kind: Pod\n  metadata: {name: c}\nkind: List\n"
	broken := "kind: List\nitems:\n- kind: Pod\n- kind: Pod\n  kind: Pod\n---\n"
	for name, tt := range map[string]struct {
		input string
		want  []string
	}{
		"flow":   {flow, []string{"a 2 15", "b 3 57"}},
		"block":  {block, []string{"a 4 34", "b 7 70", "c 9 104"}},
		"broken": {broken + block, []string{"a 10 92", "b 13 128", "c 15 162"}},
	} {
		var got []string
		_, err := Read(t.Context(), "x.yaml", strings.NewReader(tt.input), func(e Event) error {
			got = append(got, fmt.Sprintf("%s %d %d", e.Name, e.Line, e.Offset))
			return nil
		}, Manifests, KeepGoing(func(*Error) {}))
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v: names, lines and offsets (-want +got):\n%s", name, err, diff)
		}
	}
	_, err := Read(t.Context(), "x.yaml", strings.NewReader(block+"---\n"+strings.Replace(block, "name: b", "nome: b", 1)), func(Event) error { return nil })
	if want := "read x.yaml: item 5, byte 223: metadata.name of the \"Pod\" is missing"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestYAMLCutAnywhere: a list as kubectl prints it is never read as a part of it.
func TestYAMLCutAnywhere(t *testing.T) {
	for _, pods := range []int{2, 60} {
		text := asYAML(t, listOf(t, pods))
		if large := len(text) > wholeDocument; large != (pods == 60) {
			t.Fatalf("%d pods are %d bytes of YAML", pods, len(text))
		}
		if !bytes.HasPrefix(text, []byte("apiVersion: v1\nitems:\n")) || !bytes.Contains(text, []byte("\nkind: List\n")) {
			t.Fatal("the keys are not in kubectl's order")
		}
		var cuts []int
		for i := range text {
			atLine := text[i] == '\n'
			if pods == 2 && (atLine || i%197 == 0) || pods > 2 && (atLine && i%2903 == 0 || i > len(text)-60 && i%13 == 0) {
				cuts = append(cuts, i+1)
			}
		}
		for _, cut := range cuts {
			stats, err := Read(t.Context(), "x.yaml", bytes.NewReader(text[:cut]), func(Event) error { return nil }, InFolder, Manifests)
			if err == nil && stats.Applied != pods {
				t.Fatalf("cut at byte %d, behind %.40q: %d of %d pods", cut, text[max(0, cut-40):cut], stats.Applied, pods)
			}
		}
	}
	text := asYAML(t, listOf(t, 2))
	cut := bytes.Index(text, []byte("\nkind: List")) + 1
	_, err := Read(t.Context(), "x.yaml", bytes.NewReader(text[:cut]), func(Event) error { return nil })
	if want := "read x.yaml: byte 0: the list has no kind: the dump is truncated; record it again"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestYAMLOddLineBreaks: YAML knows line breaks beside LF, behind which another document would go unseen.
func TestYAMLOddLineBreaks(t *testing.T) {
	items := strings.Repeat("- kind: Pod\n  metadata: {name: a, annotations: {x: "+strings.Repeat("y", 1000)+"}}\n", 300)
	for name, line := range map[string]string{"CR": "\r", "NEL": "\u0085", "U+2028": "\u2028", "U+2029": "\u2029"} {
		two := "kind: Pod" + line + "metadata: {name: a}" + line + "---" + line + "kind: Pod" + line + "metadata: {name: b}" + line
		for input, at := range map[string]string{
			"# pods\n---\n" + two: "item 1, byte 11: line 3: ",
			"kind: Pod\nmetadata: {name: a}" + line + "--- {kind: Pod, metadata: {name: b}}\n":             "item 1, byte 10: line 2: ",
			"kind: List\nitems:\n" + items + "- {kind: Pod, metadata: {name: c}}" + line + "---\n- d: e\n": "item 301, byte 316218: line 603: ",
		} {
			stats, err := Read(t.Context(), "x.yaml", strings.NewReader(input), func(Event) error { return nil })
			want := "read x.yaml: " + at + "the line break is CR, NEL or U+2028: end each line with LF"
			if err == nil || err.Error() != want {
				t.Errorf("%s: %d pods, got  %v\nwant %s", name, stats.Applied, err, want)
			}
		}
		one := "kind: Pod" + line + "metadata:" + line + "  name: a" + line
		if stats, err := Read(t.Context(), "x.yaml", strings.NewReader(one), func(Event) error { return nil }); name == "CR" && (err != nil || stats.Applied != 1) {
			t.Errorf("%s: %d pods, %v; want one", name, stats.Applied, err)
		}
	}
	// What stood behind the end of a document went unseen too.
	if _, err := Read(t.Context(), "x.yaml", strings.NewReader("--- {kind: Pod, metadata: {name: a}}\nx: y\n"), func(Event) error { return nil }); err == nil {
		t.Error("no error, want one of what stands behind the document")
	}
}

// TestYAMLConcatenatedFiles: each may begin with a byte order mark.
func TestYAMLConcatenatedFiles(t *testing.T) {
	const mark = "\ufeff"
	input := mark + "---\nkind: Pod\nmetadata: {name: a}\n" + mark + "---\nkind: Pod\nmetadata: {name: b}\n---\n" + mark + "kind: Pod\nmetadata: {name: c}\n" +
		mark + "---\n{kind: Pod, metadata: {name: d}}\n"
	var got []string
	_, err := Read(t.Context(), "x.yaml", strings.NewReader(input), func(e Event) error {
		got = append(got, fmt.Sprintf("%s %d %.3s", e.Name, e.Line, input[e.Offset:]))
		return nil
	}, Manifests)
	if diff := cmp.Diff([]string{"a 2 kin", "b 5 kin", "c 8 kin", "d 11 {ki"}, got); err != nil || diff != "" {
		t.Errorf("%v: names, lines and beginnings (-want +got):\n%s", err, diff)
	}
}

func TestYAMLMemoryDoesNotGrowWithTheRecording(t *testing.T) {
	const times = 4
	text := asYAML(t, listOf(t, 40))
	head, items, _ := bytes.Cut(text, []byte("items:\n"))
	items, _, _ = bytes.Cut(items, []byte("kind: List\n"))
	heap := func(n int) uint64 {
		readers := []io.Reader{bytes.NewReader(head), strings.NewReader("items:\n")}
		for range n {
			readers = append(readers, bytes.NewReader(items))
		}
		readers = append(readers, strings.NewReader("kind: List\n"))
		most := uint64(0)
		pods := 0
		_, err := Read(t.Context(), "x.yaml", io.MultiReader(readers...), func(Event) error {
			if pods++; pods%40 == 0 {
				var m runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
			return nil
		})
		if err != nil || pods != 40*n {
			t.Fatalf("%d pods, %v", pods, err)
		}
		return most
	}
	short, long := heap(1), heap(times)
	if long > short+4<<20 {
		t.Errorf("%d KiB are held for 40 pods, %d KiB for %d", short>>10, long>>10, times*40)
	}
}

// scalars are what kubectl has an opinion of.
const scalars = `a: 1
b: 0x1F
c: 0o17
d: 017
e: 1_000
f: 1.0
g: 1e3
h: .5
i: 1.
j: +12
k: -0b11
l: 0b101
m: 9223372036854775807
n: 18446744073709551615
o: 99999999999999999999
p: 2001-12-14
q: 2001-12-14T21:59:43Z
r: 12:30:45
s: yes
t: "yes"
u: No
v: on
w: y
x: ~
y: null
z: NULL
aa: "1"
ab: '0x10'
ac: !!str 12
ad: !!int "12"
ae: !!float 3
af: !!binary aGVsbG8=
ag: |
  a
   b
ah: >-
  folded
  text
ai: "tab\t \u00fc \x41"
aj: 1.2.3
ak: 500m
al: 1e
am: "-"
an: -
ao: .
ap: 100Mi
aq: !custom x
ar: <html>&amp;
as: 0777
at: 08
au: 1e400
1: one
true: two
1.5: three
anchors: &base {x: 1, y: [a, b]}
alias: *base
merged:
  z: 0
  <<: *base
  y: own
merges:
  <<: [{p: 1}, {p: 2, q: 3}]
`

// TestYAMLEqualsKubectl converts every scalar alone, so that one that is refused does not hide the next.
func TestYAMLEqualsKubectl(t *testing.T) {
	for line := range strings.Lines(scalars) {
		if !strings.HasPrefix(line, " ") && !strings.Contains(line, "*") && !strings.HasSuffix(line, ":\n") {
			compareYAML(t, []byte(line))
		}
	}
	compareYAML(t, []byte(strings.Replace(scalars, "au: 1e400\n", "", 1)))
}

// compareYAML converts a document as kubectl does, and as the reader does: what both take means the same, and what
// kubectl takes the reader takes, but for keys that stand twice and what is deeper or larger than any pod.
func compareYAML(t *testing.T, text []byte) {
	t.Helper()
	if bytes.Contains(text, []byte("---")) || bytes.Contains(text, []byte("...")) || len(text) > 1<<16 {
		return // kubectl's converter takes one document
	}
	want, wantErr := kubectl.YAMLToJSON(text)
	root, err := parseYAML(text)
	var got []byte
	if err == nil {
		if root == nil {
			if wantErr == nil && string(want) != "null" {
				t.Fatalf("%q is nothing, want %s", text, want)
			}
			return
		}
		var w yamlWriter
		err = w.value(root)
		got = w.json
	}
	switch {
	case err != nil && wantErr == nil:
		for _, refused := range []string{"duplicate key", "levels deep", "larger than", "invalid YAML"} {
			if strings.Contains(err.Error(), refused) {
				return
			}
		}
		t.Fatalf("%q: %v, want %s", text, err, want)
	case err != nil || wantErr != nil:
		if err == nil && !json.Valid(got) {
			t.Fatalf("%q: no JSON: %s", text, got)
		}
		return
	}
	if diff := cmp.Diff(decoded(t, want), decoded(t, got)); diff != "" {
		t.Fatalf("%q (-kubectl +reader):\n%s", text, diff)
	}
}

func FuzzYAML(f *testing.F) {
	for line := range strings.Lines(scalars) {
		f.Add([]byte(line))
	}
	f.Add([]byte(scalars))
	f.Add(asYAML(f, dumptest.Pod(1, 1)))
	f.Add([]byte("kind: List\nitems:\n- kind: Pod\n  metadata: {name: a}\n- kind: Pod\n  metadata:\n    name: b\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		compareYAML(t, text)
		// Through the reader it shall neither panic nor hang, whatever it is cut into.
		for _, size := range []int{1, 1 << 16} {
			in := newInput(context.Background(), &portions{s: "---\n" + string(text), size: size}, 64)
			_, err := readInput(in, "x.yaml", func(e Event) error {
				if !json.Valid(e.JSON) {
					return errors.New("not JSON")
				}
				return nil
			}, Manifests, KeepGoing(func(*Error) {}))
			if err != nil && strings.Contains(err.Error(), "not JSON") {
				t.Fatalf("%q: %v", text, err)
			}
		}
	})
}

func TestYAMLErrors(t *testing.T) {
	good := "kind: Pod\nmetadata: {name: a}\n"
	items := strings.Repeat("- kind: Pod\n  metadata: {name: a, annotations: {x: "+strings.Repeat("y", 1000)+"}}\n", 400)
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 'b'; i <= 'k'; i++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	for _, tt := range []struct{ name, input, want string }{
		{"not indented", good + "---\nkind: Pod\n metadata:\n", "item 2, byte 44: line 5: invalid YAML: mapping values are not allowed in this context"},
		{"a tab", "kind: Pod\nmetadata:\n\tname: a\n", "item 1, byte 20: line 3: invalid YAML: found character that cannot start any token"},
		{"an unknown anchor", "kind: Pod\nmetadata: *m\n", "item 1, byte 0: line 1: invalid YAML: unknown anchor 'm' referenced"},
		{"a key twice", "kind: Pod\nmetadata:\n  name: a\n  name: b\n", `item 1, byte 30: line 4: duplicate key "name"`},
		{"not a number", "kind: Pod\nx: .nan\n", `item 1, byte 10: line 2: JSON has no number ".nan"`},
		{"a list", "- kind: Pod\n", "item 1, byte 0: line 1: a document must be an object, got a list: " + hint},
		{"a word", "---\nhello\n", "item 1, byte 4: line 2: a document must be an object, got a string or number: " + hint},
		{"no name", good + "---\nkind: Pod\n", "item 2, byte 34: metadata.name of the \"Pod\" is missing"},
		{"aliases that blow up", bomb, "item 1, byte 0: line 1: the item is larger than 4 MiB, more than a pod can be"},
		{"an alias of itself", "a: &a [*a]\n", "item 1, byte 0: line 1: nested more than 200 levels deep"},
		{"a broken item of a large list", "kind: List\nitems:\n" + items + "- kind: [\n" + items, "item 401, byte 421618: line 803: invalid YAML: did not find expected node content"},
		{"a large list cut short", "kind: List\nitems:\n" + items + "- kind: \"Po", "item 401, byte 421618: line 803: invalid YAML: found unexpected end of stream"},
		{"a large document that is not a list", "kind: Pod\nx:\n" + strings.Repeat("- aaaaaaaaaaaaaa\n", 1<<18), "byte 0: line 1: the item is larger than 4 MiB, more than a pod can be"},
		{"empty", "# nothing\n", "the input is empty: " + hint},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read(t.Context(), "x.yaml", strings.NewReader(tt.input), func(Event) error { return nil })
			if want := "read x.yaml: " + tt.want; err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

// TestIsText compares the quick decision whether a scalar is a string with its value.
func TestIsText(t *testing.T) {
	const letters = "1.e+-_E"
	for n := range 7 * 7 * 7 * 7 * 7 {
		s := ""
		for ; n > 0; n /= len(letters) {
			s += letters[n%len(letters) : n%len(letters)+1]
		}
		if _, want := plainScalar(s).(string); isText(s) != want {
			t.Errorf("%q: isText is %v, want %v", s, !want, want)
		}
	}
}
