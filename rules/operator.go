package rules

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// A test compares a value.
type test struct {
	// of is the answer for a value. Numbers are only compared with numbers, and strings with strings: a value of another type is never
	// equal, contained, greater or less.
	of func(value gjson.Result) truth
	// perByte is the cost of the test for each byte of a string; 0 for a test that is cheap for any value.
	perByte int
}

// An operator is a named comparison of a predicate.
type operator struct {
	OperatorDoc
	// absent is the answer where there is no value. As in the label selectors of Kubernetes, an absent value differs from every value
	// and is in no list.
	absent bool
	// compile builds the test for the operand; nil for an operator that takes none.
	compile func(operand *yaml.Node) (test, error)
}

// OperatorDoc explains an operator to the author of a table.
type OperatorDoc struct {
	Name string
	// Value says what the operator compares with; empty for an operator that takes no value.
	Value string
	// Meaning completes the sentence "the predicate is true when".
	Meaning string
}

// Operators documents all operators, in the order in which they are best learned.
func Operators() []OperatorDoc {
	docs := make([]OperatorDoc, len(operators))
	for i := range operators {
		docs[i] = operators[i].OperatorDoc
	}
	return docs
}

const (
	oneValue  = "a string, number or boolean"
	aString   = "a string"
	aNumber   = "a number"
	aQuantity = "a Kubernetes quantity"
	aList     = "a list of strings, numbers or booleans, or `{list: NAME}`"
	aSource   = "a registry or repository, a list of them, or `{list: NAME}`"
)

var operators = []operator{
	{OperatorDoc{"exists", "", "the path has a value"}, false, nil},
	{OperatorDoc{"absent", "", "the path has no value, or null"}, true, nil},
	{OperatorDoc{"equals", oneValue, "the value is equal to it"}, false, compileEquals},
	{OperatorDoc{"notEquals", oneValue, "the value is different, or absent"}, true, negated(compileEquals)},
	{OperatorDoc{"in", aList, "the value is in the list"}, false, compileIn},
	{OperatorDoc{"notIn", aList, "the value is not in the list, or absent"}, true, negated(compileIn)},
	{OperatorDoc{"hasPrefix", aString, "the value is a string that starts with it"}, false, textTest(strings.HasPrefix)},
	{OperatorDoc{"hasSuffix", aString, "the value is a string that ends with it"}, false, textTest(strings.HasSuffix)},
	{OperatorDoc{"contains", oneValue, "the value is a string that contains it, or an array with such an element"}, false, compileContains},
	{OperatorDoc{"matches", "an RE2 expression", "the value is a string that the expression matches anywhere (`^` and `$` anchor it)"}, false, compileMatches},
	{OperatorDoc{"oneOf", aList, "the value is in the list, or is an array with an element in the list"}, false, compileOneOf},
	{OperatorDoc{"greaterThan", aNumber, "the value is a greater number"}, false, orderTest(func(order int) bool { return order > 0 })},
	{OperatorDoc{"lessThan", aNumber, "the value is a smaller number"}, false, orderTest(func(order int) bool { return order < 0 })},
	{OperatorDoc{"quantityGreaterThan", aQuantity, "the value is a greater quantity: `500m`, `1.5`, `64Mi`, a string or a number"}, false, quantityTest(func(order int) bool { return order > 0 })},
	{OperatorDoc{"quantityLessThan", aQuantity, "the value is a smaller quantity"}, false, quantityTest(func(order int) bool { return order < 0 })},
	{OperatorDoc{"quantityEquals", aQuantity, "the value is an equal quantity: `1000m` and `1`, `1Gi` and `1024Mi`"}, false, quantityTest(func(order int) bool { return order == 0 })},
	{OperatorDoc{"length", "an integer, or `{min: N, max: N}`", "the value is an array with that many elements, an object with that many keys, or a string with that many characters"}, false, compileLength},
	{OperatorDoc{"imageTag", aString, "the value is an image reference that is pulled by that tag: `latest` without a tag or digest; never with a digest"}, false, compileImageTag},
	{OperatorDoc{"imageFrom", aSource, "the value is an image from one of these, by whole components: `registry.example.com`, `docker.io/library`, `ghcr.io/org/app`. `nginx` is docker.io/library/nginx, and `docker.io/nginx` an organisation"}, false, compileImageFrom},
}

func operatorNames() []string {
	names := make([]string, len(operators))
	for i := range operators {
		names[i] = operators[i].Name
	}
	return names
}

func findOperator(name string) (operator, bool) {
	i := slices.IndexFunc(operators, func(o operator) bool { return o.Name == name })
	if i < 0 {
		return operator{}, false
	}
	return operators[i], true
}

const maxListValues = 1000

func negated(compile func(*yaml.Node) (test, error)) func(*yaml.Node) (test, error) {
	return func(operand *yaml.Node) (test, error) {
		t, err := compile(operand)
		if err != nil {
			return test{}, err
		}
		return test{of: func(value gjson.Result) truth { return t.of(value).not() }}, nil
	}
}

func compileEquals(operand *yaml.Node) (test, error) {
	want, err := strictyaml.ParseScalar(operand)
	if err != nil {
		return test{}, err
	}
	return test{of: func(value gjson.Result) truth { return truthOf(equals(&want, value)) }}, nil
}

func compileIn(operand *yaml.Node) (test, error) {
	in, err := parseList(operand)
	if err != nil {
		return test{}, err
	}
	return test{of: func(value gjson.Result) truth { return truthOf(in(value)) }}, nil
}

