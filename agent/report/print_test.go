package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kube-devops/kube-devops/agent/state"
)

// TestFormatNamed finds formats by their names.
func TestFormatNamed(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range Formats() {
		if seen[f.Name] || f.Help == "" {
			t.Errorf("format %q stands there twice, or has no help", f.Name)
		}
		seen[f.Name] = true
		if got, err := FormatNamed(f.Name); err != nil || got.Name != f.Name {
			t.Errorf("%s: %v, %v", f.Name, got.Name, err)
		}
	}
	const all = " (there are table, json, yaml, ndjson, sarif, junit, github, markdown, html, prometheus)"
	for name, want := range map[string]string{
		"jsn": `unknown format "jsn"; did you mean "json"?` + all, "prom": `unknown format "prom"; did you mean "prometheus"?` + all,
		"JSON": `unknown format "JSON"; did you mean "json"?` + all, "pdf": `unknown format "pdf"` + all, "": `unknown format ""` + all,
	} {
		if _, err := FormatNamed(name); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %s", name, err, want)
		}
	}
}

// TestTop bounds the lists for people, and says what else there is.
func TestTop(t *testing.T) {
	scan := large(t, 30_000) // 30 namespaces, 3,000 workloads
	for form, want := range map[string][]string{
		"table":    {"\nand 28 more namespaces\n", "\nand 2,998 more workloads\n"},
		"markdown": {"\nand 28 more namespaces\n", "\nand 2,998 more workloads\n"},
	} {
		format, err := FormatNamed(form)
		if err != nil {
			t.Fatal(err)
		}
		text := string(printed(t, format.Print, scan, Options{Top: 2}))
		for _, part := range append(want, "team-000", "team-001", "Deployment/web-0", "Deployment/web-1 ") {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q is missing in:\n%s", form, part, text)
			}
		}
		if strings.Contains(text, "team-002") || strings.Contains(text, "web-2 ") {
			t.Errorf("%s: more than 2 of a list:\n%s", form, text)
		}
	}
	text := string(printed(t, Table, scan, Options{}))
	if n := strings.Count(text, "Deployment/web-"); n != 3000 || strings.Contains(text, " more ") {
		t.Errorf("all workloads were asked for, and %d stand there", n)
	}
}

// TestCommentFits prints a scan whose lists would be far too long for a comment.
func TestCommentFits(t *testing.T) {
	scan := large(t, 20_000)
	for i := range 1000 {
		scan.Inputs.Unreadable = append(scan.Inputs.Unreadable, fmt.Sprintf("%d: %s", i, strings.Repeat("|", 1000)))
	}
	changes := baselineOf(t, []byte(`{"policy": {"name": "default", "hash": ""}, "violations": []}`)).Compare(scan)
	for _, o := range []Options{{}, {Top: 20}, {Baseline: changes}, {Baseline: changes, Top: 500}} {
		text := printed(t, Markdown, scan, o)
		if len(text) > 65_536 || !utf8.Valid(text) {
			t.Errorf("%+v: %d bytes, valid %v", o, len(text), utf8.Valid(text))
		}
		if open, closed := bytes.Count(text, []byte("<details>")), bytes.Count(text, []byte("</details>")); open != closed {
			t.Errorf("%+v: %d parts are opened and %d closed", o, open, closed)
		}
		cut := bytes.Contains(text, []byte("\nCut to the size of a comment: "))
		if want := o.Top != 20; cut != want {
			t.Errorf("%+v: cut %v, want %v; it ends with %s", o, cut, want, text[len(text)-500:])
		}
	}
}

// TestAnnotationsAreFew counts what GitHub would show of many findings, and that the worst come first.
func TestAnnotationsAreFew(t *testing.T) {
	text := string(printed(t, GitHub, large(t, 5000), Options{}))
	got := make(map[string]int)
	for line := range strings.Lines(text) {
		level, _, _ := strings.Cut(line, " ")
		got[level]++
	}
	if diff := cmp.Diff(map[string]int{"::error": 10, "::warning": 10, "::notice": 1}, got); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	// 500 workloads violate three checks each.
	if want := "%0A1,480 more findings without an annotation: GitHub shows 10 of each level."; !strings.Contains(text, want) {
		t.Errorf("%q is missing in:\n%s", want, text)
	}
}

