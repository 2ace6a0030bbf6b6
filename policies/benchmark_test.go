package policies_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/kube-devops/kube-devops/agent/dump/dumptest"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// BenchmarkTables evaluates pods like those of a cluster by each built-in table: the time of one pod, its violations, and as a yardstick
// what its decoding by encoding/json takes.
func BenchmarkTables(b *testing.B) {
	var text bytes.Buffer
	if err := dumptest.WriteList(&text, 1, 1000); err != nil {
		b.Fatal(err)
	}
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(text.Bytes(), &list); err != nil {
		b.Fatal(err)
	}
	for _, name := range policies.Names() {
		table, err := policies.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var verdict rules.Verdict
			violations := 0
			for i := 0; b.Loop(); i++ {
				if err := table.EvaluateInto(&verdict, list.Items[i%len(list.Items)]); err != nil {
					b.Fatal(err)
				}
				violations += len(verdict.Violations)
			}
			b.ReportMetric(float64(violations)/float64(b.N), "violations/op")
		})
	}
	b.Run("yardstick=encoding-json-map", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			var decoded map[string]any
			if err := json.Unmarshal(list.Items[i%len(list.Items)], &decoded); err != nil {
				b.Fatal(err)
			}
		}
	})
}
