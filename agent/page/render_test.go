package page

import (
	"bytes"
	"encoding/json"
	"hash/fnv"
	"math"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-devops/kube-devops/rules/golden"
)

func rendered(t testing.TB, view View) string {
	t.Helper()
	var page bytes.Buffer
	if err := Render(&page, view); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

func hashOf(text []byte) uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write(text)
	return sum.Sum64()
}

// TestGolden compares all views, without their style and script, with files.
func TestGolden(t *testing.T) {
	for name, view := range examples() {
		t.Run(name, func(t *testing.T) {
			page := rendered(t, view)
			page = strings.Replace(page, string(design.Style), "", 1)
			page = strings.Replace(page, string(design.Script), "", 1)
			golden.Compare(t, filepath.Join("testdata", name+".html"), page)
		})
	}
}

// TestSecurityPolicy checks that a browser may only use the page's own script and style, send requests to the agent, and submit the form to it.
func TestSecurityPolicy(t *testing.T) {
	allowed := map[string]string{
		"default-src": "'none'", "base-uri": "'none'", "connect-src": "'self'", "form-action": "'self'", "frame-ancestors": "'none'",
	}
	for directive := range strings.SplitSeq(SecurityPolicy(), "; ") {
		name, sources, _ := strings.Cut(directive, " ")
		if name == "style-src" || name == "script-src" {
			if !strings.HasPrefix(sources, "'sha256-") || strings.Contains(sources, " ") {
				t.Errorf("%s allows more than one hash", directive)
			}
			continue
		}
		if want, ok := allowed[name]; !ok || sources != want {
			t.Errorf("%s, want %q", directive, want)
		}
		delete(allowed, name)
	}
	if len(allowed) > 0 {
		t.Errorf("missing: %v", allowed)
	}
}

