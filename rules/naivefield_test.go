package rules_test

import (
	"encoding/json"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The operators of the field, read a second time: with expressions where the engine has scanners.

var naiveQuantity = regexp.MustCompile(`^([-+]?)([0-9]+\.?[0-9]*|\.[0-9]+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([-+]?[0-9]+))?$`)

// parseNaiveQuantity reads a quantity; nil where the text is none, or of another size than anybody writes.
func parseNaiveQuantity(text, fault string) *big.Rat {
	value := naiveExact(text, fault)
	if value == nil {
		return nil
	}
	// What is smaller than a billionth is rounded up.
	size := new(big.Rat).Abs(value)
	size.Mul(size, big.NewRat(1_000_000_000, 1))
	up := new(big.Int).Add(size.Num(), new(big.Int).Sub(size.Denom(), big.NewInt(1)))
	size.SetFrac(up.Quo(up, size.Denom()), big.NewInt(1_000_000_000))
	if largest := big.NewRat(math.MaxInt64, 1); strings.HasSuffix(text, "i") && size.Cmp(largest) > 0 {
		size = largest
	}
	if value.Sign() < 0 {
		size.Neg(size)
	}
	return size
}

// naiveExact is the value of a quantity before it is rounded, or of a number.
func naiveExact(text, fault string) *big.Rat {
	m := naiveQuantity.FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	if before, behind, _ := strings.Cut(m[2], "."); len(strings.TrimLeft(before, "0")+strings.TrimRight(behind, "0")) > 64 {
		return nil
	}
	factor := big.NewRat(1, 1)
	ten, kibi := big.NewRat(1000, 1), big.NewRat(1024, 1)
	if fault == "Ki is a thousand" {
		kibi = ten
	}
	times := func(by *big.Rat, n int) {
		for range n {
			factor.Mul(factor, by)
		}
	}
	switch suffix := m[3]; {
	case m[4] != "":
		exponent, ok := new(big.Int).SetString(m[4], 10)
		if !ok || !exponent.IsInt64() || exponent.CmpAbs(big.NewInt(100)) > 0 {
			return nil
		}
		for range max(exponent.Int64(), -exponent.Int64()) {
			if exponent.Sign() > 0 {
				factor.Mul(factor, big.NewRat(10, 1))
			} else {
				factor.Mul(factor, big.NewRat(1, 10))
			}
		}
	case strings.HasSuffix(suffix, "i"):
		times(kibi, strings.Index(" KMGTPE", suffix[:1]))
	case suffix == "":
	case suffix == "m", suffix == "u", suffix == "n":
		times(big.NewRat(1, 1000), strings.Index(" mun", suffix))
	default:
		times(ten, strings.Index(" kMGTPE", suffix))
	}
	value := new(big.Rat)
	whole, fraction, _ := strings.Cut(m[2], ".")
	digits, _ := new(big.Int).SetString("0"+whole+fraction, 10)
	value.SetFrac(digits, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(len(fraction))), nil))
	value.Mul(value, factor)
	if m[1] == "-" {
		value.Neg(value)
	}
	return value
}

func (t *naiveTable) quantity(p *naivePredicate, value any) bool {
	text := ""
	switch value := value.(type) {
	case string:
		text = value
	case json.Number:
		if t.fault == "a number is not a quantity" {
			return false
		}
		text = value.String()
	default:
		return false
	}
	want := p.Operand.Value
	if whole, isInt := p.value.(int); isInt {
		want = strconv.Itoa(whole) // however it is written
	}
	left, right := parseNaiveQuantity(text, t.fault), parseNaiveQuantity(want, t.fault)
	if left == nil || right == nil {
		return false
	}
	order := left.Cmp(right)
	if t.fault == "quantities are text" {
		order = strings.Compare(text, want)
	}
	switch p.Operator {
	case "quantityLessThan":
		return order < 0
	case "quantityEquals":
		return order == 0 && (t.fault != "equal quantities are written the same" || text == want)
	}
	return order > 0
}

func (t *naiveTable) length(p *naivePredicate, value any) bool {
	n := 0
	switch value := value.(type) {
	case string:
		if n = len([]rune(value)); t.fault == "the length of a text is in bytes" {
			n = len(value)
		}
	case []any:
		n = len(value)
	case map[string]any:
		if t.fault == "an object has no length" {
			return false
		}
		n = len(value)
	default:
		return false
	}
	switch want := p.value.(type) {
	case int:
		return n == want
	case map[string]any:
		least, hasLeast := want["min"].(int)
		most, hasMost := want["max"].(int)
		return (!hasLeast || n >= least) && (!hasMost || n <= most || t.fault == "lengths have no max")
	}
	panic("a length that loaded")
}

// The grammar of the OCI distribution project; the groups are the path, the tag and the digest.
var naiveReference = regexp.MustCompile(`^(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/)?` +
	`([a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)` +
	`(?::([0-9A-Za-z_][0-9A-Za-z_.-]{0,127}))?` +
	`(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?$`)

func (t *naiveTable) imageTag(value any) (string, bool) {
	text, isText := value.(string)
	m := naiveReference.FindStringSubmatch(text)
	if !isText || m == nil || len(m[1]) > 255 {
		if t.fault == "anything is an image" && isText {
			return text[strings.LastIndex(text, ":")+1:], true
		}
		return "", false
	}
	switch {
	case m[3] != "" && t.fault != "a tag wins over a digest":
		return "", true
	case m[2] != "":
		return m[2], true
	case t.fault == "no tag is not latest":
		return "", true
	}
	return "latest", true
}

func (t *naiveTable) imageFrom(p *naivePredicate, value any) bool {
	text, _ := value.(string)
	m := naiveReference.FindStringSubmatch(text)
	if m == nil || len(m[1]) > 255 || naiveExpression("^[0-9a-fA-F]{64}$").MatchString(text) {
		return t.fault == "anything is from anywhere"
	}
	name, _, _ := strings.Cut(text, "@")
	image := t.components(strings.TrimSuffix(name, ":"+m[2]), false)
	if len(image) == 2 && image[0] == "docker.io" && t.fault != "library is not implied" {
		image = []string{"docker.io", "library", image[1]}
	}
	sources, isList := p.value.([]any)
	if !isList {
		sources = []any{p.value}
	}
	for _, source := range sources {
		from := t.components(source.(string), true)
		if len(from) == 2 && from[0] == "docker.io" && from[1] == source {
			from = []string{"docker.io", "library", from[1]}
		}
		if len(from) <= len(image) && slices.Equal(from, image[:len(from)]) {
			return true
		}
		if t.fault == "an image begins with its registry as text" && strings.HasPrefix(strings.Join(image, "/"), strings.Join(from, "/")) {
			return true
		}
	}
	return false
}

// components are the registry, and the parts of the path, of an image or of what an image may be from. One word is a registry only there.
func (t *naiveTable) components(name string, source bool) []string {
	parts := strings.Split(name, "/")
	lower := strings.ToLower(parts[0])
	if host := parts[0] != lower || strings.ContainsAny(lower, ".:") || lower == "localhost"; !host || len(parts) == 1 && !source {
		if t.fault == "Docker Hub is not implied" {
			return parts
		}
		return append([]string{"docker.io"}, parts...)
	}
	if lower == "index.docker.io" && t.fault != "the index is another registry" {
		lower = "docker.io"
	}
	return append([]string{lower}, parts[1:]...)
}
