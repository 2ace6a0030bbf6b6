package rules_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
)

// sameOfProjection fails the test where the verdict of the reduced pod is not that of the pod, or its error, or where
// the reduced pod can be reduced further. It returns the reduced pod, nil where the pod is refused.
func sameOfProjection(t testing.TB, table *rules.Table, projection *rules.Projection, pod []byte) []byte {
	t.Helper()
	before := []byte("before")
	to, err := projection.AppendTo(before, pod)
	if !bytes.HasPrefix(to, before) {
		t.Fatalf("what stood before was changed to %.20q", to)
	}
	want, wantErr := table.Evaluate(pod)
	if err != nil {
		if wantErr == nil || err.Error() != wantErr.Error() || len(to) != len(before) {
			t.Fatalf("error %v and %d bytes, want %v and none: %q", err, len(to)-len(before), wantErr, pod)
		}
		return nil
	}
	reduced := to[len(before):]
	got, gotErr := table.Evaluate(reduced)
	if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
		t.Fatalf("error %v, want %v\npod:\n%s\nreduced:\n%s", gotErr, wantErr, pod, reduced)
	}
	if wantErr == nil {
		if diff := compareVerdicts(inWords(table, want), inWords(table, got)); diff != "" {
			t.Fatalf("verdict (-pod +reduced):\n%s\npod:\n%s\nreduced:\n%s", diff, pod, reduced)
		}
	}
	again, err := projection.AppendTo(nil, reduced)
	if err != nil || !bytes.Equal(again, reduced) {
		t.Fatalf("reduced again, error %v:\n%s\nonce:\n%s", err, again, reduced)
	}
	return reduced
}

// TestProjectionKeepsVerdicts reduces many pods, whole and damaged, by the tables that ship and by random ones.
func TestProjectionKeepsVerdicts(t *testing.T) {
	tables := shippedTables(t)
	for seed := range randomTables() {
		tables = append(tables, load(t, string(randomTable(newRand(seed)))))
	}
	pods := slices.Clone(newRandomPods(t).text)
	pods = pods[:min(len(pods), 400)]
	if testing.Short() {
		pods = pods[:80]
	}
	for r, whole := newRand(9), len(pods); len(pods) < whole*3/2; {
		pods = append(pods, damagedPod(r))
	}
	pods = append(pods, filesOf(t, "../testdata/checks/*/*/*.json", "../testdata/checks/*/*/*/*.json")...)
	pods = append(pods, realisticPod(t, true), realisticPod(t, false))
	var whole, reduced, refused int
	for _, table := range tables {
		projection := table.Projection()
		for _, pod := range pods {
			if small := sameOfProjection(t, table, projection, pod); small == nil {
				refused++
			} else {
				whole, reduced = whole+len(pod), reduced+len(small)
			}
		}
	}
	t.Logf("%d bytes reduced to %d, %d pods refused", whole, reduced, refused)
	if reduced > whole*2/3 || refused == 0 {
		t.Errorf("%d bytes of %d are kept, and %d pods were refused: the projection is hardly tried", reduced, whole, refused)
	}
}

// Of a pod of absurd size the reduced one is refused for the same reason.
func TestProjectionKeepsTooMany(t *testing.T) {
	table := shippedTables(t)[0]
	pod := `{"spec":{"containers":[` + strings.Repeat(`{},`, rules.MaxSubjects) + `{}]}}`
	sameOfProjection(t, table, table.Projection(), []byte(pod))
	deep := strings.Repeat(`{"a":`, rules.MaxDepth+1)
	sameOfProjection(t, table, table.Projection(), []byte(`{"spec":`+deep))
}

