package rules_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

// FuzzLoad gives Load any text: it loads, or has errs of one line each. What loads can be run, and means what the
// naive table takes it for.
func FuzzLoad(f *testing.F) {
	for _, text := range filesOf(f, "testdata/bad/*.yaml", "../policies/*.yaml") {
		f.Add(text)
	}
	f.Add([]byte(fullTable))
	f.Add([]byte(waivedTable))
	f.Add([]byte(quantifiedTable))
	for seed := range uint64(5) {
		f.Add(randomTable(newRand(seed)))
	}
	pods := fewPods()
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := rules.Load("f", text)
		if err != nil {
			onlyErrors(t, table, err)
			return
		}
		if table.Name() == "" || len(table.Checks()) == 0 || table.Grade(0, "") != table.Grade(-1, "") {
			t.Fatalf("loaded an incomplete table:\n%s", text)
		}
		for _, c := range table.Checks() {
			if c.ID == "" || c.Weight < 1 || c.Weight > 1000 || c.Message() == "" {
				t.Fatalf("loaded an incomplete check %+v:\n%s", c, text)
			}
		}
		sameAsNaive(t, table, text, pods)
	})
}

// onlyErrors makes sure that there is no table, and errs of one line each.
func onlyErrors(t *testing.T, table *rules.Table, err error) {
	t.Helper()
	var errs rules.LoadErrors
	if table != nil || !errors.As(err, &errs) || len(errs) == 0 {
		t.Fatalf("table %v and error %v", table, err)
	}
	for _, m := range errs {
		if strings.ContainsAny(m.Error(), "\n\r") {
			t.Fatalf("error of several lines: %q", m.Error())
		}
	}
}

// FuzzLoadAll gives LoadAll any two texts. What loads can be shown, and loads again as it is shown.
func FuzzLoadAll(f *testing.F) {
	f.Add([]byte(waivedTable), layer("upper", "disable: [no_name]\nchecks: [{id: latest_tag, description: null, weight: 9}]\nnamespaces: {excludeAlso: [a]}\nwaivers: null\n").Text)
	for seed := range uint64(5) {
		texts := randomLayers(newRand(seed))
		f.Add([]byte(texts[0]), []byte(texts[1]))
	}
	for _, text := range filesOf(f, "testdata/bad/*.yaml") {
		f.Add([]byte(waivedTable), text)
	}
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		table, err := rules.LoadAll(rules.Source{File: "lower", Text: lower}, rules.Source{File: "upper", Text: upper, Renamed: map[string]string{"old": "latest_tag"}, Retired: []string{"gone"}})
		if err != nil {
			onlyErrors(t, table, err)
			return
		}
		again, err := rules.Load("shown", table.YAML())
		if err != nil || !bytes.Equal(again.YAML(), table.YAML()) {
			t.Fatalf("the table as it is shown: %v\n%s", err, table.YAML())
		}
	})
}

// FuzzWaivers is FuzzLoad for a file of waivers beside a table.
func FuzzWaivers(f *testing.F) {
	for _, text := range filesOf(f, "testdata/badwaivers/*.yaml") {
		f.Add(text)
	}
	r := newRand(7)
	for range 10 {
		text, err := json.Marshal(map[string]any{"apiVersion": "kube-devops.io/v1", "kind": "Waivers", "waivers": randomWaivers(r, 3)})
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(strings.NewReplacer(`"c0"`, `"latest_tag"`, `"c1"`, `"missing_liveness"`, `"c2"`, `"no_name"`).Replace(string(text))))
	}
	table := load(f, waivedTable)
	pods := append(fewPods(), []byte(`{"metadata":{"name":"vendor","namespace":"shop","labels":{"app":"Always"},"ownerReferences":[{"kind":"Job","name":"app"}]},"spec":{"containers":[{"name":"app","image":"a"},{}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		with, err := table.WithWaivers("f", text)
		if err != nil {
			onlyErrors(t, with, err)
			return
		}
		for _, w := range with.Waivers() {
			if w.ID == "" || strings.TrimSpace(w.Reason) == "" || !w.Active(w.Expires.Add(-1)) || w.Active(w.Expires) {
				t.Fatalf("loaded an incomplete waiver %+v:\n%s", w, text)
			}
		}
		naive := loadNaive(t, []byte(waivedTable))
		naive.Waivers = append(naive.Waivers, loadNaive(t, text).Waivers...)
		sameVerdicts(t, with, naive, text, pods)
	})
}

// FuzzPath gives a table any path, in a predicate and in forEach.
func FuzzPath(f *testing.F) {
	r := newRand(4)
	for range 20 {
		path, _ := randomPath(r, podShape)
		f.Add(path)
		f.Add("$." + path)
	}
	for _, path := range []string{"", "$.", "a..b", "a.#.#", `#(a=="b")#.c`, `a\.b`, "@this", "!true", "a|b", "*", "01", "{a,b}", "spec.containers.18446744073709551616"} {
		f.Add(path)
	}
	pods := fewPods()
	f.Fuzz(func(t *testing.T, path string) {
		for _, check := range []map[string]any{
			{"id": "c", "weight": 1, "violation": map[string]any{"path": path, "operator": "exists"}},
			{"id": "c", "weight": 1, "violation": map[string]any{"path": path, "operator": "notEquals", "value": "app"}},
			{"id": "c", "weight": 1, "forEach": path, "violation": map[string]any{"path": "name", "operator": "exists"}},
		} {
			text, err := json.Marshal(map[string]any{
				"apiVersion": "kube-devops.io/v1", "kind": "PolicyTable", "metadata": map[string]any{"name": "path"}, "checks": []any{check},
			})
			if err != nil {
				t.Fatal(err)
			}
			if table, err := rules.Load("f", text); err == nil {
				sameAsNaive(t, table, text, pods)
			}
		}
	})
}

