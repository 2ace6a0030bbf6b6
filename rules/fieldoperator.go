package rules

import (
	"errors"
	"math"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	"gopkg.in/yaml.v3"
)

// The operators of the field: what Kubernetes writes as strings, and means as something else.

func compileImageTag(operand *yaml.Node) (test, error) {
	want, err := parseText(operand)
	if err != nil {
		return nil, err
	}
	if !isTag(want) {
		return nil, errors.New("must be a tag: letters, digits, _ . and -, at most 128, with no dot or dash first")
	}
	return func(_ *evaluation, value gjson.Result) bool {
		if value.Type != gjson.String {
			return false
		}
		tag, ok := effectiveTag(value.Str)
		return ok && tag == want
	}, nil
}

func quantityTest(holds func(order int) bool) func(*yaml.Node) (test, error) {
	return func(operand *yaml.Node) (test, error) {
		if operand.Kind == yaml.ScalarNode {
			if want, ok := parseQuantity(operand.Value); ok {
				return func(_ *evaluation, value gjson.Result) bool {
					text := value.Raw
					switch value.Type {
					case gjson.String:
						text = value.Str
					case gjson.Number:
					default:
						return false
					}
					quantity, ok := parseQuantity(text)
					return ok && holds(quantity.Cmp(want))
				}, nil
			}
		}
		return nil, errors.New("must be a quantity, as 500m, 0.5 or 128Mi")
	}
}

// compileOneOf finds the value in a list, or one of its elements where it is an array.
func compileOneOf(operand *yaml.Node) (test, error) {
	in, err := compileIn(operand)
	if err != nil {
		return nil, err
	}
	return func(e *evaluation, value gjson.Result) bool {
		if !value.IsArray() {
			return in(e, value)
		}
		found := false
		value.ForEach(func(_, element gjson.Result) bool {
			found = in(e, element)
			return !found
		})
		return found
	}, nil
}

func compileLength(operand *yaml.Node) (test, error) {
	least, most, err := parseLengths(operand)
	if err != nil {
		return nil, err
	}
	return func(_ *evaluation, value gjson.Result) bool {
		n := 0
		switch {
		case value.Type == gjson.String:
			n = utf8.RuneCountInString(value.Str)
		case value.IsArray(), value.IsObject():
			value.ForEach(func(_, _ gjson.Result) bool { n++; return true })
		default:
			return false
		}
		return least <= n && n <= most
	}, nil
}

func parseLengths(operand *yaml.Node) (least, most int, err error) {
	wrong := errors.New("must be a whole number from 0, or {min: N, max: N}")
	whole := func(node *yaml.Node) int {
		s, parseErr := parseScalar(node)
		if parseErr != nil || s.kind != wholeScalar || s.whole < 0 || s.whole > math.MaxInt32 {
			err = wrong
		}
		return int(s.whole)
	}
	if operand.Kind == yaml.ScalarNode {
		n := whole(operand)
		return n, n, err
	}
	if operand.Kind != yaml.MappingNode || len(operand.Content) == 0 {
		return 0, 0, wrong
	}
	most = math.MaxInt
	seen := make(map[string]bool)
	for i := 0; i+1 < len(operand.Content); i += 2 {
		switch name := operand.Content[i].Value; {
		case seen[name]:
			return 0, 0, wrong
		case name == "min":
			least = whole(operand.Content[i+1])
		case name == "max":
			most = whole(operand.Content[i+1])
		default:
			return 0, 0, wrong
		}
		seen[operand.Content[i].Value] = true
	}
	if err == nil && least > most {
		return 0, 0, errors.New("has a min that is greater than its max")
	}
	return least, most, err
}