// TestAnnotationEscapes has the characters that mean something in a workflow command.
func TestAnnotationEscapes(t *testing.T) {
	var b bytes.Buffer
	annotate(&b, "error", "a:b,c%d\r\ne", "x,y:z%.yaml", 7, "50 %\nf: g, h\r::warning::i")
	want := "::error file=x%2Cy%3Az%25.yaml,line=7,title=a%3Ab%2Cc%25d  e::50 %25%0Af: g, h ::warning::i\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTableFitsATerminal prints tables for narrow terminals, names as long as Kubernetes has them among others.
func TestTableFitsATerminal(t *testing.T) {
	long := newScan(shipped(t, "recommended"))
	for i := range 3 {
		namespace, pod := strings.Repeat("n", 63), strings.Repeat("p", 250)+fmt.Sprint(i)
		if _, err := long.state.Observe(state.Pod{Namespace: namespace, Name: pod}, []byte(nginx)); err != nil {
			t.Fatal(err)
		}
	}
	scans := recorded(t)
	scans["long names"] = func() (*Scan, Options) { return long.done(), Options{} }
	for name, open := range scans {
		scan, o := open()
		scan.Inputs.Unreadable = nil
		o.Baseline = nil // its headline is a sentence, which a terminal breaks
		for _, width := range []int{80, 100, 132} {
			o.Width = width
			for line := range strings.Lines(string(printed(t, Table, scan, o))) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
					t.Errorf("%s: a line of %d characters for %d columns: %s", name, n, width, line)
				}
			}
		}
	}
}

// TestColorIsOnlyColor takes the escape sequences out of a coloured table: what remains is the one without.
func TestColorIsOnlyColor(t *testing.T) {
	seen := make(map[string]bool)
	for name, open := range recorded(t) {
		scan, o := open()
		without := string(printed(t, Table, scan, o))
		o.Color = true
		with := string(printed(t, Table, scan, o))
		for _, code := range []string{bold, dim, red, green, yellow, "\x1b[0m"} {
			seen[code] = seen[code] || strings.Contains(with, code)
			with = strings.ReplaceAll(with, code, "")
		}
		if diff := cmp.Diff(without, with); diff != "" {
			t.Errorf("%s (-without +with):\n%s", name, diff)
		}
	}
	for code, is := range seen {
		if !is {
			t.Errorf("%q is used nowhere", code)
		}
	}
}

// TestExplainGivesBack mends for real what the explanation says: a pod without the violations has the scores that were
// foretold, to the last digit.
func TestExplainGivesBack(t *testing.T) {
	const sick, noTag, probed, sound = `{"name": "a", "image": "a:latest"}`, `{"name": "a", "image": "a:1"}`,
		`{"name": "a", "image": "a:latest", "livenessProbe": {}, "readinessProbe": {}}`, `{"name": "a", "image": "a:1", "livenessProbe": {}, "readinessProbe": {}}`
	build := func(first, second string) *state.NamespaceSnapshot {
		b := newScan(shipped(t, "default"))
		for i, container := range []string{first, second, sound} {
			if _, err := b.state.Observe(state.Pod{Namespace: "shop", Name: fmt.Sprint(i)}, []byte(`{"spec": {"containers": [`+container+`]}}`)); err != nil {
				t.Fatal(err)
			}
		}
		return &b.done().Snapshot.Namespaces[0]
	}
	table := shipped(t, "default")
	ns := build(sick, probed)
	for _, test := range []struct {
		name  string
		fewer []int
		fixed *state.NamespaceSnapshot
	}{
		{"the check latest_tag", []int{2, 0, 0}, build(noTag, sound)},
		{"the first workload", []int{1, 1, 1}, build(sound, probed)},
		{"the second workload", []int{1, 0, 0}, build(sick, sound)},
		{"nothing", []int{0, 0, 0}, ns},
		{"all", []int{2, 1, 1}, build(sound, sound)},
	} {
		want, _ := test.fixed.Scores(table)
		if got := without(table, ns, test.fewer); got != want {
			t.Errorf("%s: %v, want %v", test.name, got, want)
		}
	}
	if diff := cmp.Diff([]int{2, 1, 1}, ns.Violations); diff != "" {
		t.Errorf("the counts of the snapshot have changed (-want +got):\n%s", diff)
	}
}

