package rules

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// An operandPath is where the operand of a leaf is, in place of a value in the table.
type operandPath struct {
	place
	times *factor // nil for operators that take none, and for 1
	text  string  // times as it is written
	// compare compares a value of the leaf with the operand.
	compare comparison
	// slot is the index of the answer of a leaf whose paths are all on the pod's root in evaluation.constant; -1 for other leaves.
	slot int
}

// A comparison compares a value with an operand of the pod.
type comparison func(value, operand gjson.Result, times *factor) truth

type comparisonOperator struct {
	operator string
	compare  comparison
	ordered  bool // it compares numbers or quantities, which may be multiplied
}

// comparisons are the operators whose operand may be in the pod.
var comparisons = []comparisonOperator{
	{"equals", sameValue, false},
	{"notEquals", func(v, o gjson.Result, _ *factor) truth { return sameValue(v, o, nil).not() }, false},
	{"greaterThan", numbersCompare(func(order int) bool { return order > 0 }), true},
	{"lessThan", numbersCompare(func(order int) bool { return order < 0 }), true},
	{"quantityGreaterThan", quantitiesCompare(func(order int) bool { return order > 0 }), true},
	{"quantityLessThan", quantitiesCompare(func(order int) bool { return order < 0 }), true},
	{"quantityEquals", quantitiesCompare(func(order int) bool { return order == 0 }), true},
	{"hasPrefix", textsCompare(strings.HasPrefix), false},
	{"hasSuffix", textsCompare(strings.HasSuffix), false},
	{"contains", containsValue, false},
}

func comparisonNames(ordered bool) string {
	var names []string
	for _, c := range comparisons {
		if c.ordered || !ordered {
			names = append(names, c.operator)
		}
	}
	return strings.Join(names, ", ")
}

// sameValue compares two scalars. A list or a map is equal to nothing.
func sameValue(value, operand gjson.Result, _ *factor) truth {
	switch {
	case value.Type != operand.Type, value.Type >= gjson.JSON:
		return isFalse
	case value.Type == gjson.String:
		return truthOf(value.Str == operand.Str)
	case value.Type == gjson.Number:
		order, is := compareNumbers(value.Raw, operand.Raw, nil)
		if is != isTrue {
			return is
		}
		return truthOf(order == 0)
	}
	return isTrue // both true, or both false
}

func textsCompare(holds func(value, operand string) bool) comparison {
	return func(value, operand gjson.Result, _ *factor) truth {
		return truthOf(value.Type == gjson.String && operand.Type == gjson.String && holds(value.Str, operand.Str))
	}
}

// containsValue searches a string for a substring, or an array for an element.
func containsValue(value, operand gjson.Result, _ *factor) truth {
	if !value.IsArray() {
		return truthOf(value.Type == gjson.String && operand.Type == gjson.String && strings.Contains(value.Str, operand.Str))
	}
	answer := isFalse
	value.ForEach(func(_, element gjson.Result) bool {
		answer = max(answer, sameValue(element, operand, nil))
		return answer != isTrue
	})
	return answer
}

func numbersCompare(holds func(order int) bool) comparison {
	return func(value, operand gjson.Result, times *factor) truth {
		if value.Type != gjson.Number || operand.Type != gjson.Number {
			return isFalse
		}
		order, is := compareNumbers(value.Raw, operand.Raw, times)
		if is != isTrue {
			return is
		}
		return truthOf(holds(order))
	}
}

// compareNumbers compares JSON numbers exactly; unknown when one is too long or has too large an exponent.
func compareNumbers(value, operand string, times *factor) (order int, is truth) {
	if times == nil {
		left, errLeft := strconv.ParseInt(value, 10, 64)
		right, errRight := strconv.ParseInt(operand, 10, 64)
		if errLeft == nil && errRight == nil {
			return cmp.Compare(left, right), isTrue
		}
	}
	left, is := parseNumber(value)
	if is != isTrue {
		return 0, is
	}
	right, is := parseNumber(operand)
	if is != isTrue {
		return 0, is
	}
	return left.cmpTimes(right, times), isTrue
}

func quantitiesCompare(holds func(order int) bool) comparison {
	return func(value, operand gjson.Result, times *factor) truth {
		left, isLeft := quantityOf(value)
		right, isRight := quantityOf(operand)
		if is := min(isLeft, isRight); is != isTrue {
			return is // what is not a quantity compares with none, however large
		}
		return truthOf(holds(left.cmpTimes(right, times)))
	}
}

