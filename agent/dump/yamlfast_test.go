package dump

import (
	"bytes"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/dump/dumptest"
)

// plainSeeds are documents that fastYAML reads, and some that look like them and must be left to the parser of record.
var plainSeeds = []string{
	"a: 1\nb:\n  c: x\n  d: [a, 'b', \"c\"]\ne: {}\nf: []\n",
	"---\n# c\na: b # c\n\nc: 'it''s'\nd: \"a\\tb\\\"\\n\"\ne: ~\nf:\ng: null\nh: # c\ni: -1\nj: 1.50\nk: 010\nl: 0x1F\nm: yes\nnn: 1e3\no: 2001-12-14\np: 10m\nq: 10.0.0.1\nr: y\n",
	"items:\n- kind: Pod\n  metadata: {name: a}\n-\n  kind: Pod\n- a\n-\n- - x\n  - y\n- - - z\nkind: List\n",
	"items:\n  - a: 1\n    b: 2\n\n  # c\n  - a: 3\n",
	"a: |\n  x\n    y\n\n  \"z\" \\\n\nb: |-\n    t\tu\n\n\nc:\n- |\n  l\n- b: |\n    m\n",
	"a: |\n  x", "a: |\n\n\n  x\n", "a: |\n   \n  x\n", "a: |\n", "a: |\n  x\n \n", "a: |\n  x\n   \n  y\n", "a: |2\n  x\n", "a: |+\n  x\n\n", "a: >\n  x\n  y\n", "a: |\n\tx\n", "a: |\n  x\n # c\nb: c\n", "a: |\nb: c\n",
	"a: b\n  c\n", "a: b\n  # c\n  d\n", "a: 'b\n  c'\n", "a: b: c\n", "a:\n  b\n", "a: b\n c: d\n", "a:\n  b: c\n d: e\n", "a:\n- b\n - c\n", "- a\n", "a: - b\n", "a: ? b\n", "a: b \t# c\n", "a:\tb\n", "a: b\tc\n",
	"a: 1\na: 2\n", "'a': 1\na: 2\n", "{a: 1, a: 2}\n", "{a: 1, b: [x y, {c: d}], \"e\": f}\n", "{a: 1,}\n", "{a}\n", "{a: }\n", "{a:1}\n", "{\"a\":1}\n", "{\"a\":{\"b\":[\"c\",1,true]},'d':e}\n", "{\"a\"::b}\n", "{\"a\":,}\n", "{\"a\" :1}\n", "\"a\":1\n", "[\"a\":b]\n", "a: {\"b\":c}\n", "[a]\n", "a: [b: c]\n", "a: [b,\n  c]\n", "a: {b: c} d\n", "a: [a:b, c::d, e:]\n", "a: [~, null, 1, -1, yes]\n",
	"<<: {a: 1}\n", "a: &x b\nc: *x\n", "a: !!str 1\n", "a: ! 1\n", "1: a\n", "yes: a\n", "~: a\n", "a: @b\n", "a: %b\n", "a: `b`\n", "a b: c\n", "a:b: c\n", ".: a\n", ".5: a\n", "-a: b\n", "? a\n: b\n", "\"a\\u0041\": b\n", "a: \"\\x41\"\n",
	"  a: 1\n  b: 2\n", "a: 1\r\nb:\r\n- c\r\nd: |\r\n  x\r\n  y\r\n", "a: 1\rb: 2\n", "a: \u00fc\nb: \"\u4e16\"\nc: \u00a0\n", "a: b\u0085c: d\n", "a: b\u2028c: d\n", "a: \x07\n", "a: \xff\n", "a: \ufeff\n",
	"null\n", "~ # c\n", "", "# c\n", "---\n", "---", "--- # c\na: b\n", "\t\n", "a: 'x'#\n", "a: x#y\n", "a: #x\n", "a: 'b': c\n", "a: .inf\n", "a: .nan\n", "a: 1e400\n", "a: =\n", "a: <<\n", "a: -\n", "a: --- \n", "a: |- # c\n  x\n", "a: |-#c\n  x\n",
	"a: 18446744073709551615\nb: 18446744073709551616\nc: +12\nd: 1_000\ne: 0b11\nf: .5\ng: 5.\nh: 08\n", "a:\n  - b:\n    - c\n    d: e\n  -   f: g\n      h: i\n", "a: \"b\" \nc: 'd' # e\n", "a: \"b\nc\"\n", "a: \"b\\\nc\"\n", "a: ''\nb: \"\"\nc: ''''\n",
	"items: []\n", "items: [a, b]\n", "items:\n  a: b\n", "spec:\n  items:\n  - a\n", "items: # c\n- a\n",
}