// TestExplainUnknownNamespace names namespaces that are spelled alike.
func TestExplainUnknownNamespace(t *testing.T) {
	scan, o := recorded(t)["shop"]()
	empty := newScan(shipped(t, "default")).done()
	for _, test := range []struct {
		name string
		scan *Scan
		want string
	}{
		{"chekout", scan, `no pods in namespace "chekout"; did you mean "checkout"?`},
		{"store", scan, `no pods in namespace "store"; did you mean "storefront"?`},
		{"Search", scan, `no pods in namespace "Search"; did you mean "search"?`},
		{"zebra", scan, `no pods in namespace "zebra" (of 5 namespaces)`},
		{"kube-system", scan, `the policy excludes namespace "kube-system"`},
		{"shop", empty, `no pods in namespace "shop", nor in any other`},
		{"a\nb\x1b", scan, `no pods in namespace "a\nb\x1b" (of 5 namespaces)`},
	} {
		var b bytes.Buffer
		if err := Explain(&b, test.scan, []string{test.name}, o); err == nil || err.Error() != test.want {
			t.Errorf("%q: error %v, want %s", test.name, err, test.want)
		}
		if b.Len() > 0 {
			t.Errorf("%q: an error and an explanation", test.name)
		}
	}
}

// TestWaivedAreNamed looks for the waiver and its end in the forms that list what is waived.
func TestWaivedAreNamed(t *testing.T) {
	scan, _ := bookshop(t)
	for _, format := range Formats() {
		text := string(printed(t, format.Print, scan, Options{Waived: true}))
		if format.Name == "github" {
			if !strings.Contains(text, "4 violations waived.") {
				t.Errorf("github does not count what is waived:\n%s", text)
			}
			continue
		}
		if !strings.Contains(text, "node-agent-host") || !strings.Contains(text, "2099-06-30") && !strings.Contains(text, "4.0864608e+09") {
			t.Errorf("%s names no waiver or not its end:\n%s", format.Name, text)
		}
	}
}

// TestJUnitCounts adds up the test cases.
func TestJUnitCounts(t *testing.T) {
	type counts struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
	}
	type suites struct {
		counts
		Suites []struct {
			counts
			Name  string `xml:"name,attr"`
			Cases []struct {
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	for folder, open := range recorded(t) {
		scan, o := open()
		var got suites
		if err := xml.Unmarshal(printed(t, JUnit, scan, o), &got); err != nil {
			t.Fatal(err)
		}
		var whole counts
		for _, suite := range got.Suites {
			var sum counts
			for _, c := range suite.Cases {
				sum.Tests++
				sum.Failures += map[bool]int{true: 1}[c.Failure != nil]
				sum.Errors += map[bool]int{true: 1}[c.Error != nil]
				sum.Skipped += map[bool]int{true: 1}[c.Skipped != nil]
			}
			if sum != suite.counts {
				t.Errorf("%s/%s: %v, want %v", folder, suite.Name, suite.counts, sum)
			}
			whole.Tests += sum.Tests
			whole.Failures += sum.Failures
			whole.Errors += sum.Errors
			whole.Skipped += sum.Skipped
		}
		if whole != got.counts || whole.Tests == 0 {
			t.Errorf("%s: %v, want %v", folder, got.counts, whole)
		}
	}
}

// TestPercent never shows more than there is, nor a grade's bound that was not reached.
func TestPercent(t *testing.T) {
	for compliance, want := range map[float64]string{
		0: "0.0 %", 100: "100.0 %", 80: "80.0 %", 79.999999999: "79.9 %", 29.3: "29.3 %", 99.96: "99.9 %", 66.66666666666667: "66.6 %",
		1e-9: "0.0 %", math.Nextafter(60, 0): "59.9 %",
	} {
		if got := percent(compliance); got != want {
			t.Errorf("%v: %s, want %s", compliance, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		compliance := rapid.Float64Range(0, 100).Draw(t, "compliance")
		shown, err := strconv.ParseFloat(strings.TrimSuffix(percent(compliance), " %"), 64)
		if err != nil || shown > compliance || compliance-shown >= 0.1 {
			t.Fatalf("%v is shown as %s", compliance, percent(compliance))
		}
	})
}

// TestClipped keeps both ends of a long text, and is as wide as it may be.
func TestClipped(t *testing.T) {
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{
		{"short", 5, "short"}, {"checkout-7d9c5b6f4-85w6b", 11, "check…85w6b"}, {"abcdef", 4, "ab…f"}, {"abc", 2, "a…"}, {"abc", 1, "…"}, {"abc", 0, ""},
		{"äöüßéè", 5, "äö…éè"},
	} {
		if got := elided(test.text, test.width); got != test.want {
			t.Errorf("%q in %d: %q, want %q", test.text, test.width, got, test.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text, width := rapid.String().Draw(t, "text"), rapid.IntRange(0, 20).Draw(t, "width")
		got := elided(text, width)
		if n := utf8.RuneCountInString(got); n != min(width, utf8.RuneCountInString(text)) {
			t.Fatalf("%q in %d: %q has %d characters", text, width, got, n)
		}
	})
}

// TestNumber groups digits.
func TestNumber(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -123: "-123"} {
		if got := number(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
