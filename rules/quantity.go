package rules

import (
	"errors"
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

// The bounds of a quantity that is compared: digits without zeros at either end, and the exponent.
const (
	maxQuantityDigits   = 64
	maxQuantityExponent = 100
)

// An amount is the exact value of a quantity or of a number.
type amount struct {
	// exact is the value where it does not fit into the fields below.
	exact *big.Rat
	// Otherwise it is a number of billionths, of 128 bits, with a sign. The values of nearly all pods fit, and comparing them needs no
	// memory.
	negative bool
	hi, lo   uint64
}

const nano = 1_000_000_000

// parseQuantity parses a Kubernetes quantity, as in requests and limits: a number and a suffix, which is one of n u m k M G T P E (powers
// of 1000), Ki Mi Gi Ti Pi Ei (powers of 1024), or an exponent such as e3 or E-3. The answer is false for a text that is not a quantity,
// and unknown for one that is too long or has too large an exponent to compare. Grammar and value are those of
// k8s.io/apimachinery/pkg/api/resource.Quantity: what is smaller than a billionth is rounded away from zero, and a value with a suffix of
// a power of 1024 is at most 2^63-1.
func parseQuantity(text string) (amount, truth) {
	d, is := scanDecimal(text)
	if is != isTrue {
		return amount{}, is
	}
	a, ok := d.small()
	if !ok {
		a = amount{exact: roundedToNano(d.rat())}
	}
	if largest := (amount{lo: math.MaxInt64}).nanos(); d.base == 1024 && a.withSign(false).cmp(largest) > 0 {
		a = largest.withSign(a.negative || a.exact != nil && a.exact.Sign() < 0)
	}
	return a, isTrue
}

// parseNumber parses a JSON number; unknown like parseQuantity.
func parseNumber(raw string) (amount, truth) {
	d, is := scanDecimal(raw)
	if is != isTrue {
		return amount{}, is
	}
	if a, ok := d.small(); ok {
		return a, isTrue
	}
	return amount{exact: d.rat()}, isTrue
}

// A decimal is a number with the suffix of a quantity: digits, some of them behind the point, times a power of the base.
type decimal struct {
	negative        bool
	whole, fraction string // without zeros at their ends
	base, exponent  int
}

func scanDecimal(text string) (decimal, truth) {
	end := 0
	for end < len(text) && (isDigit(text[end]) || text[end] == '.' || end == 0 && (text[end] == '+' || text[end] == '-')) {
		end++
	}
	number, suffix := text[:end], text[end:]
	unsigned := strings.TrimLeft(number, "+-")
	whole, fraction, _ := strings.Cut(unsigned, ".")
	if whole == "" && fraction == "" || strings.Contains(fraction, ".") {
		return decimal{}, isFalse
	}
	d := decimal{negative: number[0] == '-', whole: strings.TrimLeft(whole, "0"), fraction: strings.TrimRight(fraction, "0")}
	var is truth
	if d.base, d.exponent, is = parseSuffix(suffix); is == isTrue && len(d.whole)+len(d.fraction) > maxQuantityDigits {
		return decimal{}, unknown
	}
	return d, is
}

// parseSuffix returns the base and the exponent of a suffix; unknown when the exponent is too large.
func parseSuffix(suffix string) (base, exponent int, is truth) {
	const powers, binary = "num kMGTPE", "KMGTPE"
	switch {
	case suffix == "":
		return 10, 0, isTrue
	case len(suffix) == 2 && suffix[1] == 'i':
		i := strings.IndexByte(binary, suffix[0])
		return 1024, i + 1, truthOf(i >= 0)
	case len(suffix) == 1 && suffix != " ":
		i := strings.IndexByte(powers, suffix[0])
		return 10, 3 * (i - strings.IndexByte(powers, ' ')), truthOf(i >= 0)
	case suffix[0] == 'e' || suffix[0] == 'E':
		exponent, err := strconv.Atoi(suffix[1:])
		if errors.Is(err, strconv.ErrRange) || err == nil && max(exponent, -exponent) > maxQuantityExponent {
			return 0, 0, unknown
		}
		return 10, exponent, truthOf(err == nil)
	}
	return 0, 0, isFalse
}

// small returns the value as billionths. It returns false when it does not fit, or is not a whole number of them.
func (d *decimal) small() (amount, bool) {
	tens, shift := 9-len(d.fraction), 0
	if d.base == 10 {
		tens += d.exponent
	} else {
		shift = 10 * d.exponent
	}
	if len(d.whole)+len(d.fraction) > 18 || tens < 0 {
		return amount{}, false
	}
	a := amount{negative: d.negative}
	for _, digits := range [...]string{d.whole, d.fraction} {
		for i := range len(digits) {
			a.lo = a.lo*10 + uint64(digits[i]-'0')
		}
	}
	ok := true
	for ; tens > 0 && ok; tens-- {
		a, ok = a.times(10)
	}
	if ok && shift > 0 {
		a, ok = a.times(1 << shift)
	}
	a.negative = a.negative && a.hi|a.lo != 0
	return a, ok
}

// rat returns the exact value.
func (d *decimal) rat() *big.Rat {
	value, _ := new(big.Rat).SetString("0" + d.whole + "." + d.fraction + "0")
	factor := new(big.Int).Exp(big.NewInt(int64(d.base)), big.NewInt(int64(max(d.exponent, -d.exponent))), nil)
	if d.exponent < 0 {
		value.Quo(value, new(big.Rat).SetInt(factor))
	} else {
		value.Mul(value, new(big.Rat).SetInt(factor))
	}
	if d.negative {
		value.Neg(value)
	}
	return value
}

// roundedToNano rounds away from zero to a whole number of billionths.
func roundedToNano(value *big.Rat) *big.Rat {
	billionths := new(big.Rat).Mul(value, big.NewRat(nano, 1))
	if billionths.IsInt() {
		return value
	}
	whole := new(big.Int).Quo(billionths.Num(), billionths.Denom())
	whole.Add(whole, big.NewInt(int64(value.Sign())))
	return new(big.Rat).SetFrac(whole, big.NewInt(nano))
}

// nanos is the amount of a whole number below 2^64.
func (a amount) nanos() amount {
	a, _ = a.times(nano)
	return a
}

// times multiplies an amount that is not exact. It returns false when the product does not fit.
func (a amount) times(by uint64) (amount, bool) {
	over, hi := bits.Mul64(a.hi, by)
	carry, lo := bits.Mul64(a.lo, by)
	hi, more := bits.Add64(hi, carry, 0)
	return amount{negative: a.negative, hi: hi, lo: lo}, over|more == 0
}

func (a amount) withSign(negative bool) amount {
	if a.exact != nil {
		a.exact = new(big.Rat).Abs(a.exact)
		if negative {
			a.exact.Neg(a.exact)
		}
	}
	a.negative = negative
	return a
}

func (a amount) rat() *big.Rat {
	if a.exact != nil {
		return a.exact
	}
	value := new(big.Int).SetUint64(a.hi)
	value.Or(value.Lsh(value, 64), new(big.Int).SetUint64(a.lo))
	if a.negative {
		value.Neg(value)
	}
	return new(big.Rat).SetFrac(value, big.NewInt(nano))
}

func (a amount) cmp(b amount) int {
	switch {
	case a.exact != nil || b.exact != nil:
		return a.rat().Cmp(b.rat())
	case a.negative != b.negative:
		if a.negative {
			return -1
		}
		return 1
	}
	order := 0
	switch {
	case a.hi != b.hi && a.hi < b.hi, a.hi == b.hi && a.lo < b.lo:
		order = -1
	case a != b:
		order = 1
	}
	if a.negative {
		return -order
	}
	return order
}

// A factor is a positive decimal.
type factor struct{ numerator, denominator uint64 }

// cmpTimes compares a with b times a factor, exactly.
func (a amount) cmpTimes(b amount, f *factor) int {
	if f == nil {
		return a.cmp(b)
	}
	if a.exact == nil && b.exact == nil {
		left, ok := a.times(f.denominator)
		if right, alsoOK := b.times(f.numerator); ok && alsoOK {
			return left.cmp(right)
		}
	}
	right := new(big.Rat).SetFrac(new(big.Int).SetUint64(f.numerator), new(big.Int).SetUint64(f.denominator))
	return a.rat().Cmp(right.Mul(right, b.rat()))
}
