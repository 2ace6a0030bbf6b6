package rules

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"gopkg.in/yaml.v3"
)

// A test compares a value that is there.
type test struct {
	// of is the answer for a value. Values of another type than the operator's are never equal, never contained and neither
	// greater nor less: numbers are compared as numbers alone, and text as text alone.
	of func(value gjson.Result) truth
	// perByte is the cost of the test for each byte of a string; 0 for a test that is cheap whatever the value.
	perByte int
}

// An operator is a word of the table's language.
type operator struct {
	OperatorDoc
	// absent is the answer where there is no value: as with label selectors of Kubernetes, what is not there is
	// not equal to and not in anything.
	absent bool
	// compile makes the test for the operand; nil for an operator that takes none.
	compile func(operand *yaml.Node) (test, error)
}

// OperatorDoc explains an operator to the author of a table.
type OperatorDoc struct {
	Name string
	// Value says what the operator compares with; empty where it takes no value.
	Value string
	// Meaning ends the sentence "the predicate is true when".
	Meaning string
}

// Operators explains all operators, in the order in which they are best learned.
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
	aQuantity = "a quantity of Kubernetes"
)

var operators = []operator{
	{OperatorDoc{"exists", "", "the path leads to a value"}, false, nil},
	{OperatorDoc{"absent", "", "it leads to none, or to null"}, true, nil},
	{OperatorDoc{"equals", oneValue, "the value is that"}, false, compileEquals},
	{OperatorDoc{"notEquals", oneValue, "the value is another, or absent"}, true, negated(compileEquals)},
	{OperatorDoc{"in", "a list of those", "the value is in the list"}, false, compileIn},
	{OperatorDoc{"notIn", "a list of those", "the value is not in the list, or absent"}, true, negated(compileIn)},
	{OperatorDoc{"hasPrefix", aString, "the value is a string that begins so"}, false, textTest(strings.HasPrefix)},
	{OperatorDoc{"hasSuffix", aString, "the value is a string that ends so"}, false, textTest(strings.HasSuffix)},
	{OperatorDoc{"contains", oneValue, "the value is a string with that in it, or an array with that element"}, false, compileContains},
	{OperatorDoc{"matches", "an RE2 expression", "the value is a string that the expression matches somewhere (`^` and `$` bind it)"}, false, compileMatches},
	{OperatorDoc{"oneOf", "a list of those", "the value, or an element of it where it is an array, is in the list"}, false, compileOneOf},
	{OperatorDoc{"greaterThan", aNumber, "the value is a greater number"}, false, orderTest(func(order int) bool { return order > 0 })},
	{OperatorDoc{"lessThan", aNumber, "the value is a smaller number"}, false, orderTest(func(order int) bool { return order < 0 })},
	{OperatorDoc{"quantityGreaterThan", aQuantity, "the value is a greater quantity: `500m`, `1.5`, `64Mi`, a string or a number"}, false, quantityTest(func(order int) bool { return order > 0 })},
	{OperatorDoc{"quantityLessThan", aQuantity, "the value is a smaller quantity"}, false, quantityTest(func(order int) bool { return order < 0 })},
	{OperatorDoc{"length", "a whole number, or `{min: N, max: N}`", "the value has that many elements (an array), keys (an object) or characters (a string)"}, false, compileLength},
	{OperatorDoc{"imageTag", aString, "the value is an image reference that is pulled by that tag: `latest` where it names neither tag nor digest, none where it names a digest"}, false, compileImageTag},
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
	want, err := parseScalar(operand)
	if err != nil {
		return test{}, err
	}
	return test{of: func(value gjson.Result) truth { return truthOf(want.equals(value)) }}, nil
}

func compileIn(operand *yaml.Node) (test, error) {
	in, err := parseList(operand)
	if err != nil {
		return test{}, err
	}
	return test{of: func(value gjson.Result) truth { return truthOf(in(value)) }}, nil
}

// parseList reads a list of scalars, and returns what finds a value among them.
func parseList(operand *yaml.Node) (in func(gjson.Result) bool, err error) {
	if operand.Kind != yaml.SequenceNode || len(operand.Content) == 0 {
		return nil, errors.New("must be a list of at least one string, number or boolean")
	}
	if len(operand.Content) > maxListValues {
		return nil, fmt.Errorf("has %d entries; %d are allowed", len(operand.Content), maxListValues)
	}
	text := make(map[string]bool)
	var others []scalar
	for i, node := range operand.Content {
		want, err := parseScalar(node)
		if err != nil {
			return nil, fmt.Errorf("entry %d %w", i+1, err)
		}
		if want.kind == textScalar {
			text[want.text] = true
		} else {
			others = append(others, want)
		}
	}
	return func(value gjson.Result) bool {
		if value.Type == gjson.String {
			return text[value.Str]
		}
		for i := range others {
			if others[i].equals(value) {
				return true
			}
		}
		return false
	}, nil
}

func textTest(holds func(value, operand string) bool) func(*yaml.Node) (test, error) {
	return func(operand *yaml.Node) (test, error) {
		want, err := parseText(operand)
		if err != nil {
			return test{}, err
		}
		return test{of: func(value gjson.Result) truth {
			return truthOf(value.Type == gjson.String && holds(value.Str, want))
		}}, nil
	}
}

// compileContains finds a part of a string, or an element of an array.
func compileContains(operand *yaml.Node) (test, error) {
	want, err := parseScalar(operand)
	if err != nil {
		return test{}, err
	}
	return test{of: func(value gjson.Result) truth {
		if value.IsArray() {
			return truthOf(hasElement(value, want.equals))
		}
		return truthOf(want.kind == textScalar && value.Type == gjson.String && strings.Contains(value.Str, want.text))
	}}, nil
}