// parseList reads a list of scalars and returns a function that reports whether a value is in it.
func parseList(operand *yaml.Node) (in func(gjson.Result) bool, err error) {
	if operand.Kind != yaml.SequenceNode || len(operand.Content) == 0 {
		return nil, errors.New("must be a list of at least one string, number or boolean")
	}
	if len(operand.Content) > maxListValues {
		return nil, fmt.Errorf("has %d entries; at most %d are allowed", len(operand.Content), maxListValues)
	}
	text := make(map[string]bool)
	var others []strictyaml.Scalar
	for i, node := range operand.Content {
		want, err := strictyaml.ParseScalar(node)
		if err != nil {
			return nil, fmt.Errorf("entry %d %w", i+1, err)
		}
		if want.Kind == strictyaml.TextScalar {
			text[want.Text] = true
		} else {
			others = append(others, want)
		}
	}
	return func(value gjson.Result) bool {
		if value.Type == gjson.String {
			return text[value.Str]
		}
		for i := range others {
			if equals(&others[i], value) {
				return true
			}
		}
		return false
	}, nil
}

func textTest(holds func(value, operand string) bool) func(*yaml.Node) (test, error) {
	return func(operand *yaml.Node) (test, error) {
		want, err := strictyaml.ParseText(operand)
		if err != nil {
			return test{}, err
		}
		return test{of: func(value gjson.Result) truth {
			return truthOf(value.Type == gjson.String && holds(value.Str, want))
		}}, nil
	}
}

// compileContains searches a string for a substring, or an array for an element.
func compileContains(operand *yaml.Node) (test, error) {
	want, err := strictyaml.ParseScalar(operand)
	if err != nil {
		return test{}, err
	}
	isWanted := func(element gjson.Result) bool { return equals(&want, element) }
	return test{of: func(value gjson.Result) truth {
		if value.IsArray() {
			return truthOf(hasElement(value, isWanted))
		}
		return truthOf(want.Kind == strictyaml.TextScalar && value.Type == gjson.String && strings.Contains(value.Str, want.Text))
	}}, nil
}

// hasElement reports whether an element of an array is wanted.
func hasElement(array gjson.Result, wanted func(gjson.Result) bool) bool {
	found := false
	array.ForEach(func(_, element gjson.Result) bool {
		found = wanted(element)
		return !found
	})
	return found
}

// The bounds of an expression. RE2 takes time proportional to the lengths of text and program, so both are bounded.
const (
	maxRegexpBytes  = 1 << 10
	maxRegexpRepeat = 100
	maxRegexpInsts  = 2000
)

func compileMatches(operand *yaml.Node) (test, error) {
	source, err := strictyaml.ParseText(operand)
	if err != nil {
		return test{}, err
	}
	if len(source) > maxRegexpBytes {
		return test{}, fmt.Errorf("is an expression of %d bytes; at most %d are allowed", len(source), maxRegexpBytes)
	}
	parsed, err := syntax.Parse(source, syntax.Perl)
	if wrong := new(syntax.Error); errors.As(err, &wrong) {
		return test{}, fmt.Errorf("is not a valid RE2 expression: %s: %q", wrong.Code, wrong.Expr)
	}
	if n := largestRepeat(parsed); n > maxRegexpRepeat {
		return test{}, fmt.Errorf("repeats %d times; at most %d are allowed", n, maxRegexpRepeat)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return test{}, fmt.Errorf("is not a valid RE2 expression: %w", err)
	}
	insts := len(program.Inst)
	if insts > maxRegexpInsts {
		return test{}, fmt.Errorf("compiles to %d instructions; at most %d are allowed", insts, maxRegexpInsts)
	}
	expression, err := regexp.Compile(source)
	if err != nil {
		return test{}, fmt.Errorf("is not a valid RE2 expression: %w", err)
	}
	return test{perByte: insts, of: func(value gjson.Result) truth {
		return truthOf(value.Type == gjson.String && expression.MatchString(value.Str))
	}}, nil
}

func largestRepeat(r *syntax.Regexp) int {
	largest := 0
	if r.Op == syntax.OpRepeat {
		largest = max(r.Min, r.Max)
	}
	for _, sub := range r.Sub {
		largest = max(largest, largestRepeat(sub))
	}
	return largest
}

func orderTest(holds func(order int) bool) func(*yaml.Node) (test, error) {
	return func(operand *yaml.Node) (test, error) {
		want, err := strictyaml.ParseScalar(operand)
		if errors.Is(err, strictyaml.ErrOutOfRange) {
			return test{}, err
		}
		if err != nil || !want.IsNumber() {
			return test{}, fmt.Errorf("must be a number, got %s", strictyaml.Describe(operand))
		}
		return test{of: func(value gjson.Result) truth {
			return truthOf(value.Type == gjson.Number && holds(order(&want, value)))
		}}, nil
	}
}

func equals(s *strictyaml.Scalar, value gjson.Result) bool {
	switch value.Type {
	case gjson.String:
		return s.Kind == strictyaml.TextScalar && value.Str == s.Text
	case gjson.True, gjson.False:
		return s.Kind == strictyaml.BoolScalar && s.Bool == (value.Type == gjson.True)
	case gjson.Number:
		return s.IsNumber() && order(s, value) == 0
	}
	return false
}

// order compares a JSON number with s: -1, 0 or 1 as the value is less, equal or greater. Integers are compared
// exactly, all others as float64.
func order(s *strictyaml.Scalar, value gjson.Result) int {
	if s.Kind == strictyaml.IntScalar {
		whole, err := strconv.ParseInt(value.Raw, 10, 64)
		if err == nil {
			return cmp.Compare(whole, s.Int)
		}
		if errors.Is(err, strconv.ErrRange) {
			return cmp.Compare(whole, 0) // does not fit into 64 bits, as s does
		}
	}
	return cmp.Compare(value.Num, s.Float)
}