func TestProjection(t *testing.T) {
	const names = `{"metadata":{"generateName":"a-","name":"a","namespace":"b","uid":"c","resourceVersion":"1","labels":{"app":"x","tier":"y"},
		"ownerReferences":[{"apiVersion":"v1","kind":"Job","name":"j"}]}}`
	tests := []struct{ name, forEach, predicate, pod, want string }{
		{"names", "", `{path: spec, operator: exists}`, names,
			`{"metadata":{"name":"a","namespace":"b","uid":"c","resourceVersion":"1","ownerReferences":[{"kind":"Job","name":"j"}]}}`},
		{"a value that is compared", "", `{path: spec.a, operator: equals, value: x}`, `{"spec":{"a":"x","b":"x"},"a":"x"}`, `{"spec":{"a":"x"}}`},
		{"an object that is compared", "", `{path: spec.a, operator: equals, value: x}`, `{"spec":{"a":{"b":[1, 2]}}}`, `{"spec":{"a":{"b":[1, 2]}}}`},
		{"values that must be there", "", `{path: spec.a, operator: exists}`, `{"spec":{"a":"long text"}}`, `{"spec":{"a":"long text"}}`},
		{"values that must be there, under not", "", `{not: {path: spec.a, operator: exists}}`, `{"spec":{"a":"long text"}}`, `{"spec":{"a":""}}`},
		{"values that must be there, and may be secrets", "", `{any: [{path: metadata.annotations.a, operator: exists}, {path: spec.containers.#.env.#.value, operator: exists}]}`,
			`{"metadata":{"annotations":{"a":"secret"}},"spec":{"containers":[{"env":[{"value":"secret"}]}]}}`, `{"metadata":{"annotations":{"a":""}},"spec":{"containers":[{"env":[{"value":""}]}]}}`},
		{"secrets of subjects", "spec.containers.#.env", `{path: value, operator: exists}`,
			`{"spec":{"containers":[{"name":"app","image":"x","env":[{"name":"A","value":"secret"}]}]}}`, `{"spec":{"containers":[{"name":"app","env":[{"name":"A","value":""}]}]}}`},
		{"what names a subject", "spec.containers.#.ports", `{path: hostPort, operator: exists}`,
			`{"spec":{"containers":[{"name":"app","ports":[{"containerPort":80,"hostPort":8080,"protocol":"TCP","hostIP":"x"}]}]}}`, `{"spec":{"containers":[{"name":"app","ports":[{"containerPort":80,"hostPort":8080,"protocol":"TCP"}]}]}}`},
		{"an object that must be there, and has a value", "", `{path: spec.a, operator: exists}`, `{"spec":{"a":{"b":1}}}`, `{"spec":{"a":{}}}`},
		{"an object that must be there", "", `{path: spec.a, operator: absent}`, `{"spec":{"a":{"b":1}}}`, `{"spec":{"a":{}}}`},
		{"an array that must be there", "", `{path: spec.a, operator: absent}`, `{"spec":{"a":[1,2]}}`, `{"spec":{"a":[]}}`},
		{"a number that must be there", "", `{path: spec.a, operator: absent}`, `{"spec":{"a":-12.5e3}}`, `{"spec":{"a":0}}`},
		{"null", "", `{path: spec.a, operator: absent}`, `{"spec":{"a":null,"b":1}}`, `{"spec":{}}`},
		{"a length", "", `{path: spec.a, operator: length, value: 2}`, `{"spec":{"a":{"b":null,"c":{"d":1}}}}`, `{"spec":{"a":{"b":null,"c":{}}}}`},
		{"the length of an array", "", `{path: spec.a, operator: length, value: 2}`, `{"spec":{"a":["b",{"c":1},null]}}`, `{"spec":{"a":["",{},null]}}`},
		{"the length of a text", "", `{path: spec.a, operator: length, value: 2}`, `{"spec":{"a":"bc"}}`, `{"spec":{"a":"bc"}}`},
		{"a count", "", `{path: "spec.a.#", operator: greaterThan, value: 2}`, `{"spec":{"a":["b",{"c":1},null]}}`, `{"spec":{"a":["",{},null]}}`},
		{"one element", "", `{path: "spec.a.1.b", operator: equals, value: x}`, `{"spec":{"a":[{"b":"1"},{"b":"x","c":1},{"b":"2"}]}}`, `{"spec":{"a":[null,{"b":"x"}]}}`},
		{"a key that is a number", "", `{path: "spec.a.1.b", operator: equals, value: x}`, `{"spec":{"a":{"1":{"b":"x"},"0":{"b":"y"}}}}`, `{"spec":{"a":{"1":{"b":"x"}}}}`},
		{"one element among all", "", `{any: [{path: "spec.a.1.b", operator: equals, value: x}, {path: "spec.a.#.c", operator: exists}]}`,
			`{"spec":{"a":[{"b":"1","c":"1"},{"b":"x","c":"1"},{"b":"2"}]}}`, `{"spec":{"a":[{"c":"1"},{"b":"x","c":"1"},{}]}}`},
		{"a query", "", `{path: 'spec.a.#(b=="x").c', operator: equals, value: y}`, `{"spec":{"a":[{"b":"x","c":"y","d":"z"},{"b":"1"},5]}}`, `{"spec":{"a":[{"b":"x","c":"y"},{"b":"1"},0]}}`},
		{"a dot in a key", "", `{path: 'metadata.labels.a\.b', operator: exists}`, `{"metadata":{"labels":{"a.b":"x","a":{"b":"y"}}}}`, `{"metadata":{"labels":{"a.b":"x"}}}`},
		{"a key that is written with escapes", "", `{path: spec.a, operator: exists}`, `{"spec":{"\u0061":"x"}}`, `{"spec":{"\u0061":"x"}}`},
		{"subjects", "spec.containers", `{path: image, operator: equals, value: x}`,
			`{"spec":{"containers":[{"name":"a","image":"x","args":["x"]},null,5,"x",[{"image":"x"}]]}}`, `{"spec":{"containers":[{"name":"a","image":"x"},null,0,"",[]]}}`},
		{"subjects that are scalars", "spec.a", `{operator: exists}`, `{"spec":{"a":["x",5,true,null,{"b":"x"},["x"]]}}`, `{"spec":{"a":["x",5,true,null,{},[]]}}`},
		{"subjects that may be secrets", "allContainers.args", `{operator: exists}`, `{"spec":{"containers":[{"args":["x",5]}]}}`, `{"spec":{"containers":[{"args":["",0]}]}}`},
		{"containers that run long", "longRunningContainers", `{path: a, operator: absent}`, `{"spec":{"restartPolicy":"Never","nodeName":"x","containers":[{"b":1}],"initContainers":[{"restartPolicy":"Always"}]}}`,
			`{"spec":{"restartPolicy":"Never","containers":[{}],"initContainers":[{"restartPolicy":"Always"}]}}`},
		{"the pod of a subject", "spec.containers", `{path: $.spec.hostNetwork, operator: equals, value: true}`,
			`{"spec":{"hostNetwork":true,"containers":[{"hostNetwork":1}]}}`, `{"spec":{"hostNetwork":true,"containers":[{}]}}`},
		{"not, all and any", "", `{not: {all: [{path: a, operator: exists}, {any: [{path: b, operator: exists}]}]}}`, `{"a":1,"b":2,"c":3}`, `{"a":0,"b":0}`},
		{"space", "", `{path: a, operator: exists}`, " {\n\"a\" : [ ] , \"b\" : { } }\n", `{"a":[]}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			check := "{id: c, weight: 1, violation: " + test.predicate
			if test.forEach != "" {
				check += ", forEach: " + test.forEach
			}
			table := load(t, "{apiVersion: kube-devops.io/v1, kind: PolicyTable, metadata: {name: t}, checks: ["+check+"}]}")
			reduced := sameOfProjection(t, table, table.Projection(), []byte(test.pod))
			if string(reduced) != test.want {
				t.Errorf("reduced to\n%s\nwant\n%s", reduced, test.want)
			}
		})
	}
}

// Conditions of skips and of checks, and labels of waivers, are read too.
func TestProjectionOfAllParts(t *testing.T) {
	table := load(t, `{apiVersion: kube-devops.io/v1, kind: PolicyTable, metadata: {name: t},
		pods: {skip: [{reason: r, when: {path: a, operator: equals, value: x}}]},
		checks: [{id: c, weight: 1, when: {path: b, operator: equals, value: x}, violation: {path: c, operator: equals, value: x}}],
		waivers: [{id: w, reason: r, expires: "2030-01-01", labels: {"app.kubernetes.io/name": "x"}}]}`)
	pod := `{"metadata":{"labels":{"app":"y","app.kubernetes.io/name":"x"}},"a":"x","b":"x","c":"x","d":"x"}`
	want := `{"metadata":{"labels":{"app.kubernetes.io/name":"x"}},"a":"x","b":"x","c":"x"}`
	if got := string(sameOfProjection(t, table, table.Projection(), []byte(pod))); got != want {
		t.Errorf("reduced to\n%s\nwant\n%s", got, want)
	}
}

func TestReadsVersion(t *testing.T) {
	for predicate, want := range map[string]bool{
		`{path: metadata.resourceVersion, operator: equals, value: "5"}`:                 true,
		`{path: metadata, operator: equals, value: "5"}`:                                 true,
		`{path: $.metadata.resourceVersion, operator: hasSuffix, value: "5"}`:            true,
		`{path: metadata.resourceVersion, operator: exists}`:                             false,
		`{path: metadata.name, operator: equals, value: "5"}`:                            false,
		`{path: "metadata.ownerReferences.#.resourceVersion", operator: in, value: [5]}`: false,
	} {
		table := load(t, "{apiVersion: kube-devops.io/v1, kind: PolicyTable, metadata: {name: t}, checks: [{id: c, weight: 1, violation: "+predicate+"}]}")
		if got := table.Projection().ReadsVersion(); got != want {
			t.Errorf("%s: ReadsVersion is %t, want %t", predicate, got, want)
		}
	}
}

// Where one projection covers another, a pod may be reduced by the one before it is reduced by the other: nothing is lost.
// Otherwise some pod loses something.
func TestCovers(t *testing.T) {
	var tables []*rules.Table
	for seed := range randomTables() {
		tables = append(tables, load(t, string(randomTable(newRand(seed)))))
	}
	pods := newRandomPods(t).text[:200]
	covering := 0
	for i, table := range tables {
		wide := wider(t, i)
		if !wide.Covers(table.Projection()) || !table.Projection().Covers(table.Projection()) {
			t.Errorf("table %d: not covered by a wider table, or by itself", i)
		}
		projection := table.Projection()
		var reduced [][]byte
		for _, pod := range pods {
			reduced = append(reduced, projected(t, projection, pod))
		}
		for k, other := range append(tables, load(t, widerText(i))) {
			wider := other.Projection()
			if !wider.Covers(projection) {
				continue
			}
			if k != i {
				covering++
			}
			for p, pod := range pods {
				once := projected(t, wider, pod)
				if got, want := projected(t, projection, once), reduced[p]; string(got) != string(want) {
					t.Fatalf("table %d loses by table %d (-want +got):\n%s", i, k, cmp.Diff(string(want), string(got)))
				}
			}
		}
	}
	if covering < len(tables) {
		t.Errorf("%d tables of %d are covered by others: the test hardly tries", covering, len(tables))
	}
	narrow := load(t, "{apiVersion: kube-devops.io/v1, kind: PolicyTable, metadata: {name: t}, checks: [{id: c, weight: 1, violation: {path: spec.a, operator: absent}}]}")
	for _, predicate := range []string{
		`{path: spec.a, operator: equals, value: x}`, `{path: spec.a, operator: length, value: 1}`, `{path: spec.b, operator: exists}`,
		`{path: "spec.a.#", operator: equals, value: 1}`, `{path: spec.a.0, operator: exists}`, `{path: spec.a.b, operator: exists}`, `{path: spec.a, operator: exists}`,
	} {
		other := load(t, "{apiVersion: kube-devops.io/v1, kind: PolicyTable, metadata: {name: t}, checks: [{id: c, weight: 1, violation: "+predicate+"}]}")
		if narrow.Projection().Covers(other.Projection()) {
			t.Errorf("%s is covered by what only asks whether spec.a is there", predicate)
		}
	}
}

// The elements of a list do not cover the entries of a map.
func TestCoversEntries(t *testing.T) {
	elements := tableOf(t, "", `{path: "spec.a.#.value", operator: equals, value: x}`).Projection()
	entries := tableOf(t, "", `{some: {in: spec.a, is: {path: value, operator: equals, value: x}}}`).Projection()
	field := tableOf(t, "", `{path: spec.a.b, operator: equals, value: x}`).Projection()
	if elements.Covers(entries) || !entries.Covers(elements) || !entries.Covers(field) || field.Covers(entries) {
		t.Errorf("elements cover entries: %t; entries cover elements: %t, a field: %t; a field covers entries: %t",
			elements.Covers(entries), entries.Covers(elements), entries.Covers(field), field.Covers(entries))
	}
}

// widerText is a random table with one more check.
func widerText(seed int) string {
	var table map[string]any
	decoder := json.NewDecoder(bytes.NewReader(randomTable(newRand(uint64(seed)))))
	decoder.UseNumber() // a float64 would change whole numbers of 64 bits
	if err := decoder.Decode(&table); err != nil {
		panic(err)
	}
	table["checks"] = append(table["checks"].([]any), map[string]any{
		"id": "more", "weight": 1, "forEach": "spec.containers", "violation": randomPredicate(newRand(uint64(seed)+1000), containerShape, 1),
	})
	text, err := json.Marshal(table)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func wider(t *testing.T, seed int) *rules.Projection { return load(t, widerText(seed)).Projection() }

func projected(t testing.TB, p *rules.Projection, pod []byte) []byte {
	t.Helper()
	reduced, err := p.AppendTo(nil, pod)
	if err != nil {
		t.Fatalf("%v: %s", err, pod)
	}
	return reduced
}

// FuzzProjection reduces any text by the tables that ship, and by a random one.
func FuzzProjection(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 0))
	for seed := range uint64(20) {
		f.Add(seed, randomPod(r))
		f.Add(seed, damagedPod(r))
	}
	f.Add(uint64(0), realisticPod(f, false))
	shipped := shippedTables(f)
	f.Fuzz(func(t *testing.T, seed uint64, pod []byte) {
		for _, table := range append(shipped, load(t, string(randomTable(newRand(seed%1000))))) {
			sameOfProjection(t, table, table.Projection(), pod)
		}
	})
}

// BenchmarkProjection reduces a pod of 8 KB to what the tables that ship read of it, and evaluates the result.
func BenchmarkProjection(b *testing.B) {
	for _, table := range shippedTables(b) {
		projection, pod := table.Projection(), realisticPod(b, true)
		reduced, err := projection.AppendTo(nil, pod)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(table.Name()+"/AppendTo", func(b *testing.B) {
			b.SetBytes(int64(len(pod)))
			b.ReportAllocs()
			b.ReportMetric(float64(len(reduced)), "bytes-kept")
			for b.Loop() {
				if reduced, err = projection.AppendTo(reduced[:0], pod); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(table.Name()+"/EvaluateInto-reduced", func(b *testing.B) {
			b.ReportAllocs()
			var verdict rules.Verdict
			for b.Loop() {
				if err := table.EvaluateInto(&verdict, reduced); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
