package report

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
)

// hostileDocument returns a report with hostile names.
func hostileDocument(extra string) string {
	return `{"policy":{"name":"p\u001b[31m","hash":"sha256:0123456789abcdef"},
"scope":{"namespaces":["a"],"forbidden":["b\u202e"]},"unknown":[[{"a":[1,"]"]}]],
"cluster":{"namespaces":1,"pods":3,"score":2,"compliance":50,"grade":"<b>","violations":{"c":3}},
"namespaces":[{"namespace":"a\n","pods":3,"score":2,"compliance":50,"grade":"G","violations":{"c":3,"d":0}},
  {"namespace":"none","pods":0,"score":null,"compliance":null,"grade":null,"violations":{"c":0}}],
"version":1,
"violations":[
  {"namespace":"a\n","pod":"x-1","check":"c","severity":"high","weight":5,"container":"web","message":"bad\u001b[2J","remediation":"Fix it."},
  {"namespace":"a\n","pod":"x-2","check":"c","severity":"high","weight":5,"container":"web","message":"bad\u001b[2J","remediation":"Fix it."},
  {"namespace":"other","pod":"y","check":"c","severity":"high","weight":5,"message":"m"},
  {"namespace":"a\n","pod":"x-1","check":"e","severity":"new one","weight":1,"message":"odd","unknown":true}],
"waived":[{"namespace":"a\n","pod":"x-1","check":"d","severity":"low","weight":1,"message":"m","waiver":"w","expires":"2030-01-31T00:00:00Z"}],
"warnings":["Waiver w2 expired."]` + extra + `}`
}

var keepAll = ReadOptions{
	Namespace:  func(*DocumentNamespace) bool { return true },
	Violations: func(namespace string) bool { return namespace == "a\n" },
}

// TestDocument prints what a report has, and nothing of it that a terminal would interpret.
func TestDocument(t *testing.T) {
	doc, err := ReadDocument(strings.NewReader(hostileDocument("")), keepAll)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, print := range []func(io.Writer, *Document, Options) error{
		DocumentScores, DocumentWaivers,
		func(to io.Writer, doc *Document, o Options) error { return DocumentExplain(to, doc, "a\n", o) },
		func(to io.Writer, doc *Document, _ Options) error { return DocumentScoresJSON(to, doc) },
		func(to io.Writer, doc *Document, _ Options) error { return DocumentWaiversJSON(to, doc) },
		func(to io.Writer, doc *Document, _ Options) error { return DocumentExplainJSON(to, doc, "a\n") },
	} {
		if err := print(&text, doc, Options{Width: 100}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		`Cluster: compliance 50.0 %, score 2.00, <b>: 1 namespace, 3 pods, 3 violations.`, `x-1 and 1 more pod  web  c: bad`, "e (unknown): odd",
		"c (high): Fix it.", "2030-01-31", "1 violation waived", "The agent watches only a.", "Waiver w2 expired.", "no data",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is missing in\n%s", want, text.String())
		}
	}
	if at := strings.IndexFunc(text.String(), func(r rune) bool { return r == 0x1b || r == 0x202e }); at >= 0 {
		t.Errorf("a terminal would interpret %q", text.String()[max(0, at-20):at+10])
	}
	if err := DocumentExplain(io.Discard, doc, "other", Options{}); err == nil {
		t.Error("a namespace that the report does not have is explained")
	}
}