// -- evaluation

// ofOperand is the answer of a leaf whose operand is in the pod.
func (l *leaf) ofOperand(e *evaluation, subject gjson.Result) truth {
	if l.from.slot < 0 {
		return l.askOperand(e, subject)
	}
	if e.constant[l.from.slot] == unasked {
		e.constant[l.from.slot] = l.askOperand(e, e.pod)
	}
	return e.constant[l.from.slot]
}

func (l *leaf) askOperand(e *evaluation, subject gjson.Result) truth {
	operand := e.operand(&l.from.place, subject)
	if !present(operand) {
		return isFalse
	}
	for i := range l.paths {
		if answer := l.compareAt(e, &l.paths[i], subject, operand); answer != noValue {
			return answer
		}
	}
	return truthOf(l.absent)
}

// operand is the value of a path that leads to at most one.
func (e *evaluation) operand(p *place, subject gjson.Result) (operand gjson.Result) {
	if p.Root {
		for _, value := range e.valuesOnRoot(p) {
			return value
		}
		return gjson.Result{}
	}
	if p.isRun() {
		return e.run(p.Steps, subject)
	}
	e.walk(p.Steps, subject, func(value gjson.Result) bool {
		operand = value
		return false
	})
	return operand
}

// compareAt compares the values of a path with the operand; noValue when it leads to none.
func (l *leaf) compareAt(e *evaluation, p *place, subject, operand gjson.Result) truth {
	if p.Root {
		return l.compareAll(e, e.valuesOnRoot(p), operand)
	}
	if p.isRun() {
		value := e.run(p.Steps, subject)
		if !present(value) {
			return noValue
		}
		return l.compareWith(e, value, operand)
	}
	some, answer := false, isFalse
	e.walk(p.Steps, subject, func(value gjson.Result) bool {
		some, answer = true, max(answer, l.compareWith(e, value, operand))
		return answer != isTrue && !l.exhausted(e)
	})
	if !some {
		return noValue
	}
	return answer
}

func (l *leaf) compareAll(e *evaluation, values []gjson.Result, operand gjson.Result) truth {
	if len(values) == 0 {
		return noValue
	}
	answer := isFalse
	for _, value := range values {
		if answer = max(answer, l.compareWith(e, value, operand)); answer == isTrue || l.exhausted(e) {
			break
		}
	}
	return answer
}

// compareCost is the cost of a comparison beside that of its texts.
const compareCost = 100

// compareWith charges the budget of the leaf: a pod may have as many subjects as it has values to compare with each of them.
func (l *leaf) compareWith(e *evaluation, value, operand gjson.Result) truth {
	cost := compareCost + len(value.Raw) + len(value.Str) + len(operand.Raw) + len(operand.Str)
	if cost > maxLeafCost-e.spent[l.budget] {
		e.spent[l.budget] = maxLeafCost
		return unknown
	}
	e.spent[l.budget] += cost
	return l.from.compare(value, operand, l.from.times)
}

// exhausted reports whether the budget of a leaf is spent, so that all further answers are unknown.
func (l *leaf) exhausted(e *evaluation) bool { return e.spent[l.budget] == maxLeafCost }

// foundValues are the values of a path on the pod's root.
type foundValues struct {
	found  bool
	values []gjson.Result
}

// valuesOnRoot returns the values of a path on the pod's root, which are searched once.
func (e *evaluation) valuesOnRoot(p *place) []gjson.Result {
	of := &e.found[p.slot]
	if of.found {
		return of.values
	}
	of.found = true
	if !p.isRun() {
		e.walk(p.Steps, e.pod, func(value gjson.Result) bool {
			of.values = append(of.values, value)
			return true
		})
	} else if value := e.run(p.Steps, e.pod); present(value) {
		of.values = append(of.values, value)
	}
	return of.values
}

// beginFound prepares the values of n paths.
func (e *evaluation) beginFound(n int) {
	for len(e.found) < n {
		e.found = append(e.found, foundValues{})
	}
}

// endFound drops all references to the pod, and the memory of one with absurdly many values.
func (e *evaluation) endFound() {
	const most = 1000
	for i := range e.found {
		of := &e.found[i]
		if of.found = false; cap(of.values) > most {
			of.values = nil
		}
		clear(of.values)
		of.values = of.values[:0]
	}
}

