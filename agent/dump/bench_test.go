package dump

import (
	"bytes"
	"encoding/json"
	"testing"
)

// BenchmarkRead reads 2,000 pods of some 14 KB, as kubectl prints them and without the indentation: split and checked, split
// alone, and, as the floor, nothing but looking for the end of one object.
func BenchmarkRead(b *testing.B) {
	const pods = 2000
	indented := listOf(b, pods)
	var compact bytes.Buffer
	if err := json.Compact(&compact, indented); err != nil {
		b.Fatal(err)
	}
	for name, input := range map[string][]byte{"indented": indented, "compact": compact.Bytes()} {
		for how, options := range map[string][]Option{"checked": nil, "split": {Unchecked}} {
			b.Run(name+"/"+how, func(b *testing.B) {
				b.SetBytes(int64(len(input)))
				b.ReportAllocs()
				for b.Loop() {
					stats, err := Read(b.Context(), "bench", bytes.NewReader(input), func(Event) error { return nil }, options...)
					if err != nil || stats.Applied != pods {
						b.Fatalf("%+v, %v", stats, err)
					}
				}
				b.ReportMetric(float64(pods)*float64(b.N)/b.Elapsed().Seconds(), "pods/s")
			})
		}
		b.Run(name+"/nesting", func(b *testing.B) {
			b.SetBytes(int64(len(input)))
			for b.Loop() {
				var n bracketScanner
				if end, bad := n.scan(input); end < 0 || bad != nil {
					b.Fatal(end, bad)
				}
			}
		})
	}
}