// TestJSON decodes the JSON of a view. Unknown values must be null, and a trend must keep its gaps.
func TestJSON(t *testing.T) {
	want := overview(12, PerPage, 1)
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Overview
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	text, err = json.Marshal(Scores{Trend: Trend{float32(math.NaN()), 80.5}})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"score":null,"compliance":null,"grade":null,"hourChange":null,"dayChange":null,"trend":[null,80.5]}`; string(text) != want {
		t.Errorf("%s, want %s", text, want)
	}
}

func TestParseQuery(t *testing.T) {
	for query, want := range map[string]Query{
		"":                                  {Page: 1, PerPage: 100},
		"filter=Shop+web&grade=Healthy":     {Filter: "Shop web", Grade: "Healthy", Page: 1, PerPage: 100},
		"sort=violations":                   {Sort: SortViolations, Descending: true, Page: 1, PerPage: 100},
		"sort=violations&order=asc&page=3":  {Sort: SortViolations, Page: 3, PerPage: 100},
		"sort=namespace&order=desc":         {Sort: SortNamespace, Descending: true, Page: 1, PerPage: 100},
		"sort=secret&order=up&page=-2&per=": {Page: 1, PerPage: 100},
		"page=9999999999999999999999":       {Page: 1, PerPage: 100},
		"per=20":                            {Page: 1, PerPage: 20},
		"per=100000":                        {Page: 1, PerPage: MostPerPage},
		"filter=%ff":                        {Filter: "\uFFFD", Page: 1, PerPage: 100},
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got := ParseQuery(values)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", query, diff)
		}
		// The links of the page keep the query.
		values, err = url.ParseQuery(strings.TrimPrefix(got.link(), "?"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, ParseQuery(values)); diff != "" {
			t.Errorf("%q becomes %q (-want +got):\n%s", query, got.link(), diff)
		}
	}
	if q := ParseQuery(url.Values{"filter": {strings.Repeat("ä", 1e6)}}); len(q.Filter) > maxFilter {
		t.Errorf("a filter of %d bytes", len(q.Filter))
	}
}

func TestQueryMatches(t *testing.T) {
	for filter, want := range map[string]bool{"": true, "  ": true, "SHOP": true, "web shop": true, "web bank": false, "shop-web": false} {
		if got := (Query{Filter: filter}).Matches("shop-prod", "Deployment/web"); got != want {
			t.Errorf("%q matches: %v, want %v", filter, got, want)
		}
	}
}

func TestQuerySlice(t *testing.T) {
	for _, c := range []struct{ page, found, start, end, pages, now int }{
		{1, 0, 0, 0, 1, 1}, {1, 100, 0, 100, 1, 1}, {2, 101, 100, 101, 2, 2}, {7, 101, 100, 101, 2, 2}, {3, 5000, 200, 300, 50, 3},
	} {
		q := Query{Page: c.page, PerPage: 100}
		start, end := q.Slice(c.found)
		if start != c.start || end != c.end || q.Pages != c.pages || q.Page != c.now || q.Found != c.found {
			t.Errorf("page %d of %d rows: %d to %d, %+v", c.page, c.found, start, end, q)
		}
	}
}

func TestFoundRows(t *testing.T) {
	for want, q := range map[string]Query{
		"60 namespaces":                             {Page: 1, PerPage: 100, Pages: 1, Found: 60, All: 60},
		"1 namespace":                               {Page: 1, PerPage: 100, Pages: 1, Found: 1, All: 1},
		"3 of 60 namespaces":                        {Page: 1, PerPage: 100, Pages: 1, Found: 3, All: 60},
		"201–300 of 5,000 namespaces":               {Page: 3, PerPage: 100, Pages: 50, Found: 5000, All: 5000},
		"101–120 of 120 found, of 5,000 namespaces": {Page: 2, PerPage: 100, Pages: 2, Found: 120, All: 5000},
	} {
		f := frame{query: &q, rows: "namespace"}
		if got := f.found(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestPodsOfFinding counts pods, and not their violations.
func TestPodsOfFinding(t *testing.T) {
	for want, f := range map[string]Finding{
		"":               {Violations: 2, PodCount: 1, Pods: []string{"a"}},
		"and 1 more pod": {Violations: 7, PodCount: 5, Pods: []string{"a", "b", "c", "d", "e"}},
	} {
		if got := morePods(f); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestRowKeys checks that each row of waivers and changes has a unique key, by which the script finds the row again.
func TestRowKeys(t *testing.T) {
	w := waiverRow{Waiver: Waiver{ID: "kube-devops.io/waive", Source: "annotation of Deployment/web", Expires: moment, Selects: []Condition{{"namespace", "a"}}}}
	c := changes(1).Changes[0]
	keys := map[string]string{w.Key(): "waiver", c.Key(): "change"}
	of := func(name, key string) {
		if other, ok := keys[key]; ok {
			t.Errorf("%s has the key of %s", name, other)
		}
		keys[key] = name
	}
	other := w
	other.Selects = []Condition{{"namespace", "b"}}
	of("waiver of another namespace", other.Key())
	other = w
	other.Source = "annotation of Deployment/api"
	of("waiver of another workload", other.Key())
	other = w
	other.Expires = moment.Add(1)
	of("waiver until later", other.Key())
	for name, change := range map[string]func(c *Change){
		"time": func(c *Change) { c.Time = c.Time.Add(1) }, "direction": func(c *Change) { c.Opened = !c.Opened },
		"namespace": func(c *Change) { c.Namespace = "x" }, "pod": func(c *Change) { c.Pod = "x" }, "check": func(c *Change) { c.Check = "x" },
		"container": func(c *Change) { c.Container = "x" }, "subject": func(c *Change) { c.Subject = "x" },
	} {
		other := c
		change(&other)
		of("change with another "+name, other.Key())
	}
}

func TestWebAddresses(t *testing.T) {
	for address, want := range map[string]bool{
		"https://a": true, "HTTPS://a": true, "Http://a": true, "javascript:alert(1)": false, "javascript://a": false, "//a": false, "": false,
	} {
		if got := web(address); got != address && want || got != "" && !want {
			t.Errorf("%q becomes %q", address, got)
		}
	}
}

func TestDelta(t *testing.T) {
	for want, change := range map[delta]*float64{
		{"na", "n/a"}: nil, {"same", "±0.0"}: ptr(-0.04), {"up", "+1.3"}: ptr(1.26), {"down", "−12.0"}: ptr(-12.0), {"down", "−0.1"}: ptr(-0.05),
	} {
		if got := deltaOf(change); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// TestCurve checks that a curve has gaps for unknown points, and that small changes look small.
func TestCurve(t *testing.T) {
	none := float32(math.NaN())
	for _, c := range []struct {
		of   Trend
		path string
	}{
		{nil, ""},
		{Trend{none, none}, ""},
		{Trend{50}, "M100 12h0"},
		{Trend{0, 100}, "M0 22L100 2"},
		{Trend{100, 100}, "M0 2L100 2"},
		{Trend{80, 81, none, 80, none, 79}, "M0 12L20 10M60 12h0M100 14h0"},
	} {
		got := curveOf(c.of)
		if got.Path != c.path {
			t.Errorf("%v: %q, want %q", c.of, got.Path, c.path)
		}
		if (got.Label == "") != (c.path == "") {
			t.Errorf("%v: the text alternative is %q", c.of, got.Label)
		}
	}
	if want, got := "Compliance of the last 24 hours: from 80.0 % to 79.0 %, lowest 79.0 %, highest 81.0 %", curveOf(Trend{80, 81, 79}).Label; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestGain(t *testing.T) {
	for want, f := range map[string]Finding{
		"":                    {},
		"+2.3":                {Gain: ptr(2.3)},
		"less than +0.1":      {Gain: ptr(0.01)},
		"+5.6, then Healthy":  {Gain: ptr(5.6), GradeAfter: "Healthy"},
		"+0.1, then Degraded": {Gain: ptr(0.06), GradeAfter: "Degraded"},
	} {
		if got := gain(f); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := gain(Finding{Gain: ptr(1.0), Waiver: "SEC-1"}); got != "" {
		t.Errorf("the fix of a waived finding gives back %q", got)
	}
}

// BenchmarkRender renders a page of 5,000 namespaces.
func BenchmarkRender(b *testing.B) {
	view := overview(5000, PerPage, 1)
	for b.Loop() {
		rendered(b, view)
	}
}
