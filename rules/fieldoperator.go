package rules

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/tidwall/gjson"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// Operators for values that Kubernetes writes as strings but which mean something else.

func compileImageTag(operand *yaml.Node) (test, error) {
	want, err := strictyaml.ParseText(operand)
	if err != nil {
		return test{}, err
	}
	if !isTag(want) {
		return test{}, errors.New("must be an image tag: at most 128 letters, digits, _ . and -, not starting with a dot or a dash")
	}
	return test{of: func(value gjson.Result) truth {
		if value.Type != gjson.String {
			return isFalse
		}
		tag, ok := effectiveTag(value.Str)
		return truthOf(ok && tag == want)
	}}, nil
}

func quantityTest(holds func(order int) bool) func(*yaml.Node) (test, error) {
	return func(operand *yaml.Node) (test, error) {
		if operand.Kind == yaml.ScalarNode {
			want, is := parseQuantity(operand.Value)
			switch is {
			case unknown:
				return test{}, fmt.Errorf("is too big to compare: a quantity may have at most %d digits and an exponent of %d", maxQuantityDigits, maxQuantityExponent)
			case isTrue:
				return test{of: func(value gjson.Result) truth {
					quantity, is := quantityOf(value)
					if is != isTrue {
						return is
					}
					return truthOf(holds(quantity.cmp(want)))
				}}, nil
			}
		}
		return test{}, fmt.Errorf("must be a quantity such as 500m, 0.5 or 128Mi, got %s%s", strictyaml.Describe(operand), quantityUnitHint(operand.Value))
	}
}

// quantityOf reads a value as a quantity: a string, or a number.
func quantityOf(value gjson.Result) (amount, truth) {
	switch value.Type {
	case gjson.String:
		return parseQuantity(value.Str)
	case gjson.Number:
		return parseQuantity(value.Raw)
	}
	return amount{}, isFalse
}

// compileOneOf searches the list for the value or, if it is an array, for one of its elements.
func compileOneOf(operand *yaml.Node) (test, error) {
	in, err := parseList(operand)
	if err != nil {
		return test{}, err
	}
	return test{of: func(value gjson.Result) truth {
		if value.IsArray() {
			return truthOf(hasElement(value, in))
		}
		return truthOf(in(value))
	}}, nil
}

func compileLength(operand *yaml.Node) (test, error) {
	least, most, err := ParseLengths(operand)
	if err != nil {
		return test{}, err
	}
	return test{of: func(value gjson.Result) truth {
		n := 0
		switch {
		case value.Type == gjson.String:
			n = utf8.RuneCountInString(value.Str)
		case value.IsArray(), value.IsObject():
			value.ForEach(func(_, _ gjson.Result) bool { n++; return true })
		default:
			return isFalse
		}
		return truthOf(least <= n && n <= most)
	}}, nil
}

// ParseLengths reads the operand of the operator length: the least and the greatest length that it accepts.
func ParseLengths(operand *yaml.Node) (least, most int, err error) {
	wrong := errors.New("must be an integer of 0 or greater, or {min: N, max: N}")
	whole := func(node *yaml.Node) int {
		s, parseErr := strictyaml.ParseScalar(node)
		if parseErr != nil || s.Kind != strictyaml.IntScalar || s.Int < 0 || s.Int > math.MaxInt32 {
			err = wrong
		}
		return int(s.Int)
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
		return 0, 0, errors.New("must have a min that is not greater than its max")
	}
	return least, most, err
}
