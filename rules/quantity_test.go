package rules

import (
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseQuantity(t *testing.T) {
	tests := []struct {
		text string
		want string // as a fraction; empty: not a quantity, "unknown": too large to be compared
	}{
		{"0", "0"}, {"1", "1"}, {"-1", "-1"}, {"+1", "1"}, {"500m", "1/2"}, {"1.5", "3/2"}, {".5", "1/2"}, {"5.", "5"},
		{"100n", "1/10000000"}, {"3u", "3/1000000"}, {"2k", "2000"}, {"1M", "1000000"}, {"1G", "1000000000"},
		{"1T", "1000000000000"}, {"1P", "1000000000000000"}, {"1E", "1000000000000000000"},
		{"1Ki", "1024"}, {"1.5Gi", "1610612736"}, {"128Mi", "134217728"}, {"1Ti", "1099511627776"}, {"1Pi", "1125899906842624"},
		{"8Ei", "9223372036854775808"}, {"1e3", "1000"}, {"1E3", "1000"}, {"12e-1", "6/5"}, {"1e+2", "100"},
		{"", ""}, {".", ""}, {"-", ""}, {"+-1", ""}, {"1.2.3", ""}, {"1 Gi", ""}, {" 1", ""}, {"1 ", ""}, {"1K", ""}, {"1ki", ""},
		{"1mi", ""}, {"Mi", ""}, {"1e", ""}, {"1e3m", ""}, {"0x10", ""}, {"1e1000", "unknown"}, {"1e100", "1" + strings.Repeat("0", 100)}, {"1e101", "unknown"}, {"1e-101", "unknown"}, {"1e99999999999999999999", "unknown"},
		{strings.Repeat("9", 64), strings.Repeat("9", 64)}, {strings.Repeat("9", 70), "unknown"}, {strings.Repeat("9", 70) + "Mi", "unknown"}, {strings.Repeat("9", 70) + "x", ""}, {strings.Repeat("x", 70), ""}, {"1e" + strings.Repeat("x", 70), ""}, {"1_000", ""}, {"inf", ""}, {"NaN", ""},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			got, is := parseQuantity(test.text)
			want, isNumber := new(big.Rat).SetString(test.want)
			wantIs := truthOf(isNumber)
			if test.want == "unknown" {
				wantIs = unknown
			}
			if is != wantIs {
				t.Fatalf("a quantity: %d; want %d, %q", is, wantIs, test.want)
			}
			if is == isTrue && got.Cmp(want) != 0 {
				t.Errorf("%s; want %s", got, want)
			}
		})
	}
}

// Any text is either a quantity or not, and costs next to nothing.
func TestParseQuantityNeverPanics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[-+]?[0-9.]{0,30}[numkKMGTPEei0-9+-]{0,6}`).Draw(t, "text")
		parseQuantity(text)
	})
}
