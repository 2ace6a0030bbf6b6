package rules_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

const megabyte = 1 << 20

// allocated is how many bytes a function allocates, all in all and not at once: a bound of that is a bound of memory.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

const hostileHead = "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: hostile}\n"

// TestHostileTables gives Load what somebody might write to hurt it: one clear error each time, and little memory.
func TestHostileTables(t *testing.T) {
	check := func(violation string) string {
		return hostileHead + "checks:\n  - {id: c, weight: 1, violation: " + violation + "}\n"
	}
	bomb := func() string {
		text := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
		for i := range 9 {
			text += fmt.Sprintf("a%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), i)
		}
		return text
	}
	lines := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	ids := func(n int) string {
		return hostileHead + "checks:\n" + lines(500, "  - {id: "+strings.Repeat("a", 59)+"%04d, weight: 1, violation: {path: a, operator: exists}}\n") +
			"waivers:\n  - id: w\n    reason: r\n    expires: 2030-12-31\n    check:\n" + lines(n, "      - "+strings.Repeat("b", 59)+"%d\n")
	}
	tests := []struct {
		name, text string
		want       string // how the error begins
		megabytes  uint64
	}{
		{"an alias bomb", bomb(), "f:1: anchors and aliases are not allowed; repeat the value instead", 4},
		{"an alias bomb in a check", check("{path: a, operator: in, value: &v [x, *v]}"), "f:5: anchors and aliases are not allowed; repeat the value instead", 4},
		{"a bomb of merges", hostileHead + "a: &a {b: c}\nchecks: [{<<: *a}]\n", "f:4: anchors and aliases are not allowed; repeat the value instead", 4},
		{"10 MB", check("{path: a, operator: exists}") + strings.Repeat("# 345678\n", 10*megabyte/9), "f: the file is larger than 1048576 bytes", 1},
		{"10 MB without a line break", strings.Repeat("a", 10*megabyte), "f: the file is larger than 1048576 bytes", 1},
		{"deep lists", strings.Repeat("[", megabyte), "f: not valid YAML: exceeded max depth of 10000", 64},
		{"deep mappings", strings.Repeat("{a: ", megabyte/4), "f: not valid YAML: exceeded max depth of 10000", 64},
		{"deep lists of dashes", strings.Repeat("- ", megabyte/2), "f: not valid YAML: exceeded max depth of 10000", 64},
		{"deep lists that end", check("{path: a, operator: in, value: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}"), "f:5: check c: value of in entry 1 must be a string in quotes, a number or a boolean, got a list", 64},
		{"deep lists for a length", check("{path: a, operator: length, value: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}"), "f:5: check c: value of length must be an integer of 0 or greater", 64},
		{"deep predicates", check(strings.Repeat("{not: ", 3000) + "{path: a, operator: exists}" + strings.Repeat("}", 3000)), "f:5: check c: predicates may be nested at most 16 deep", 64},
		{"wide predicates", check("{all: [" + strings.Repeat("{path: a, operator: exists}, ", 30000) + "]}"), "f:5: check c: a condition may have at most 200 predicates", 256},
		{"a thousand checks", hostileHead + "checks:\n" + lines(1000, "  - {id: c%d, weight: 1, violation: {path: a, operator: exists}}\n"), "f:5: checks must have 1 to 500 entries, got 1000", 64},
		{"a hundred thousand errors", hostileHead + "checks: []\n" + lines(100000, "a%d:\n"), `f:4: checks must have 1 to 500 entries, got 0`, 256},
		{"a word that is like no other", check("{path: a, operator: " + strings.Repeat("x", 1000000) + "}"), `f:5: check c: unknown operator "xxx`, 64},
		{"very many checks that are like others", ids(13500), `f:510: waiver w: unknown check "bbb`, 128},
		{"a waiver of everything", hostileHead + "checks: [{id: c, weight: 1, violation: {path: a, operator: exists}}]\nwaivers:\n" + lines(20000, "  - {id: w%d, reason: r, expires: 2030-12-31}\n"), "f:6: there are 20000 waivers; at most 1000 are allowed", 256},
		{"an expression of 10 KB", check(`{path: a, operator: matches, value: "` + strings.Repeat("a", 10000) + `"}`), "f:5: check c: value of matches is an expression of 10000 bytes; at most 1024 are allowed", 4},
		{"repeats of repeats", check(`{path: a, operator: matches, value: "((a{100}){100}){100}"}`), "f:5: check c: value of matches is not a valid RE2 expression: invalid repeat count", 4},
		{"repeats beside one another", check(`{path: a, operator: matches, value: "` + strings.Repeat("a{99}", 200) + `"}`), "f:5: check c: value of matches compiles to 19802 instructions; at most 2000 are allowed", 16},
		{"classes of all letters", check(`{path: a, operator: matches, value: '` + strings.Repeat(`\pL{100}`, 100) + `'}`), "f:5: check c: value of matches compiles to 10002 instructions; at most 2000 are allowed", 64},
		{"a thousand parentheses", check(`{path: a, operator: matches, value: "` + strings.Repeat("(", 510) + strings.Repeat(")", 510) + `"}`), "", 16},
		{"a path of 100 KB", check("{path: " + strings.Repeat("a.", 50000) + "a, operator: exists}"), `f:5: check c: path "a.a.`, 16},
		{"a field twice", check("{path: a, operator: exists, path: b}"), `f:5: check c: duplicate field "path"`, 4},
		{"a field ten thousand times", check("{path: a, operator: exists" + strings.Repeat(", path: b", 10000) + "}"), `f:5: check c: duplicate field "path"`, 64},
		{"invalid UTF-8", hostileHead + "checks: [\xff]\n", "f: not valid YAML: invalid leading UTF-8 octet", 4},
		{"half a letter", hostileHead + "checks: [\xc3]\n", "f: not valid YAML: ", 4},
		{"a surrogate", hostileHead + "checks: [\xed\xa0\x80]\n", "f: not valid YAML: ", 4},
		{"NUL", hostileHead + "checks: [\x00]\n", "f: not valid YAML: control characters are not allowed", 4},
		{"NUL alone", "\x00", "f: not valid YAML: control characters are not allowed", 4},
		{"NUL in a text", check(`{path: "a\0", operator: exists}`), `f:5: check c: path "a\x00" has the invalid character "\x00"`, 4},
		{"a huge number", check("{path: a, operator: greaterThan, value: " + strings.Repeat("9", 500000) + "}"), "f:5: check c: value of greaterThan must be a number", 64},
		{"a huge exponent", check("{path: a, operator: quantityGreaterThan, value: 1e999999999}"), "f:5: check c: value of quantityGreaterThan is too big to compare", 4},
		{"a huge quantity", check("{path: a, operator: quantityGreaterThan, value: " + strings.Repeat("9", 500000) + "}"), "f:5: check c: value of quantityGreaterThan is too big to compare", 16},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && len(tt.text) > 300_000 {
				t.Skip("a short run takes no large texts")
			}
			var err error
			text, table := []byte(tt.text), load(t, waivedTable)
			bytes := allocated(func() { _, err = rules.Load("f", text) })
			if bytes > tt.megabytes*megabyte {
				t.Errorf("%d bytes are allocated for %d bytes, want at most %d MB", bytes, len(tt.text), tt.megabytes)
			}
			message := fmt.Sprint(err)
			if tt.want == "" {
				if err != nil {
					t.Errorf("error %.300s, want none", message)
				}
				return
			}
			if !strings.HasPrefix(message, tt.want) {
				t.Errorf("error:\n%.300s\nwant:\n%s", message, tt.want)
			}
			if lines := strings.Count(message, "\n"); lines > 100 || len(message) > 2*megabyte {
				t.Errorf("the error has %d lines and %d bytes", lines, len(message))
			}
			// The same as a file of waivers: there too.
			if bytes := allocated(func() { _, err = table.WithWaivers("f", text) }); err == nil || bytes > tt.megabytes*megabyte {
				t.Errorf("as waivers: error %v, %d bytes are allocated, want at most %d MB", err, bytes, tt.megabytes)
			}
		})
	}
}

