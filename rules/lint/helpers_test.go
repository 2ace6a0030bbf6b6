package lint_test

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

func readFile(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func load(t testing.TB, text string) *rules.Table {
	t.Helper()
	table, err := rules.Load("table.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return table
}

// violates reports whether a pod violates the one check of a table.
func violates(t testing.TB, table *rules.Table, pod string) bool {
	t.Helper()
	verdict, err := table.Evaluate([]byte(pod))
	if err != nil {
		t.Fatalf("%v: %s", err, pod)
	}
	return len(verdict.Violations) == 1 && !verdict.Violations[0].Unknown
}

func oneIn(r *rand.Rand, n int) bool { return r.IntN(n) == 0 }

func pick[E any](r *rand.Rand, from []E) E { return from[r.IntN(len(from))] }
