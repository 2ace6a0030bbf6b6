package scan

import (
	"fmt"
	"strings"
	"testing"
)

// TestPagesOfLists: a list that was recorded in parts is whole, or the scan says how many items are missing.
func TestPagesOfLists(t *testing.T) {
	page := func(kind, name, metadata string) string {
		return fmt.Sprintf(`{"kind":%q,"apiVersion":"v1","metadata":{%s},"items":[%s]}`, kind, metadata, small(name, ""))
	}
	first, second, last := page("PodList", "a", `"continue":"x","remainingItemCount":2`), page("PodList", "b", `"continue":"y"`), page("PodList", "c", `"continue":""`)
	whole := page("PodList", "d", "")
	for name, tt := range map[string]struct {
		files []string
		want  string // a part of the error; empty where there is none
	}{
		"one behind the other":  {[]string{first, second, last}, ""},
		"in one file":           {[]string{first + second + last}, ""},
		"the last is missing":   {[]string{first, second}, "read 1.json: item 2, byte 0: the list is incomplete: an unknown number of items is missing"},
		"all but the first":     {[]string{first}, "0.json: "},
		"another file between":  {[]string{first, aPod("x"), second, last}, "read 0.json: item 2, byte 0: the list is incomplete: 2 items are missing, "},
		"another kind of list":  {[]string{first, page("ServiceList", "s", ""), last}, "read 0.json: item 2, byte 0: the list is incomplete: 2 items are missing, "},
		"one item":              {[]string{strings.Replace(first, ":2", ":1", 1), aPod("x")}, ": 1 item is missing, "},
		"whole":                 {[]string{whole, aPod("x")}, ""},
		"a part behind a whole": {[]string{whole, first}, "read 1.json: item 2, byte 0: the list is incomplete: 2 items are missing"},
	} {
		files := make(map[string]string)
		var names []string
		for i, text := range tt.files {
			names = append(names, fmt.Sprintf("%d.json", i))
			files[names[i]] = text
		}
		tree(t, files)
		for _, paths := range [][]string{names, {"."}} {
			found, _, err := scanTree(t, paths)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || found != nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s, %q: %v, want %s", name, paths, err, tt.want)
			}
			found, _, err = scanTree(t, paths, func(o *Options) { o.KeepGoing = true })
			if err != nil || (tt.want == "") != (len(found.Inputs.Unreadable) == 0) {
				t.Errorf("%s, %q: kept going: %+v, %v", name, paths, found, err)
			}
		}
	}
}
