package dump

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestContinuation: a part of a list is followed by a list of its kind, or is an error that names what is missing.
func TestContinuation(t *testing.T) {
	part := func(kind, name, metadata string) string {
		return fmt.Sprintf(`{"kind":%q,"apiVersion":"v1","metadata":{%s},"items":[{"kind":"Pod","metadata":{"name":%q}}]}`, kind, metadata, name) + "\n"
	}
	const more = `"continue":"abc","remainingItemCount":7`
	behind := strings.Replace(part("PodList", "a", ""), `"metadata":{},`, "", 1)
	behind = strings.Replace(behind, "]}\n", `],"metadata":{`+more+"}}\n", 1)
	yaml := "apiVersion: v1\nitems:\n- kind: Pod\n  metadata: {name: a}\nkind: List\nmetadata:\n  continue: abc\n"
	for name, tt := range map[string]struct {
		input     string
		continues *Continuation
		err       string
	}{
		"one page":                   {part("PodList", "a", `"continue":""`), nil, ""},
		"no next page":               {part("PodList", "a", more), &Continuation{"PodList", 7, 2, 0}, ""},
		"metadata behind the items":  {behind, &Continuation{"PodList", 7, 2, 0}, ""},
		"an unknown number":          {part("PodList", "a", "") + part("PodList", "b", `"continue":"abc"`), &Continuation{"PodList", -1, 3, int64(len(part("PodList", "a", "")))}, ""},
		"both pages":                 {part("PodList", "a", more) + part("PodList", "b", ""), nil, ""},
		"an empty last page":         {part("PodList", "a", more) + `{"kind":"PodList","items":null}`, nil, ""},
		"an empty first page":        {`{"kind":"PodList","items":null,"metadata":{` + more + `}}` + part("PodList", "b", ""), nil, ""},
		"a list of another kind":     {part("PodList", "a", more) + part("List", "b", ""), nil, `item 2, byte 0: the list is incomplete: 7 items are missing, because metadata.continue is set and no further "PodList" follows: record all pages, as ` + "`kubectl get -o json` does"},
		"an object":                  {part("PodList", "a", `"continue":"x","remainingItemCount":1`) + pod("b"), nil, `item 2, byte 0: the list is incomplete: 1 item is missing, because metadata.continue is set and no further "PodList" follows: record all pages, as ` + "`kubectl get -o json` does"},
		"an object with a continue":  {`{"kind":"Pod","metadata":{"name":"a","continue":"x"}}`, nil, ""},
		"YAML":                       {yaml, &Continuation{"List", -1, 2, 0}, ""},
		"YAML behind another object": {"# c\nkind: Pod\nmetadata: {name: b}\n---\n" + yaml, &Continuation{"List", -1, 3, 38}, ""},
		"pages of YAML":              {yaml + "---\n" + strings.Replace(yaml, "abc", `""`, 1), nil, ""},
	} {
		stats, err := Read(t.Context(), "x", strings.NewReader(tt.input), func(Event) error { return nil }, Manifests)
		if diff := cmp.Diff(tt.continues, stats.Continues); tt.err == "" && diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != "read x: "+tt.err || !errors.Is(err, ErrIncompleteList)) {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, tt.err)
		}
		if first := strings.HasPrefix(tt.input, `{"kind":"PodList"`); first != (stats.First == "PodList") {
			t.Errorf("%s: the first list is a %q", name, stats.First)
		}
	}
	if got, want := (&Continuation{"PodList", -1, 2, 9}).Missing("-").Error(), "an unknown number of items is missing"; !strings.Contains(got, want) {
		t.Errorf("%q does not say %q", got, want)
	}
}

// TestRecorded: an item of a PodList, an item that has a UID, and an event of a watch are recorded; what else there is has
// a digest.
func TestRecorded(t *testing.T) {
	const bare, item, known = `{"metadata":{"name":"a"}}`, `{"kind":"Pod","metadata":{"name":"a"}}`, `{"kind":"Pod","metadata":{"name":"a","uid":"u"}}`
	for input, want := range map[string]bool{
		`{"kind":"PodList","items":[` + bare + `]}`: true, `{"items":[` + bare + `],"kind":"PodList"}`: true, `{"kind":"PodList","items":[` + item + `]}`: true,
		`{"kind":"List","items":[` + item + `]}`: false, `{"kind":"List","items":[` + known + `]}`: true, `{"items":[` + known + `],"kind":"List"}`: true,
		known: false, item: false, `{"type":"ADDED","object":` + item + `}`: true, `{"type":"DELETED","object":` + known + `}`: true,
		"items:\n- kind: Pod\n  metadata:\n    name: a\n    uid: u\nkind: List\n": true, "kind: Pod\nmetadata:\n  name: a\n  uid: u\n": false,
		`{"kind":"List","items":[{"kind":"Job","metadata":{"name":"j","uid":"u"},"spec":{"template":{"spec":{}}}}]}`: true,
	} {
		_, err := Read(t.Context(), "x", strings.NewReader(input), func(e Event) error {
			if e.Recorded != want || e.Recorded != (e.Digest == 0) {
				return fmt.Errorf("recorded is %v, and the digest %d", e.Recorded, e.Digest)
			}
			return nil
		}, Manifests)
		if err != nil {
			t.Errorf("%s: %v", input, err)
		}
	}
}

// TestDigests: two manifests have one digest when they are equal as JSON, also beyond their template.
func TestDigests(t *testing.T) {
	digest := func(input string) (digest uint64) {
		t.Helper()
		_, err := Read(t.Context(), "x", strings.NewReader(input), func(e Event) error {
			digest = e.Digest
			return nil
		}, Manifests)
		if err != nil {
			t.Fatalf("%s: %v", input, err)
		}
		return digest
	}
	const same = `{"kind":"Job","metadata":{"name":"j","labels":{"a":"1","b":"2"}},"spec":{"count":1,"list":["x","z"],"template":{"spec":{"containers":[]}}}}`
	for _, input := range []string{
		same + "\n" + same,
		"metadata: {labels: {b: \"2\", a: \"1\"}, name: j}\nkind: Job\n# c\nspec:\n  template:\n    spec:\n      containers: []\n  list: [x, z]\n  count: 1\n",
		strings.Replace(strings.ReplaceAll(same, ":", " :\n "), `"count" :`+"\n 1", `"\u0063ount":1.0`, 1),
		`{"kind":"List","items":[` + same + `]}`,
	} {
		if digest(input) != digest(same) {
			t.Errorf("%s differs", input)
		}
	}
	for _, old := range []string{`"1"`, `:1,`, `"x","z"`, `"b":"2"`, `"containers"`, `"x"`, `"list"`} {
		for _, other := range []string{strings.Replace(same, old, map[string]string{`"1"`: `1`, `:1,`: `:2,`, `"x","z"`: `"z","x"`, `"b":"2"`: `"b":"3"`, `"containers"`: `"c"`, `"x"`: `["x"]`, `"list"`: `"lists"`}[old], 1)} {
			if other == same || digest(other) == digest(same) {
				t.Errorf("%s equals the same with %s", other, old)
			}
		}
	}
}
