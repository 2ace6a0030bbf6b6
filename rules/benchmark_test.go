package rules_test

import (
	"encoding/json"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/rules"
)

// BenchmarkEvaluate measures the default table, and one of 11 checks that does not change with what ships, on a pod of 8 KB. The
// yardsticks are the check for valid JSON alone, and decoding into a map. BenchmarkTables in package policies measures all tables.
func BenchmarkEvaluate(b *testing.B) {
	table := load(b, string(readFile(b, "../policies/default.yaml")))
	recommended := load(b, string(readFile(b, "testdata/recommended-2026.yaml")))
	for _, pod := range []struct {
		name string
		text []byte
	}{{"clean", realisticPod(b, true)}, {"violating", realisticPod(b, false)}} {
		run := func(name string, once func() error) {
			b.Run(pod.name+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(len(pod.text)))
				b.ReportAllocs()
				for b.Loop() {
					if err := once(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("Evaluate", func() error {
			_, err := table.Evaluate(pod.text)
			return err
		})
		var verdict rules.Verdict
		run("EvaluateInto", func() error { return table.EvaluateInto(&verdict, pod.text) })
		run("recommended-2026", func() error { return recommended.EvaluateInto(&verdict, pod.text) })
		run("yardstick=gjson.ValidBytes", func() error {
			if !gjson.ValidBytes(pod.text) {
				b.Fatal("not valid")
			}
			return nil
		})
		run("yardstick=encoding-json-map", func() error {
			var decoded map[string]any
			return json.Unmarshal(pod.text, &decoded)
		})
	}
}