// comparePlain writes a document both ways, and says whether fastYAML knows it.
func comparePlain(t *testing.T, text []byte) bool {
	t.Helper()
	var p fastYAML
	if !p.document(nil, text) {
		return false
	}
	root, err := parseYAML(text)
	if err != nil {
		t.Fatalf("%q: %v, and is read all the same as %s", text, err, p.json)
	}
	var items []itemMark
	w := yamlWriter{}
	if root != nil {
		if root.Kind != yaml.MappingNode {
			t.Fatalf("%q is read as an object", text)
		}
		w.items = itemsOf(root)
		w.element = func(json []byte, item *yaml.Node) {
			items = append(items, itemMark{json: len(json), line: item.Line})
		}
		if err := w.value(root); err != nil {
			t.Fatalf("%q: %v, and is read all the same as %s", text, err, p.json)
		}
	}
	if string(w.json) != string(p.json) || w.breaks != p.breaks {
		t.Fatalf("%q:\ngot  %q, %+v\nwant %q, %+v", text, p.json, p.breaks, w.json, w.breaks)
	}
	for i := range items {
		items[i].offset = int(positionIn(text, position{}, items[i].line).offset)
	}
	if diff := cmp.Diff(items, append([]itemMark(nil), p.items...), cmp.AllowUnexported(itemMark{})); diff != "" {
		t.Fatalf("%q: items (-want +got):\n%s", text, diff)
	}
	return true
}

// comparePlainItem does the same for an element of a list.
func comparePlainItem(t *testing.T, text []byte) {
	t.Helper()
	var p fastYAML
	if !p.item(nil, text) {
		return
	}
	root, err := parseYAML(text)
	if err != nil || root == nil || root.Kind != yaml.SequenceNode || len(root.Content) != 1 {
		t.Fatalf("%q: %v, and is read all the same as %s", text, err, p.json)
	}
	w := yamlWriter{}
	if err := w.value(root.Content[0]); err != nil || string(w.json) != string(p.json) || w.breaks != p.breaks {
		t.Fatalf("%q: %v\ngot  %q, %+v\nwant %q, %+v", text, err, p.json, p.breaks, w.json, w.breaks)
	}
}

func TestFastYAMLEqualsParser(t *testing.T) {
	for _, text := range plainSeeds {
		comparePlain(t, []byte(text))
		comparePlainItem(t, []byte("- "+strings.ReplaceAll(text, "\n", "\n  ")))
		comparePlain(t, []byte("x:\n  "+strings.ReplaceAll(text, "\n", "\n  ")))
		comparePlain(t, []byte("x:\n- y: z\n  w: "+strings.ReplaceAll(text, "\n", "\n   ")))
		comparePlain(t, []byte(strings.ReplaceAll(text, "\n", "\r\n")))
	}
	// What kubectl prints is plain, and so are most manifests.
	for _, text := range [][]byte{asYAML(t, dumptest.Pod(1, 1)), asYAML(t, listOf(t, 3)), []byte(plainSeeds[0]), []byte(plainSeeds[1]), []byte(plainSeeds[2]), []byte(plainSeeds[4]), []byte("{\"a\":{\"b\":[\"c\",1,true]},'d':e}\n"), []byte("a: {\"b\":c}\n")} {
		if !comparePlain(t, text) {
			t.Errorf("left to the parser: %.2000s", text)
		}
	}
}

func FuzzPlainYAML(f *testing.F) {
	for _, text := range plainSeeds {
		f.Add([]byte(text))
	}
	f.Add(asYAML(f, dumptest.Pod(1, 1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		for line := range bytes.Lines(text) {
			if bytes.HasPrefix(line, []byte("---")) || bytes.HasPrefix(line, []byte("...")) {
				return // the reader cuts there
			}
		}
		comparePlain(t, text)
		comparePlainItem(t, text)
	})
}
