package dump

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/dump/dumptest"
)

// reference reads a recording as Read does, slowly, with encoding/json alone: it holds all of it in memory, decodes every
// value, and knows nothing of buffers, offsets or speed.
type reference struct {
	events []seen
	others map[string]int
	marks  int
	item   int
}

var errReference = errors.New("the reference refuses it")

func refuse(format string, args ...any) {
	panic(fmt.Errorf("%w: "+format, append([]any{errReference}, args...)...))
}

func readReference(data []byte) (r reference, err error) {
	defer func() {
		if v := recover(); v != nil {
			var ok bool
			if err, ok = v.(error); !ok || !errors.Is(err, errReference) {
				panic(v)
			}
		}
	}()
	r.others = map[string]int{}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		refuse("UTF-8")
	}
	for d := json.NewDecoder(bytes.NewReader(data)); ; {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			refuse("%v", err)
		}
		r.document(raw)
	}
	if len(r.events) == 0 {
		refuse("no pods")
	}
	return r, nil
}

type member struct {
	key   string
	value json.RawMessage
}

// members are the keys of an object, in order, duplicates included.
func members(raw json.RawMessage) []member {
	if raw[0] != '{' {
		refuse("not an object")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		refuse("%v", err)
	}
	var out []member
	for d.More() {
		key, err := d.Token()
		if err != nil {
			refuse("%v", err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			refuse("%v", err)
		}
		out = append(out, member{key.(string), value})
	}
	return out
}

// find returns the value of a key, nil where it is absent or null, and refuses one that is there twice.
func find(ms []member, key string) json.RawMessage {
	var found json.RawMessage
	n := 0
	for _, m := range ms {
		if m.key == key {
			found, n = m.value, n+1
		}
	}
	if n > 1 {
		refuse("duplicate %s", key)
	}
	if string(found) == "null" {
		return nil
	}
	return found
}

// str is the string of a value. Absent and null are empty; another type is refused where it matters.
func str(raw json.RawMessage, matters bool) string {
	if len(raw) == 0 || raw[0] != '"' {
		if len(raw) != 0 && matters {
			refuse("not a string: %s", raw)
		}
		return ""
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		refuse("%v", err)
	}
	return s
}

func (r *reference) document(raw json.RawMessage) {
	ms := members(raw)
	keys := map[string]bool{}
	for _, m := range ms {
		if keys[m.key] {
			refuse("duplicate %s", m.key)
		}
		keys[m.key] = true
	}
	items, kind := find(ms, "items"), find(ms, "kind")
	checkNames(ms)
	if len(items) > 0 && items[0] == '[' {
		r.list(ms, items, str(kind, true))
		return
	}
	if object := find(ms, "object"); len(object) > 0 && object[0] == '{' {
		checkNames(members(object))
	}
	if str(kind, false) == "" && len(kind) == 0 && keys["object"] && find(ms, "object") != nil || str(kind, false) == "" && keys["type"] {
		r.watchEvent(ms)
		return
	}
	if k := str(kind, false); k == "List" || k == "PodList" {
		if keys["items"] && items == nil {
			return
		}
		refuse("list without items")
	}
	r.item++
	r.object(Apply, raw, "")
}

func (r *reference) list(ms []member, items json.RawMessage, kind string) {
	if kind != "" && !strings.HasSuffix(kind, "List") {
		refuse("not a list")
	}
	before := true
	for _, m := range ms {
		if m.key == "items" {
			before = false
		}
		if m.key == "object" && before && m.value[0] == '{' {
			checkNames(members(m.value))
		}
	}
	var raws []json.RawMessage
	if err := json.Unmarshal(items, &raws); err != nil {
		refuse("%v", err)
	}
	itemKind := ""
	if kind != "List" {
		itemKind = strings.TrimSuffix(kind, "List")
	}
	for _, raw := range raws {
		// What a kind behind the items says is known too late for items that have none.
		if kind != "PodList" && before == false && str(find(members(raw), "kind"), true) == "" && indexOf(ms, "kind") > indexOf(ms, "items") {
			refuse("no kind")
		}
		r.item++
		r.object(Apply, raw, itemKind)
	}
}

func indexOf(ms []member, key string) int {
	for i, m := range ms {
		if m.key == key {
			return i
		}
	}
	return len(ms)
}

func (r *reference) watchEvent(ms []member) {
	object := find(ms, "object")
	if len(object) == 0 || object[0] != '{' {
		refuse("no object")
	}
	r.item++
	switch str(find(ms, "type"), true) {
	case "ADDED", "MODIFIED":
		r.object(Apply, object, "")
	case "DELETED":
		r.object(Delete, object, "")
	case "BOOKMARK":
		r.marks++
	default:
		refuse("type")
	}
}

// checkNames refuses twice the keys that are read.
func checkNames(ms []member) {
	for _, key := range []string{"kind", "apiVersion", "items"} {
		find(ms, key)
	}
	if metadata := find(ms, "metadata"); len(metadata) > 0 && metadata[0] == '{' {
		for _, key := range []string{"name", "namespace", "generateName", "uid"} {
			find(members(metadata), key)
		}
	}
}

func (r *reference) object(op Op, raw json.RawMessage, kind string) {
	ms := members(raw)
	checkNames(ms)
	if depth(raw) > maxDepth {
		refuse("depth")
	}
	if own := str(find(ms, "kind"), true); own != "" {
		kind = own
	}
	if kind == "" {
		refuse("no kind")
	}
	version := str(find(ms, "apiVersion"), kind == "Pod")
	if kind != "Pod" || version != "" && version != "v1" {
		if items := find(ms, "items"); len(items) > 0 && items[0] == '[' && strings.HasSuffix(kind, "List") {
			refuse("nested list")
		}
		if len(kind) > 63 {
			kind = strings.ToValidUTF8(kind[:63], "")
		}
		r.others[kind]++
		return
	}
	var metadata []member
	if raw := find(ms, "metadata"); len(raw) > 0 && raw[0] == '{' {
		metadata = members(raw)
	}
	e := seen{
		Op: op, Namespace: str(find(metadata, "namespace"), true), Name: str(find(metadata, "name"), true),
		UID: str(find(metadata, "uid"), true), JSON: string(raw), Item: r.item,
	}
	if e.Name == "" {
		refuse("no name")
	}
	if e.Namespace == "" {
		e.Namespace = "default"
	}
	r.events = append(r.events, e)
}

// depth is how deep a value nests.
func depth(raw json.RawMessage) int {
	now, most := 0, 0
	for d := json.NewDecoder(bytes.NewReader(raw)); ; {
		t, err := d.Token()
		if err != nil {
			return most
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			now++
			most = max(most, now)
		case json.Delim('}'), json.Delim(']'):
			now--
		}
	}
}

// compare reads the same bytes both ways.
func compare(t *testing.T, data []byte) {
	t.Helper()
	if bytes.HasPrefix(data, []byte("\x1f\x8b")) || bytes.HasPrefix(data, []byte("\x28\xb5\x2f\xfd")) || bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		_, _, _ = readAll(source{bytes.NewReader(data), 64}) // the reference has neither: it shall only not panic
		return
	}
	want, wantErr := readReference(data)
	for name, s := range sources(string(data)) {
		// At once is checked here, and else the pods are left to the caller.
		options := []Option{Unchecked}
		if name == "at once" {
			options = nil
		}
		var got reference
		in := newInput(context.Background(), s.r, s.buffer)
		yaml := false // what is not JSON is YAML: see TestReadsAsKubectl
		stats, err := readInput(in, "x.json", func(e Event) error {
			if yaml = in.convert != nil; yaml {
				return nil
			}
			if options != nil && (!json.Valid(e.JSON) || !utf8.Valid(e.JSON)) {
				return errors.New("not JSON")
			}
			if at := data[e.Offset:]; at[0] != '{' {
				t.Fatalf("%s: item %d is not at byte %d of %q", name, e.Item, e.Offset, data)
			}
			e.Offset = 0
			got.events = append(got.events, see(e))
			return nil
		}, options...)
		if yaml || err != nil && in.convert != nil {
			continue
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%s: %q:\nerror %v\nwant  %v", name, data, err, wantErr)
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Offset > int64(len(data)) || e.Item < 0 {
				t.Fatalf("%s: %q: an odd error: %#v", name, data, err)
			}
			continue
		}
		if diff := cmp.Diff(want.events, got.events); diff != "" {
			t.Fatalf("%s: %q: events (-want +got):\n%s", name, data, diff)
		}
		total := 0
		for kind, n := range stats.Others {
			if total += n; len(want.others) < 256 && want.others[kind] != n {
				t.Fatalf("%s: %q: others are %v, want %v", name, data, stats.Others, want.others)
			}
		}
		for _, n := range want.others {
			total -= n
		}
		if total != 0 || stats.Bookmarks != want.marks || stats.Applied+stats.Deleted != len(want.events) {
			t.Fatalf("%s: %q: stats %+v, want %v and %d bookmarks", name, data, stats, want.others, want.marks)
		}
	}
}