// FuzzEvaluate gives a random table any text for a pod: there is an error, or the verdict of the naive table.
func FuzzEvaluate(f *testing.F) {
	for _, pod := range fewPods() {
		f.Add(uint64(0), pod)
		f.Add(uint64(1), pod)
	}
	r := newRand(5)
	for seed := range uint64(10) {
		f.Add(seed, damagedPod(r))
	}
	f.Add(uint64(0), realisticPod(f, false))
	for i, pod := range filesOf(f, "../testdata/checks/*/*/*.json", "../testdata/checks/*/*/*/*.json") {
		f.Add(uint64(i%20), pod)
	}
	type policy struct {
		text   []byte
		engine *rules.Table
		naive  *naiveTable
	}
	var shipped []policy
	for _, text := range shippedTexts(f) {
		shipped = append(shipped, policy{text, load(f, string(text)), loadNaive(f, text)})
	}
	// To make a table takes longer than to evaluate a pod, so that few are made, and kept.
	var random [100]*policy
	f.Fuzz(func(t *testing.T, seed uint64, pod []byte) {
		at := seed % uint64(len(random))
		if random[at] == nil {
			text := randomTable(newRand(at))
			random[at] = &policy{text, load(t, string(text)), loadNaive(t, text)}
		}
		for _, p := range append(slices.Clone(shipped), *random[at]) {
			if whatIsWrong(pod) == nil {
				sameVerdicts(t, p.engine, p.naive, p.text, [][]byte{pod})
			} else if verdict, err := p.engine.Evaluate(pod); err == nil || len(verdict.Subjects)+len(verdict.Violations) > 0 {
				t.Fatalf("error %v and verdict %v: %q", err, verdict, pod)
			}
		}
	})
}

// filesOf reads the files that match patterns. Each pattern must match a file.
func filesOf(t testing.TB, patterns ...string) (texts [][]byte) {
	t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			texts = append(texts, readFile(t, file))
		}
	}
	return texts
}

// fewPods are some random pods of little text.
func fewPods() [][]byte {
	pods := [][]byte{[]byte(`{}`)}
	for r := newRand(6); len(pods) < 5; {
		if pod := randomPod(r); len(pod) < 2000 {
			pods = append(pods, pod)
		}
	}
	return pods
}

// sameAsNaive compares the verdicts of a table that has loaded with those of its naive reading.
func sameAsNaive(t testing.TB, table *rules.Table, text []byte, pods [][]byte) {
	t.Helper()
	naive := loadNaive(t, text)
	for _, namespace := range []string{"", "default", "kube-system", "shop", "a/b"} {
		if got, want := table.Includes(namespace), naive.includes(namespace); got != want {
			t.Fatalf("includes %q: %t, want %t\ntable:\n%s", namespace, got, want, text)
		}
	}
	sameVerdicts(t, table, naive, text, pods)
}

func sameVerdicts(t testing.TB, table *rules.Table, naive *naiveTable, text []byte, pods [][]byte) {
	t.Helper()
	for _, pod := range pods {
		got, err := evaluate(table, pod)
		if err != nil {
			t.Fatalf("error %v\ntable:\n%s\npod:\n%s", err, text, pod)
		}
		decoded, err := decodeNaive(pod)
		if err != nil {
			t.Fatal(err)
		}
		if diff := compareVerdicts(naive.evaluate(decoded), got); diff != "" {
			t.Fatalf("table:\n%s\npod:\n%s\nverdict (-naive +engine):\n%s", text, pod, diff)
		}
	}
}
