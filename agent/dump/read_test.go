package dump

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// seen is an Event that outlives the call.
type seen struct {
	Op                   Op
	Namespace, Name, UID string
	JSON                 string
	Item                 int
	Offset               int64
}

func see(e Event) seen {
	return seen{e.Op, e.Namespace, e.Name, e.UID, string(e.JSON), e.Item, e.Offset}
}

// readAll reads all of a source and keeps all events.
func readAll(s source) ([]seen, Stats, error) {
	var events []seen
	stats, err := readInput(newInput(context.Background(), s.r, s.buffer), "x.json", func(e Event) error {
		events = append(events, see(e))
		return nil
	})
	return events, stats, err
}

func packed(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// pod is a small pod.
func pod(name string) string {
	return `{"kind":"Pod","metadata":{"name":"` + name + `","namespace":"shop","uid":"u-` + name + `"}}`
}

// bare is a pod without a kind, as a PodList has them.
func bare(name string) string { return strings.Replace(pod(name), `"kind":"Pod",`, "", 1) }

// applied is the event of pod(name) or bare(name).
func applied(item int, offset int64, name, json string) seen {
	return seen{Apply, "shop", name, "u-" + name, json, item, offset}
}

type readTest struct {
	name, input string
	want        []seen
	stats       Stats
}

func readTests(t testing.TB) []readTest {
	a, b := pod("a"), pod("b")
	return []readTest{
		{
			name:  "List as kubectl prints it",
			input: "{\n    \"apiVersion\": \"v1\",\n    \"items\": [\n        " + a + ",\n        " + b + "\n    ],\n    \"kind\": \"List\",\n    \"metadata\": {\n        \"resourceVersion\": \"\"\n    }\n}\n",
			want:  []seen{applied(1, 49, "a", a), applied(2, 128, "b", b)},
			stats: Stats{Applied: 2},
		},
		{
			name:  "kind before items",
			input: `{"kind":"List","apiVersion":"v1","items":[` + a + `]}`,
			want:  []seen{applied(1, 42, "a", a)},
			stats: Stats{Applied: 1},
		},
		{
			name:  "PodList whose items have no kind",
			input: `{"kind":"PodList","metadata":{"resourceVersion":"7"},"items":[` + bare("a") + `,` + bare("b") + `]}`,
			want:  []seen{applied(1, 62, "a", bare("a")), applied(2, 119, "b", bare("b"))},
			stats: Stats{Applied: 2},
		},
		{
			name:  "PodList whose kind comes last",
			input: `{"items":[` + bare("a") + `],"kind":"PodList"}`,
			want:  []seen{applied(1, 10, "a", bare("a"))},
			stats: Stats{Applied: 1},
		},
		{
			name:  "list without a kind, of items with one",
			input: `{"items":[` + a + `]}`,
			want:  []seen{applied(1, 10, "a", a)},
			stats: Stats{Applied: 1},
		},
		{
			name:  "one pod",
			input: a,
			want:  []seen{applied(1, 0, "a", a)},
			stats: Stats{Applied: 1},
		},
		{
			name:  "any order of keys, null and other values",
			input: `{"status":{},"x":[1,-2.5e3,true,false,null,"\u00e9\n"],"metadata":{"uid":null,"labels":{"name":"no"},"namespace":"","name":"p"},"spec":null,"n":-0.5,"apiVersion":"v1","kind":"Pod"}`,
			want: []seen{{Apply, "default", "p", "",
				`{"status":{},"x":[1,-2.5e3,true,false,null,"\u00e9\n"],"metadata":{"uid":null,"labels":{"name":"no"},"namespace":"","name":"p"},"spec":null,"n":-0.5,"apiVersion":"v1","kind":"Pod"}`, 1, 0}},
			stats: Stats{Applied: 1},
		},
		{
			name:  "namespace after name, and none at all",
			input: `{"kind":"Pod","metadata":{"name":"a","namespace":"z"}} {"kind":"Pod","metadata":{"name":"b"}}`,
			want: []seen{
				{Apply, "z", "a", "", `{"kind":"Pod","metadata":{"name":"a","namespace":"z"}}`, 1, 0},
				{Apply, "default", "b", "", `{"kind":"Pod","metadata":{"name":"b"}}`, 2, 55},
			},
			stats: Stats{Applied: 2},
		},
		{
			name:  "escapes in keys and values",
			input: `{"k\u0069nd":"\u0050od","metadata":{"name":"\u00e9\"\\","namespace":"\u0061"}}`,
			want:  []seen{{Apply, "a", `é"\`, "", `{"k\u0069nd":"\u0050od","metadata":{"name":"\u00e9\"\\","namespace":"\u0061"}}`, 1, 0}},
			stats: Stats{Applied: 1},
		},
		{
			name:  "brackets, quotes and backslashes within strings",
			input: `{"items":[{"kind":"Pod","metadata":{"annotations":{"]}":"{[\"","\\":"\\\\\"}"},"name":"a"}}],"kind":"List"}`,
			want:  []seen{{Apply, "default", "a", "", `{"kind":"Pod","metadata":{"annotations":{"]}":"{[\"","\\":"\\\\\"}"},"name":"a"}}`, 1, 10}},
			stats: Stats{Applied: 1},
		},
		{
			name:  "JSON lines",
			input: a + "\n" + b + "\n",
			want:  []seen{applied(1, 0, "a", a), applied(2, 70, "b", b)},
			stats: Stats{Applied: 2},
		},
		{
			name:  "several documents without a space between them",
			input: `{"kind":"List","items":[]}` + a + `{"kind":"PodList","items":null}{"kind":"PodList","items":[` + bare("b") + `]}`,
			want:  []seen{applied(1, 26, "a", a), applied(2, 153, "b", bare("b"))},
			stats: Stats{Applied: 2},
		},
		{
			name: "a recorded watch",
			input: `{"type":"ADDED","object":` + a + "}\n" +
				`{"object":` + a + `,"type":"MODIFIED"}` +
				`{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9"}}}` +
				`{"type":"DELETED","object":` + a + "}\n",
			want: []seen{
				applied(1, 0, "a", a), applied(2, 96, "a", a),
				{Delete, "shop", "a", "u-a", a, 4, 272},
			},
			stats: Stats{Applied: 2, Deleted: 1, Bookmarks: 1},
		},
		{
			name:  "a watch that only deletes",
			input: `{"type":"DELETED","object":` + a + "}",
			want:  []seen{{Delete, "shop", "a", "u-a", a, 1, 0}},
			stats: Stats{Deleted: 1},
		},
		{
			name: "other kinds are counted and left out",
			input: `{"kind":"List","items":[{"kind":"Service","metadata":{"name":7}},` + a + `,{"kind":"Service"},{"kind":"Pod","apiVersion":"example.com/v1"}]}` +
				`{"kind":"Secret","type":"Opaque","object":{"kind":1}}` + `{"kind":"ServiceList","items":[{}]}` + `{"type":"ADDED","object":{"kind":"Node"}}`,
			want:  []seen{applied(2, 65, "a", a)},
			stats: Stats{Applied: 1, Others: map[string]int{"Service": 3, "Pod": 1, "Secret": 1, "Node": 1}},
		},
		{
			name:  "a kind that ends with List and has no items is an object",
			input: `{"kind":"List","items":[{"kind":"AllowList"},` + a + `]}`,
			want:  []seen{applied(2, 45, "a", a)},
			stats: Stats{Applied: 1, Others: map[string]int{"AllowList": 1}},
		},
		{
			name:  "a byte order mark and space around",
			input: "\ufeff \r\n\t" + a + " \n",
			want:  []seen{applied(1, 7, "a", a)},
			stats: Stats{Applied: 1},
		},
		{
			name:  "gzip by content, in two members, with a byte order mark",
			input: packed(t, "\ufeff"+a) + packed(t, b),
			want:  []seen{applied(1, 3, "a", a), applied(2, 72, "b", b)},
			stats: Stats{Applied: 2, Bytes: 141},
		},
		{
			name:  "as deep as allowed",
			input: `{"kind":"Pod","metadata":{"name":"a"},"x":` + strings.Repeat("[", 199) + strings.Repeat("]", 199) + `}`,
			want: []seen{{Apply, "default", "a", "",
				`{"kind":"Pod","metadata":{"name":"a"},"x":` + strings.Repeat("[", 199) + strings.Repeat("]", 199) + `}`, 1, 0}},
			stats: Stats{Applied: 1},
		},
		{
			name:  "as deep as allowed, within a watch event",
			input: `{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"a"},"x":` + strings.Repeat("[", 199) + strings.Repeat("]", 199) + `}}`,
			want: []seen{{Apply, "default", "a", "",
				`{"kind":"Pod","metadata":{"name":"a"},"x":` + strings.Repeat("[", 199) + strings.Repeat("]", 199) + `}`, 1, 0}},
			stats: Stats{Applied: 1},
		},
	}
}

func TestRead(t *testing.T) {
	for _, tt := range readTests(t) {
		t.Run(tt.name, func(t *testing.T) {
			if tt.stats.Bytes == 0 {
				tt.stats.Bytes = int64(len(tt.input))
			}
			// However the bytes arrive, the events are the same.
			for name, s := range sources(tt.input) {
				got, stats, err := readAll(s)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%s: events (-want +got):\n%s", name, diff)
				}
				for _, e := range got {
					if at := tt.input[min(e.Offset, int64(len(tt.input))):]; !strings.HasPrefix(at, e.JSON) && !strings.HasPrefix(at, `{"type":`) &&
						!strings.HasPrefix(at, `{"object":`) && !strings.HasPrefix(tt.input, "\x1f") {
						t.Errorf("%s: item %d is not at its offset %d", name, e.Item, e.Offset)
					}
				}
				stats.First = "" // see TestContinuation
				if diff := cmp.Diff(tt.stats, stats); diff != "" {
					t.Errorf("%s: stats (-want +got):\n%s", name, diff)
				}
			}
		})
	}
}

// source is a reader, and the size of the window that it is read through at first.
type source struct {
	r      io.Reader
	buffer int
}

// sources gives the same bytes in different portions, through windows that have to slide and to grow.
func sources(s string) map[string]source {
	return map[string]source{
		"at once":            {strings.NewReader(s), 1 << 10},
		"a small window":     {strings.NewReader(s), 16},
		"byte by byte":       {iotest.OneByteReader(strings.NewReader(s)), 100},
		"by halves":          {iotest.HalfReader(strings.NewReader(s)), 300},
		"EOF with the bytes": {iotest.DataErrReader(strings.NewReader(s)), 64},
		"by primes":          {&portions{s: s, size: 61}, 128},
	}
}

// portions reads a few bytes, then none, in turn.
type portions struct {
	s     string
	size  int
	empty bool
}

func (p *portions) Read(b []byte) (int, error) {
	if p.empty = !p.empty; p.empty {
		return 0, nil
	}
	if p.s == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.size)], p.s)
	p.s = p.s[n:]
	return n, nil
}

func TestReadEndsWithTheCallersError(t *testing.T) {
	broken := errors.New("evaluate: no")
	input := `{"items":[` + pod("a") + `,` + pod("b") + `]}`
	calls := 0
	_, err := Read(t.Context(), "x.json", strings.NewReader(input), func(e Event) error {
		if calls++; e.Name == "b" {
			return broken
		}
		return nil
	})
	if !errors.Is(err, broken) || calls != 2 {
		t.Errorf("after %d calls: %v", calls, err)
	}
	want := &Error{Name: "x.json", Item: 2, Offset: 80, Err: broken}
	var got *Error
	if !errors.As(err, &got) || *got != *want {
		t.Errorf("got %#v, want %#v", got, want)
	}
	if want := "read x.json: item 2, byte 80: evaluate: no"; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
}

func TestCallerCannotWriteBeyondItem(t *testing.T) {
	input := `{"items":[` + pod("a") + `,` + pod("b") + `]}`
	var names []string
	_, err := Read(t.Context(), "x.json", strings.NewReader(input), func(e Event) error {
		names = append(names, e.Name)
		_ = append(e.JSON, `}}}}}}}}}}`...)
		return nil
	})
	if diff := cmp.Diff([]string{"a", "b"}, names); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// pooled is how many allocations of a pod may be for what sync.Pool did not give back, as it does at random under the
// race detector: encoding/json keeps its scanner there.
var pooled = 0.0

func TestNamespacesAreStoredOnce(t *testing.T) {
	// Two allocations for each pod, its name and its uid, and no more: what comes on top is for the whole recording.
	list := func(n int) string {
		return `{"kind":"PodList","items":[` + strings.Repeat(bare("a-name-like-this")+",", n-1) + bare("z") + `]}`
	}
	allocs := func(input string) float64 {
		return testing.AllocsPerRun(5, func() {
			if _, err := Read(t.Context(), "x", strings.NewReader(input), func(Event) error { return nil }); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := list(100), list(1100)
	if got := (allocs(many) - allocs(few)) / 1000; got > 2.1+pooled {
		t.Errorf("%.2f allocations for each pod, want 2", got)
	}
}

func TestHostileKindsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"kind":"List","items":[` + pod("a"))
	for i := range 1000 {
		fmt.Fprintf(&b, `,{"kind":"K%d"}`, i)
	}
	b.WriteString(`,{"kind":"` + strings.Repeat("é", 100) + `"}]}`)
	_, stats, err := readAll(source{strings.NewReader(b.String()), firstBuffer})
	if err != nil {
		t.Fatal(err)
	}
	if len(stats.Others) != 257 || stats.Others["others"] != 745 {
		t.Errorf("%d kinds, %d others", len(stats.Others), stats.Others["others"])
	}
}

func TestOpString(t *testing.T) {
	if diff := cmp.Diff([]string{"apply", "delete"}, []string{Apply.String(), Delete.String()}); diff != "" {
		t.Error(diff)
	}
}

func TestUncheckedLeavesPodsToTheCaller(t *testing.T) {
	// One pod is not JSON, and holds another within a string that has line breaks.
	broken := `{"kind":"Pod","metadata":{"name":"b"},"x":["` + "\n" + pod("c") + ",\n" + `"]}`
	input := `{"items":[` + broken + `,` + pod("d") + `]}`
	var got []string
	fn := func(e Event) error {
		got = append(got, string(e.JSON))
		return nil
	}
	if _, err := Read(t.Context(), "x.json", strings.NewReader(input), fn, Unchecked); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{broken, pod("d")}, got); diff != "" {
		t.Errorf("pods (-want +got):\n%s", diff)
	}
}