// TestDocumentErrors checks that an incomplete or invalid report is an error.
func TestDocumentErrors(t *testing.T) {
	whole := hostileDocument("")
	for cut := range len(whole) - 1 {
		if _, err := ReadDocument(strings.NewReader(whole[:cut]), keepAll); err == nil {
			t.Fatalf("a report of %d of %d bytes is accepted", cut, len(whole))
		}
	}
	for text, want := range map[string]string{
		"null": `"{" is missing`, whole + "1": "there is data after its end", hostileDocument(`,"version":1`): `duplicate key "version"`,
		strings.Replace(whole, `"version":1`, `"version":2`, 1): "this program reads version 1", strings.Replace(whole, `"policy"`, `"p"`, 1): "version, policy, cluster or namespaces is missing",
		strings.Replace(whole, `"pods":3`, `"pods":"3"`, 1): "cannot unmarshal", hostileDocument(`,"x":` + strings.Repeat("[", 101)): "nested too deeply",
		strings.Replace(whole, `"bad`, `"`+strings.Repeat("a", maxToken)+`bad`, 1): "an element is larger",
	} {
		if _, err := ReadDocument(strings.NewReader(text), keepAll); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"<!DOCTYPE html>": "not a report: the response is HTML; is it a login page?", "<html>": "not a report: the response is HTML; is it a login page?",
	} {
		if _, err := ReadDocument(strings.NewReader(text), keepAll); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// TestDocumentNumbers checks that a report with impossible numbers is an error, for the cluster and for a namespace.
func TestDocumentNumbers(t *testing.T) {
	for counts, want := range map[string]string{
		``: "", `"compliance":0`: "", `"compliance":100,"score":0`: "", `"compliance":null`: "", `"pods":2147483647`: "", `"violations":{"c":0}`: "",
		`"compliance":-5`: "compliance is -5", `"compliance":100.5`: "compliance is 100.5", `"compliance":1e300`: "compliance is 1e+300",
		`"score":-1`: "score is -1", `"score":1e308`: "score is 1e+308",
		`"pods":-3`: "pods is -3", `"pods":9223372036854775807`: "pods is 9223372036854775807", `"namespaces":-1`: "namespaces is -1",
		`"violations":{"c":-1}`: "violations of c is -1", `"violations":{"c":0,"d":2147483648}`: "violations of d is 2147483648",
	} {
		for place, text := range map[string]string{
			`"cluster": `:            `{"version":1,"policy":{},"cluster":{%s},"namespaces":[]}`,
			`"namespaces": "team": `: `{"version":1,"policy":{},"cluster":{},"namespaces":[{"namespace":"team"},{%s,"namespace":"team"}]}`,
		} {
			text = strings.Replace(fmt.Sprintf(text, counts), "{,", "{", 1)
			_, err := ReadDocument(strings.NewReader(text), keepAll)
			if got := fmt.Sprint(err); want == "" && err != nil || want != "" && got != "not a report: "+place+want {
				t.Errorf("%s: %v, want %q", text, err, want)
			}
		}
	}
	for _, counts := range []string{`"compliance":1e999`, `"pods":9223372036854775808`, `"pods":1.5`} {
		if _, err := ReadDocument(strings.NewReader(`{"version":1,"policy":{},"cluster":{`+counts+`},"namespaces":[]}`), keepAll); err == nil {
			t.Errorf("%s is accepted", counts)
		}
	}
}

// TestDocumentMemory checks that a report with many violations needs no more memory than one with a few.
func TestDocumentMemory(t *testing.T) {
	violations := 8_000
	if !testing.Short() {
		violations = 200_000
	}
	reader, writer := io.Pipe()
	go func() {
		before, after, _ := strings.Cut(hostileDocument(""), `"violations":[`)
		_, _ = io.WriteString(writer, before+`"violations":[`)
		for i := range violations {
			_, _ = fmt.Fprintf(writer, `{"namespace":"other","pod":"pod-%d","check":"c","severity":"high","weight":5,"message":%q},`, i, strings.Repeat("m", 300))
		}
		_, err := io.WriteString(writer, after)
		_ = writer.CloseWithError(err)
	}()
	var most uint64
	started := time.Now()
	o := ReadOptions{Namespace: keepAll.Namespace, Violations: keepAll.Violations}
	read := 0
	o.Violations = func(namespace string) bool {
		if read++; read%(violations/4) == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		return keepAll.Violations(namespace)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	doc, err := ReadDocument(reader, o)
	if err != nil || len(doc.Violations) != 3 {
		t.Fatalf("%v", err)
	}
	if grown := int64(most) - int64(m.HeapAlloc); grown > 2<<20 {
		t.Errorf("reading %d violations needed %d bytes", violations, grown)
	}
	t.Logf("%d violations in %s", violations, time.Since(started).Round(time.Millisecond))
}
