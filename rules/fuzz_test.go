package rules_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

// FuzzLoad gives Load any text: it loads, or has mistakes of one line each. What loads can be run, and means what the
// naive table takes it for.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "../policies/default.yaml") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(fullTable))
	for seed := range uint64(5) {
		f.Add(randomTable(newRand(seed)))
	}
	pods := fewPods()
	f.Fuzz(func(t *testing.T, text []byte) {
		table, err := rules.Load("f", text)
		if err != nil {
			var mistakes rules.Mistakes
			if table != nil || !errors.As(err, &mistakes) || len(mistakes) == 0 {
				t.Fatalf("table %v and error %v", table, err)
			}
			for _, m := range mistakes {
				if strings.ContainsAny(m.Error(), "\n\r") {
					t.Fatalf("mistake of several lines: %q", m.Error())
				}
			}
			return
		}
		if table.Name() == "" || len(table.Checks()) == 0 || table.Grade(0) != table.Grade(-1) {
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
	f.Fuzz(func(t *testing.T, seed uint64, pod []byte) {
		text := randomTable(newRand(seed % 1000))
		table := load(t, string(text))
		if whatIsWrong(pod) == nil {
			sameAsNaive(t, table, text, [][]byte{pod})
			return
		}
		if verdict, err := table.Evaluate(pod); err == nil || len(verdict.Subjects)+len(verdict.Violations) > 0 {
			t.Fatalf("error %v and verdict %v: %q", err, verdict, pod)
		}
	})
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
	for _, pod := range pods {
		got, err := evaluate(table, pod)
		if errors.Is(err, rules.ErrTooManySubjects) || err != nil && strings.Contains(err.Error(), "too long to match") {
			continue
		}
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