// hasElement tells whether one of the elements of an array is wanted.
func hasElement(array gjson.Result, wanted func(gjson.Result) bool) bool {
	found := false
	array.ForEach(func(_, element gjson.Result) bool {
		found = wanted(element)
		return !found
	})
	return found
}

// The bounds of an expression. RE2 takes time in proportion to text times program, so both are bounded.
const (
	maxRegexpBytes  = 1 << 10
	maxRegexpRepeat = 100
	maxRegexpInsts  = 2000
)

func compileMatches(operand *yaml.Node) (test, error) {
	source, err := parseText(operand)
	if err != nil {
		return test{}, err
	}
	if len(source) > maxRegexpBytes {
		return test{}, fmt.Errorf("is an expression of %d bytes; %d are allowed", len(source), maxRegexpBytes)
	}
	parsed, err := syntax.Parse(source, syntax.Perl)
	if wrong := new(syntax.Error); errors.As(err, &wrong) {
		return test{}, fmt.Errorf("is not an RE2 expression: %s: %q", wrong.Code, wrong.Expr)
	}
	if n := largestRepeat(parsed); n > maxRegexpRepeat {
		return test{}, fmt.Errorf("repeats %d times; %d are allowed", n, maxRegexpRepeat)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return test{}, fmt.Errorf("is not an RE2 expression: %w", err)
	}
	insts := len(program.Inst)
	if insts > maxRegexpInsts {
		return test{}, fmt.Errorf("compiles to %d instructions; %d are allowed", insts, maxRegexpInsts)
	}
	expression, err := regexp.Compile(source)
	if err != nil {
		return test{}, fmt.Errorf("is not an RE2 expression: %w", err)
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
		want, err := parseScalar(operand)
		if errors.Is(err, errOutOfRange) {
			return test{}, err
		}
		if err != nil || !want.isNumber() {
			return test{}, fmt.Errorf("must be a number, not %s", written(operand))
		}
		return test{of: func(value gjson.Result) truth {
			return truthOf(value.Type == gjson.Number && holds(want.order(value)))
		}}, nil
	}
}

type scalarKind uint8

const (
	textScalar scalarKind = iota
	wholeScalar
	floatScalar
	boolScalar
)

// A scalar is a value that the table compares with.
type scalar struct {
	kind  scalarKind
	text  string
	whole int64
	float float64 // also of a whole number
	truth bool
}

var errOutOfRange = errors.New("is outside the range of a 64-bit integer (-9223372036854775808 to 9223372036854775807)")

func (s *scalar) isNumber() bool { return s.kind == wholeScalar || s.kind == floatScalar }

func parseScalar(node *yaml.Node) (scalar, error) {
	wrong := fmt.Errorf("must be a string in quotes, a number or a boolean, not %s", written(node))
	if node.Kind != yaml.ScalarNode {
		return scalar{}, wrong
	}
	switch node.ShortTag() {
	case "!!str":
		return scalar{kind: textScalar, text: node.Value}, nil
	case "!!bool":
		var truth bool
		if err := node.Decode(&truth); err != nil {
			return scalar{}, wrong
		}
		return scalar{kind: boolScalar, truth: truth}, nil
	case "!!int":
		var whole int64
		if err := node.Decode(&whole); err != nil && node.Style&yaml.TaggedStyle != 0 {
			return scalar{}, wrong
		} else if err != nil {
			return scalar{}, errOutOfRange
		}
		return scalar{kind: wholeScalar, whole: whole, float: float64(whole)}, nil
	case "!!float":
		// YAML takes whole numbers that are too long for it for floats, which would no longer be exact.
		if strings.Trim(node.Value, "+-0123456789_") == "" {
			return scalar{}, errOutOfRange
		}
		var float float64
		if err := node.Decode(&float); err != nil || math.IsNaN(float) || math.IsInf(float, 0) {
			return scalar{}, errors.New("must be a finite number")
		}
		return scalar{kind: floatScalar, float: float}, nil
	}
	return scalar{}, wrong
}

func parseText(node *yaml.Node) (string, error) {
	if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!str" {
		return "", fmt.Errorf("must be a string in quotes, not %s", written(node))
	}
	return node.Value, nil
}

// written says what stands at a node, for messages.
func written(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case node.Kind == yaml.MappingNode:
		return "a mapping"
	case node.ShortTag() == "!!null":
		return "an empty value"
	case node.ShortTag() == "!!str" || node.Style != 0:
		return fmt.Sprintf("the string %.64q", node.Value)
	}
	return node.Value
}

func (s *scalar) equals(value gjson.Result) bool {
	switch value.Type {
	case gjson.String:
		return s.kind == textScalar && value.Str == s.text
	case gjson.True, gjson.False:
		return s.kind == boolScalar && s.truth == (value.Type == gjson.True)
	case gjson.Number:
		return s.isNumber() && s.order(value) == 0
	}
	return false
}

// order compares a JSON number with s: -1, 0 or 1 as the value is less, equal or greater. Whole numbers are compared
// exactly, all others as float64.
func (s *scalar) order(value gjson.Result) int {
	if s.kind == wholeScalar {
		whole, err := strconv.ParseInt(value.Raw, 10, 64)
		if err == nil {
			return cmp.Compare(whole, s.whole)
		}
		if errors.Is(err, strconv.ErrRange) {
			return cmp.Compare(whole, 0) // beyond 64 bits, and so beyond s
		}
	}
	return cmp.Compare(value.Num, s.float)
}
