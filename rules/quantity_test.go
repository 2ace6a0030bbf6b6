package rules

import (
	"math/big"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
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
		{"7Ei", "8070450532247928832"}, {"8Ei", "9223372036854775807"}, {"-9Ei", "-9223372036854775807"}, {"0.1n", "1/1000000000"}, {"-1.0000000001", "-1000000001/1000000000"}, {"10E", "10000000000000000000"}, {"1e3", "1000"}, {"1E3", "1000"}, {"12e-1", "6/5"}, {"1e+2", "100"},
		{"", ""}, {".", ""}, {"-", ""}, {"+-1", ""}, {"1.2.3", ""}, {"1 Gi", ""}, {" 1", ""}, {"1 ", ""}, {"1K", ""}, {"1ki", ""},
		{"1mi", ""}, {"Mi", ""}, {"1e", ""}, {"1e3m", ""}, {"0x10", ""}, {"1e1000", "unknown"}, {"1e100", "1" + strings.Repeat("0", 100)}, {"1e101", "unknown"}, {"1e-101", "unknown"}, {"1e99999999999999999999", "unknown"},
		{strings.Repeat("9", 64), strings.Repeat("9", 64)}, {strings.Repeat("9", 70), "unknown"}, {strings.Repeat("9", 70) + "Mi", "unknown"}, {strings.Repeat("0", 70) + "2Gi", "2147483648"}, {"2." + strings.Repeat("0", 70) + "Gi", "2147483648"}, {strings.Repeat("9", 70) + "x", ""}, {strings.Repeat("x", 70), ""}, {"1e" + strings.Repeat("x", 70), ""}, {"1_000", ""}, {"inf", ""}, {"NaN", ""},
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
			if is == isTrue && got.rat().Cmp(want) != 0 {
				t.Errorf("%s; want %s", got.rat(), want)
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

// TestQuantitiesAsKubernetes compares pairs of random quantities as k8s.io/apimachinery does. What is unknown must be of an absurd size.
func TestQuantitiesAsKubernetes(t *testing.T) {
	texts := rapid.Custom(func(t *rapid.T) string {
		digits := rapid.StringMatching(`[-+]?(0|0{0,70}[0-9]{1,20}|[0-9]{0,5}\.[0-9]{1,12}|[1-9][0-9]{0,70}|[0-9]\.|\.[0-9])`).Draw(t, "digits")
		suffix := rapid.OneOf(
			rapid.SampledFrom([]string{"", "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}),
			rapid.StringMatching(`[eE][-+]?[0-9]{1,2}`), rapid.SampledFrom([]string{"e101", "E-101", "K", "mi", "e", "x", " "}),
		).Draw(t, "suffix")
		return digits + suffix
	})
	var compared, unknowns, equal int
	rapid.Check(t, func(t *rapid.T) {
		for range 100 {
			a, b := texts.Draw(t, "a"), texts.Draw(t, "b")
			if rapid.Bool().Draw(t, "same") {
				if c, err := resource.ParseQuantity(a); err == nil {
					b = c.String() // the same amount, written as Kubernetes does
				}
			}
			left, leftIs := parseQuantity(a)
			right, rightIs := parseQuantity(b)
			x, errX := resource.ParseQuantity(a)
			y, errY := resource.ParseQuantity(b)
			switch {
			case (leftIs == isFalse) != (errX != nil), (rightIs == isFalse) != (errY != nil):
				t.Fatalf("%q: %d, Kubernetes: %v; %q: %d, Kubernetes: %v", a, leftIs, errX, b, rightIs, errY)
			case errX != nil || errY != nil:
			case leftIs == unknown || rightIs == unknown:
				if unknowns++; !strings.ContainsAny(a+b, "eE") && len(a) < 60 && len(b) < 60 {
					t.Fatalf("%q or %q is unknown", a, b)
				}
			default:
				compared++
				if x.Cmp(y) == 0 {
					equal++
				}
				if got, want := left.cmp(right), x.Cmp(y); got != want {
					t.Fatalf("%q and %q: %d, Kubernetes says %d", a, b, got, want)
				}
			}
		}
	})
	if compared < 500 || unknowns == 0 || equal < 100 {
		t.Errorf("%d pairs are compared, %d of them equal, and %d are unknown: the test tries too few", compared, equal, unknowns)
	}
	// Both are greater than 1Gi, and a test of an absurd quantity is unknown, which counts as a violation.
	for _, text := range []string{"1e101", strings.Repeat("0", 70) + "2Gi"} {
		q, is := parseQuantity(text)
		if gibi, _ := parseQuantity("1Gi"); is != unknown && q.cmp(gibi) <= 0 {
			t.Errorf("%q is not greater than 1Gi", text)
		}
	}
}