// seeds are the recordings that fuzzing starts from.
func seeds(t testing.TB) [][]byte {
	var out [][]byte
	for _, tt := range readTests(t) {
		out = append(out, []byte(tt.input))
	}
	for _, tt := range errorTests(t) {
		if len(tt.input) < 1<<16 {
			out = append(out, []byte(tt.input))
		}
	}
	return append(out, dumptest.Pod(1, 1))
}

func TestReferenceAgrees(t *testing.T) {
	for _, data := range seeds(t) {
		compare(t, data)
	}
}

// TestEveryPrefix cuts a recording at each byte: but for the end of a document, that is always an error.
func TestEveryPrefix(t *testing.T) {
	for _, tt := range readTests(t) {
		if strings.HasPrefix(tt.input, "\x1f\x8b") {
			continue
		}
		step := 1
		if testing.Short() {
			step = 5 // most keys and values are longer
		}
		for end := 0; end < len(tt.input); end += step {
			compare(t, []byte(tt.input[:end]))
		}
	}
}

// TestEveryByteBroken puts a wrong byte in each place of a recording.
func TestEveryByteBroken(t *testing.T) {
	input := `{"apiVersion":"v1","items":[` + pod("a") + `,` + pod("b") + `],"kind":"List"}`
	for i := range len(input) {
		for _, c := range []byte("{}[]\"\\,:x7 \x00\xff") {
			compare(t, []byte(input[:i]+string([]byte{c})+input[i+1:]))
		}
		compare(t, []byte(input[:i]+input[i+1:]))
	}
}

func FuzzRead(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		compare(t, data)
		// In a folder it shall neither panic nor hang, and give no pods but those that it gives elsewhere.
		for _, size := range []int{1, 1 << 16} {
			var pods []string
			_, err := readInput(newInput(context.Background(), &portions{s: string(data), size: size}, 64), "x", func(e Event) error {
				pods = append(pods, string(e.JSON))
				return nil
			}, InFolder)
			events, _, plain := readAll(source{bytes.NewReader(data), 64})
			if err != nil || plain != nil {
				continue
			}
			var want []string
			for _, e := range events {
				want = append(want, e.JSON)
			}
			if diff := cmp.Diff(want, pods); diff != "" {
				t.Fatalf("%q: pods (-elsewhere +in a folder):\n%s", data, diff)
			}
		}
	})
}
