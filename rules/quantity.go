package rules

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
)

const (
	maxQuantityBytes    = 64
	maxQuantityExponent = 100
)

// parseQuantity parses a Kubernetes quantity, as in requests and limits: a number and a suffix, which is one of n u m k M G T P E (powers
// of 1000), Ki Mi Gi Ti Pi Ei (powers of 1024), or an exponent such as e3 or E-3. The result is exact. The answer is false for a text
// that is not a quantity, and unknown for one that is too long or has too large an exponent to compare. The grammar is that of
// k8s.io/apimachinery/pkg/api/resource.Quantity.
func parseQuantity(text string) (*big.Rat, truth) {
	end := 0
	for end < len(text) && (isDigit(text[end]) || text[end] == '.' || end == 0 && (text[end] == '+' || text[end] == '-')) {
		end++
	}
	number, suffix := text[:end], text[end:]
	unsigned := strings.TrimLeft(number, "+-")
	if whole, fraction, _ := strings.Cut(unsigned, "."); whole == "" && fraction == "" || strings.Contains(fraction, ".") {
		return nil, isFalse
	}
	base, exponent, is := parseSuffix(suffix)
	switch {
	case is != isTrue:
		return nil, is
	case len(text) > maxQuantityBytes:
		return nil, unknown
	}
	value, ok := new(big.Rat).SetString(padded(number))
	if !ok {
		return nil, isFalse
	}
	factor := new(big.Int).Exp(big.NewInt(base), big.NewInt(int64(max(exponent, -exponent))), nil)
	if exponent < 0 {
		return value.Quo(value, new(big.Rat).SetInt(factor)), isTrue
	}
	return value.Mul(value, new(big.Rat).SetInt(factor)), isTrue
}

// padded adds a digit on both sides of the point, because ".5" and "5." are quantities.
func padded(number string) string {
	sign, unsigned := "", number
	if number[0] == '+' || number[0] == '-' {
		sign, unsigned = number[:1], number[1:]
	}
	whole, fraction, _ := strings.Cut(unsigned, ".")
	return sign + "0" + whole + "." + fraction + "0"
}

// parseSuffix returns the base and the exponent of a suffix; unknown when the exponent is too large.
func parseSuffix(suffix string) (base int64, exponent int, is truth) {
	const decimal, binary = "num kMGTPE", "KMGTPE"
	switch {
	case suffix == "":
		return 10, 0, isTrue
	case len(suffix) == 2 && suffix[1] == 'i':
		i := strings.IndexByte(binary, suffix[0])
		return 1024, i + 1, truthOf(i >= 0)
	case len(suffix) == 1 && suffix != " ":
		i := strings.IndexByte(decimal, suffix[0])
		return 1000, i - strings.IndexByte(decimal, ' '), truthOf(i >= 0)
	case suffix[0] == 'e' || suffix[0] == 'E':
		exponent, err := strconv.Atoi(suffix[1:])
		if errors.Is(err, strconv.ErrRange) || err == nil && max(exponent, -exponent) > maxQuantityExponent {
			return 0, 0, unknown
		}
		return 10, exponent, truthOf(err == nil)
	}
	return 0, 0, isFalse
}