// TestHostilePods gives pods to a table that uses all there is. What no API server would send has no verdict, and costs
// no more memory than a small part of its text. What only takes long to look at has one, with unknown violations.
func TestHostilePods(t *testing.T) {
	table := load(t, `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: hostile}
pods: {skip: [{reason: job, when: {path: metadata.ownerReferences.#.kind, operator: equals, value: Job}}]}
checks:
  - {id: latest_tag, weight: 1, forEach: [spec.containers, 'spec.initContainers.#(restartPolicy=="Always")#'], violation: {path: image, operator: imageTag, value: latest}}
  - {id: cpu, weight: 1, forEach: spec.containers, when: {path: $.spec.hostNetwork, operator: absent}, violation: {path: resources.limits.cpu, operator: quantityGreaterThan, value: 500m}}
  - {id: ports, weight: 1, forEach: spec.containers, violation: {path: ports, operator: length, value: {min: 100}}}
  - {id: args, weight: 1, forEach: spec.containers, violation: {path: args, operator: oneOf, value: [a, b]}}
  - {id: name, weight: 1, violation: {path: metadata.name, operator: matches, value: "^(?:[a-z0-9]{1,63}-?){1,9}x$"}}
waivers:
  - {id: w, reason: r, expires: 2030-12-31, container: "*a*a*a*a*b", labels: {a: b}}
  - {id: v, reason: r, expires: 2030-12-31, pod: "*a*a*a*a*b"}
`)
	// Many times the subjects that a check may have.
	many := 1_000_000
	if testing.Short() {
		many = 100_000
	}
	repeat := func(n int, part string) string { return strings.TrimSuffix(strings.Repeat(part+",", n), ",") }
	tests := []struct {
		name, pod string
		want      string // the error; empty: none
		megabytes uint64
	}{
		{"very many containers", `{"spec":{"containers":[` + repeat(many, "{}") + `]}}`, "", 32},
		{"very many containers that fail", `{"spec":{"containers":[` + repeat(many, `{"image":"a"}`) + `]}}`, "", 32},
		{"very many init containers with few that are checked", `{"spec":{"initContainers":[` + repeat(many, "{}") + `,{"image":"a","restartPolicy":"Always"}]}}`, "", 32},
		{"very many elements that are not containers", `{"spec":{"containers":[` + repeat(many, "[]") + `]}}`, "", 32},
		{"very many owners", `{"metadata":{"ownerReferences":[` + repeat(many, "{}") + `]},"spec":{"containers":[{"image":"a"}]}}`, "", 256},
		{"very many ports", `{"spec":{"containers":[{"ports":[` + repeat(many, "{}") + `]}]}}`, "", 32},
		{"nested 10,000 deep", `{"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, "JSON nested deeper than 200 at byte 204", 1},
		{"nested 10,000 deep in objects", strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), "JSON nested deeper than 200 at byte 1000", 1},
		{"nested without an end", strings.Repeat("[", 5_000_000), "a pod must be a JSON object at byte 0", 1},
		{"nested without an end in objects", strings.Repeat(`{"a":`, 1_000_000), "JSON nested deeper than 200 at byte 1000", 1},
		{"a key twice", `{"spec":{"containers":[],"containers":[{"image":"a"}]}}`, `duplicate key "containers" at byte 25`, 1},
		{"a key very many times", `{` + repeat(many, `"a":1`) + `}`, `duplicate key "a" at byte 7`, 1},
		{"invalid UTF-8", `{"metadata":{"name":"` + "\xff" + `"}}`, "invalid UTF-8 at byte 21", 1},
		{"NUL", `{"metadata":{"name":"` + "\x00" + `"}}`, "control character in a string at byte 21", 1},
		{"NUL, escaped", `{"metadata":{"name":"\u0000"},"spec":{"containers":[{"name":"\u0000","image":"\u0000"}]}}`, "", 1},
		{"a name of 4 MB", `{"metadata":{"name":"` + strings.Repeat("a", 4*megabyte) + `"}}`, "", 1},
		{"a container's name of 4 MB", `{"spec":{"containers":[{"image":"a","name":"` + strings.Repeat("a", 4*megabyte) + `"}]}}`, "", 16},
		{"an image of 4 MB", `{"spec":{"containers":[{"image":"` + strings.Repeat("a/", 2*megabyte) + `"}]}}`, "", 1},
		{"an image of 4 MB of colons", `{"spec":{"containers":[{"image":"` + strings.Repeat(":", 4*megabyte) + `"}]}}`, "", 1},
		{"a quantity of 4 MB", `{"spec":{"containers":[{"image":"a:1","resources":{"limits":{"cpu":"` + strings.Repeat("9", 4*megabyte) + `"}}}]}}`, "", 1},
		{"a number of 4 MB", `{"spec":{"containers":[{"image":"a:1","resources":{"limits":{"cpu":` + strings.Repeat("9", 4*megabyte) + `}}}]}}`, "", 16},
		{"an exponent", `{"spec":{"containers":[{"image":"a:1","resources":{"limits":{"cpu":1e999999999}}},{"image":"a:1","resources":{"limits":{"cpu":"1e-999999999"}}}]}}`, "", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pod := []byte(tt.pod)
			var err error
			var verdict rules.Verdict
			bytes := allocated(func() { verdict, err = table.Evaluate(pod) })
			if bytes > tt.megabytes*megabyte {
				t.Errorf("%d bytes are allocated for %d bytes, want at most %d MB", bytes, len(pod), tt.megabytes)
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) {
				t.Errorf("error %.300v, want %s", err, tt.want)
			}
			if err != nil && len(verdict.Subjects)+len(verdict.Violations) > 0 {
				t.Errorf("there is a verdict: %v", verdict)
			}
		})
	}
}

// TestHostileWaivers has as many waivers as there may be, for a pod of as many violations as there may be.
func TestHostileWaivers(t *testing.T) {
	waivers := make([]string, 999)
	for i := range waivers {
		waivers[i] = fmt.Sprintf(`id: w%d, expires: 2030-12-31, namespace: "*a*%d", container: "*a*a*b"`, i, i)
	}
	table := withWaivers(t, waivers...)
	pod := []byte(`{"metadata":{"namespace":"a7","labels":{"a":"b"}},"spec":{"containers":[` +
		strings.TrimSuffix(strings.Repeat(`{"image":"a","name":"`+strings.Repeat("a", 60)+`"},`, rules.MaxSubjects), ",") + `]}}`)
	var verdict rules.Verdict
	bytes := allocated(func() {
		if err := table.EvaluateInto(&verdict, pod); err != nil {
			t.Fatal(err)
		}
	})
	if len(verdict.Violations) != 2*rules.MaxSubjects+1 || bytes > 32*megabyte {
		t.Errorf("%d violations and %d bytes allocated, want %d and at most 32 MB", len(verdict.Violations), bytes, 2*rules.MaxSubjects+1)
	}
}

// TestMemoryIsSteady evaluates hostile and sound pods by turns: what one has cost is given back.
func TestMemoryIsSteady(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	table := defaultTable(t)
	pods := [][]byte{
		realisticPod(t, false),
		[]byte(`{"spec":{"containers":[` + strings.TrimSuffix(strings.Repeat("{},", 1_000_000), ",") + `]}}`),
		[]byte(`{"a":` + strings.Repeat("[", 10_000)),
		[]byte(`{"a":"` + strings.Repeat(`\u0000`, 100_000) + `"}`),
	}
	live := func() uint64 {
		for range 3 { // a pool gives back what it holds with the second collection
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := live()
	for range rounds {
		for _, pod := range pods {
			_, _ = table.Evaluate(pod)
		}
	}
	if after := live(); after > before+megabyte {
		t.Errorf("%d bytes are in use before and %d after", before, after)
	}
	runtime.KeepAlive(pods)
}