// assignOperandSlots gives slots to a leaf whose operand is in the pod.
func (t *Table) assignOperandSlots(l *leaf, ofPod bool) {
	l.budget = t.budgets
	t.budgets++
	paths := []*place{&l.from.place}
	for i := range l.paths {
		paths = append(paths, &l.paths[i])
	}
	if !slices.ContainsFunc(paths, func(p *place) bool { return !p.Root }) {
		l.from.slot = t.constants
		t.constants++
	}
	for _, p := range paths {
		if p.Root {
			p.slot = t.found
			t.found++
		}
		if p.Root || ofPod {
			t.lookups++
		}
	}
}

// words names the operand for readers.
func (o *operandPath) words() string {
	if o.times != nil {
		return o.text + " times " + pathText(o.Path)
	}
	return pathText(o.Path)
}

// -- loading

// valueFrom reads the path of an operand in the pod, and the number to multiply it by, which may be nil.
func (r *loader) valueFrom(l *leaf, word *yaml.Node, fields map[string]*yaml.Node) {
	from, times := fields["valueFrom"], fields["times"]
	i := slices.IndexFunc(comparisons, func(c comparisonOperator) bool { return c.operator == l.operator })
	op, known := findOperator(l.operator)
	switch {
	case !known:
		_, err := NewMatcher(l.operator, nil)
		r.Errorf(word, "%s", err)
		return
	case from == nil:
		r.Errorf(times, "times multiplies valueFrom, which the predicate does not have")
		return
	case fields["value"] != nil:
		r.Errorf(from, "a predicate may have a value or valueFrom, not both")
		return
	case i < 0:
		r.Errorf(from, "operator %s does not take valueFrom; operators that do: %s", l.operator, comparisonNames(false))
		return
	}
	if from.Kind == yaml.SequenceNode {
		r.Errorf(from, "valueFrom must be one path, got a list; write any: with a predicate for each path")
		return
	}
	source, ok := r.Text(from, "valueFrom")
	if !ok {
		return
	}
	path, err := fieldpath.ParseValue(source)
	if err == nil && path.MayHaveSeveral() {
		err = errors.New("may lead to several values; it must lead to one")
	}
	if err != nil {
		hint := fieldpath.Hint(source, false)
		if parts := product.FindStringSubmatch(source); parts != nil {
			hint = fmt.Sprintf("; write valueFrom: %s, times: %s", parts[1]+parts[4], parts[2]+parts[3])
		}
		r.Errorf(from, "valueFrom: path %q %s%s", source, err, hint)
		return
	}
	l.absent = op.absent
	l.from = &operandPath{place: place{path, -1}, compare: comparisons[i].compare, slot: -1}
	switch {
	case times == nil:
	case !comparisons[i].ordered:
		r.Errorf(times, "operator %s does not take times; operators that do: %s", l.operator, comparisonNames(true))
	default:
		if l.from.times, l.from.text, err = parseFactor(times); err != nil {
			r.Errorf(times, "times %s", err)
		}
	}
}

// product is a path that is multiplied in valueFrom instead of by times.
var product = regexp.MustCompile(`^(?:([$\w./\\-]+) ?\* ?([0-9.]+)|([0-9.]+) ?\* ?([$\w./\\-]+))$`)

var decimalNumber = regexp.MustCompile(`^[0-9]*\.?[0-9]+$`)

// parseFactor reads times: a positive decimal of at most 18 digits, which is kept exactly.
func parseFactor(node *yaml.Node) (*factor, string, error) {
	plain := canonical(node)
	s, err := strictyaml.ParseScalar(plain)
	whole, fraction, _ := strings.Cut(plain.Value, ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if err != nil || !s.IsNumber() || !decimalNumber.MatchString(plain.Value) || digits == "" || len(digits) > 18 || len(fraction) > 18 {
		return nil, "", fmt.Errorf("must be a decimal number greater than 0 with at most 18 digits, such as 4 or 1.5, got %s", strictyaml.Describe(node))
	}
	f := &factor{denominator: 1}
	f.numerator, _ = strconv.ParseUint(digits, 10, 64)
	for range len(fraction) {
		f.denominator *= 10
	}
	return f, plain.Value, nil
}
