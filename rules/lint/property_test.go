package lint_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/dump/dumptest"
	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/lint"
	"github.com/kube-devops/kube-devops/rules/schema"
)

// TestWarningsAreTrue makes random conditions about few paths and few values, and random subjects: what a warning says of
// all subjects must hold of these.
func TestWarningsAreTrue(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	conditions := 3000
	if testing.Short() {
		conditions = 1000
	}
	subjects := make([]string, 1500)
	for i := range subjects {
		subjects[i] = randomSubject(r)
	}
	pods, err := schema.Parse([]byte(`{"root":{"$ref":"#/$defs/Pod"},"$defs":{"Pod":{"type":"object","properties":{
		"v":{},"o":{},"l":{},"t":{"type":"string"},"n":{"type":"integer"},"b":{"type":"boolean"},"e":{"$ref":"#/$defs/E"}}},
		"E":{"type":"string","enum":["a","ab"]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	never, always := 0, 0
	for range conditions {
		paths := []string{pick(r, conditionPaths), pick(r, conditionPaths)}
		condition, err := json.Marshal(randomCondition(r, paths, 1))
		if err != nil {
			t.Fatal(err)
		}
		table, text := tableText(t, "", string(condition))
		for _, warning := range lint.Warnings(table, "f", text, lint.Options{Pods: pods, Now: newYear}) {
			isNever := strings.Contains(warning.Msg, "the violation can never be true")
			if !isNever && !strings.Contains(warning.Msg, "the violation is always true") {
				continue // about a part of it
			}
			if isNever {
				never++
			} else {
				always++
			}
			for _, subject := range subjects {
				if got := violates(t, table, subject); got == isNever {
					t.Fatalf("%s: %s, but %t of %s", condition, warning.Msg, got, subject)
				}
			}
		}
	}
	if never < conditions/60 || always < conditions/600 {
		t.Errorf("%d conditions are never and %d always true: the test tries too few", never, always)
	}
}

// randomSubject has some of the fields of the schema above.
func randomSubject(r *rand.Rand) string {
	anything := []string{`null`, `true`, `false`, `0`, `1`, `2`, `1.5`, `-1`, `"a"`, `"ab"`, `"b"`, `""`, `"a:b"`, `"1"`, `[]`, `["a"]`, `["a","b"]`, `[1,2,3]`, `{}`, `{"x":1}`}
	fields := []string{}
	add := func(name string, values ...string) {
		if !oneIn(r, 4) {
			fields = append(fields, fmt.Sprintf("%q:%s", name, pick(r, values)))
		}
	}
	add("v", anything...)
	add("o", append([]string{`{"x":"a"}`, `{"x":null}`, `{"x":["a"]}`}, anything...)...)
	var list []string
	for range r.IntN(4) {
		list = append(list, pick(r, append([]string{`{"x":"a"}`, `{"x":"b"}`, `{"x":1}`, `{"x":2}`, `{"x":"ab"}`, `{"x":true}`}, anything...)))
	}
	add("l", "["+strings.Join(list, ",")+"]")
	add("t", `"a"`, `"ab"`, `"b"`, `""`, `"a:b"`, `"xyz"`)
	add("n", `0`, `1`, `2`, `3`, `-1`)
	add("b", `true`, `false`)
	add("e", `"a"`, `"ab"`)
	return "{" + strings.Join(fields, ",") + "}"
}

var conditionPaths = []string{"v", "v", "o", "o.x", "l.#", "l.0", "l.#.x", "l.#.x", "t", "t", "n", "n", "b", "e"}

func randomCondition(r *rand.Rand, paths []string, depth int) map[string]any {
	if depth < 3 && !oneIn(r, 3) {
		word := pick(r, []string{"all", "all", "any", "not"})
		if word == "not" {
			return map[string]any{word: randomCondition(r, paths, depth+1)}
		}
		var of []any
		for range 2 + r.IntN(2) {
			of = append(of, randomCondition(r, paths, depth+1))
		}
		return map[string]any{word: of}
	}
	if depth < 5 && oneIn(r, 10) {
		return map[string]any{pick(r, []string{"some", "every"}): map[string]any{
			"in": pick(r, []string{"v", "o", "l"}), "is": randomCondition(r, []string{"x", "key", "value"}, depth+2)}}
	}
	scalars := []any{"a", "ab", "b", "", 0, 1, 2, 1.5, true, false}
	p := map[string]any{
		"path":     pick(r, paths),
		"operator": pick(r, rules.Operators()).Name,
	}
	if first, second := pick(r, paths), pick(r, conditionPaths); oneIn(r, 6) && first != second {
		p["path"] = []string{first, second}
	}
	if from := pick(r, conditionPaths); oneIn(r, 30) && !strings.Contains(from, "#.") {
		p["operator"] = pick(r, []string{"equals", "notEquals", "greaterThan", "lessThan", "quantityEquals", "hasPrefix", "contains"})
		p["valueFrom"] = from
		return p
	}
	switch p["operator"] {
	case "exists", "absent":
	case "in", "notIn", "oneOf":
		p["value"] = []any{pick(r, scalars), pick(r, scalars)}
	case "hasPrefix", "hasSuffix":
		p["value"] = pick(r, []string{"a", "ab", "b"})
	case "matches":
		p["value"] = pick(r, []string{"a", "^b", "^$"})
	case "imageTag":
		p["value"] = pick(r, []string{"latest", "b"})
	case "greaterThan", "lessThan", "quantityGreaterThan", "quantityLessThan", "quantityEquals":
		p["value"] = r.IntN(3)
	case "imageFrom":
		p["value"] = pick(r, []any{"docker.io", "a", []string{"b", "localhost"}})
	case "length":
		p["value"] = pick(r, []any{0, 1, 2, map[string]any{"min": 1}, map[string]any{"max": 1}})
	default:
		p["value"] = pick(r, scalars)
	}
	return p
}

// TestNoWarningsAboutRealPods takes every path and every value of realistic pods: none is in warning.
func TestNoWarningsAboutRealPods(t *testing.T) {
	leaves := make(map[string]bool)
	pods := 300
	if testing.Short() {
		pods = 30
	}
	for i := range pods {
		var pod any
		if err := json.Unmarshal(dumptest.Pod(7, i), &pod); err != nil {
			t.Fatal(err)
		}
		collectLeaves(pod, "", leaves)
	}
	known := lint.Options{Pods: podSchema(t), Now: newYear}
	for leaf := range leaves {
		table, text := tableText(t, "", leaf)
		for _, warning := range lint.Warnings(table, "f", text, known) {
			// There are warnings, rightly, where a check asks whether there is what is always there, and about quantities that are
			// compared as text.
			always := strings.Contains(leaf, "exists") && strings.HasSuffix(warning.Msg, "every subject fails")
			if !always && !strings.HasSuffix(warning.Msg, "use quantityEquals") && !strings.Contains(warning.Msg, "in namespaces.exclude excludes namespace") {
				t.Errorf("%s: %s", leaf, warning.Msg)
			}
		}
	}
	if len(leaves) < 300 {
		t.Errorf("only %d leaves", len(leaves))
	}
}

func collectLeaves(value any, path string, leaves map[string]bool) {
	add := func(format string, args ...any) {
		if path != "" {
			leaves[fmt.Sprintf("{path: '"+path+"', operator: "+format+"}", args...)] = true
		}
	}
	join := func(key string) string { return strings.TrimPrefix(path+"."+strings.ReplaceAll(key, ".", `\.`), ".") }
	switch value := value.(type) {
	case map[string]any:
		add("exists")
		for key, field := range value {
			if !strings.ContainsAny(key, ":'") {
				collectLeaves(field, join(key), leaves)
			}
		}
	case []any:
		add("length, value: %d", len(value))
		for _, element := range value {
			step := "0" // a # at the end would be the length
			switch element.(type) {
			case map[string]any, []any:
				step = "#"
			}
			collectLeaves(element, join(step), leaves)
		}
	case string:
		text, _ := json.Marshal(value)
		add("equals, value: %s", text)
	case float64:
		add("equals, value: %v", int64(value))
	case bool:
		add("notEquals, value: %t", value)
	}
}

// FuzzWarningsAndYAML takes any text as a table: if it loads, lint does not fail, and the encoded table loads
// again and is written the same.
func FuzzWarningsAndYAML(f *testing.F) {
	for _, pattern := range []string{"testdata/[ew]*.yaml", "../testdata/bad/waiver-*.yaml", "../../policies/default.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			f.Add(readFile(f, file))
		}
	}
	pods, err := schema.Parse(readFile(f, "../../policies/pod.schema.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := rules.Load("f", text)
		if err != nil {
			return
		}
		for _, warning := range lint.Warnings(table, "f", text, lint.Options{Pods: pods, Now: newYear}) {
			if line := warning.String(); strings.ContainsAny(line, "\n\r\x1b") || warning.Line < 1 {
				t.Errorf("not one line, or of no line: %q", line)
			}
		}
		written := table.YAML()
		again, err := rules.Load("written", written)
		if err != nil {
			t.Fatalf("what was written does not load: %v\n%s", err, written)
		}
		if diff := cmp.Diff(string(written), string(again.YAML())); diff != "" {
			t.Errorf("written a second time (-first +second):\n%s", diff)
		}
	})
}
