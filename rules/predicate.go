package rules

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

// A predicate is true, false or unknown for a subject. Where a path has several values, a leaf is true when it is true for any of
// them, and otherwise unknown when it is unknown for any of them.
type predicate interface {
	of(e *evaluation, subject gjson.Result) truth
	// String describes the predicate, for messages.
	String() string
}

type (
	allOf []predicate
	anyOf []predicate
	notOf struct{ predicate predicate }
)

// The order of operands does not matter: after an unknown one the others are still evaluated.

func (p allOf) of(e *evaluation, subject gjson.Result) truth {
	answer := isTrue
	for _, q := range p {
		if answer = min(answer, q.of(e, subject)); answer == isFalse {
			break
		}
	}
	return answer
}

func (p anyOf) of(e *evaluation, subject gjson.Result) truth {
	answer := isFalse
	for _, q := range p {
		if answer = max(answer, q.of(e, subject)); answer == isTrue {
			break
		}
	}
	return answer
}

func (p notOf) of(e *evaluation, subject gjson.Result) truth { return p.predicate.of(e, subject).not() }

func (p allOf) String() string { return joinWords(p, " and ") }
func (p anyOf) String() string { return joinWords(p, " or ") }
func (p notOf) String() string { return "not (" + p.predicate.String() + ")" }

func joinWords(of []predicate, with string) string {
	words := make([]string, len(of))
	for i, p := range of {
		if _, isLeaf := p.(*leaf); isLeaf {
			words[i] = p.String()
		} else {
			words[i] = "(" + p.String() + ")"
		}
	}
	return strings.Join(words, with)
}

// A leaf compares the values of a path with an operand.
type leaf struct {
	path     *fieldpath.Path
	operator string
	operand  string     // as the table writes it; "" for an operator that takes none
	value    *yaml.Node // the operand as a node
	Matcher
	// slot is the index of the answer of a leaf on the pod's root in evaluation.constant; -1 for other leaves.
	slot int
	// budget is the index of the costs of an expensive test in evaluation.spent.
	budget int
}

func (l *leaf) String() string {
	words := l.path.Source + " " + l.operator
	if l.operand != "" {
		words += " " + l.operand
	}
	return words
}

func (l *leaf) of(e *evaluation, subject gjson.Result) truth {
	if l.slot < 0 {
		return l.ask(e, subject)
	}
	// A path on the pod's root has the same answer for all subjects. It is evaluated once, so that a pod with many containers and long
	// strings does not cost their product.
	if e.constant[l.slot] == unasked {
		e.constant[l.slot] = l.ask(e, e.pod)
	}
	return e.constant[l.slot]
}

func (l *leaf) ask(e *evaluation, from gjson.Result) truth {
	if single := l.path.Steps; len(single) == 1 && single[0].Kind == fieldpath.Keys {
		// Nearly every path is one run of keys, which needs no closure and no allocation. Subjects and pods are objects.
		value := e.get(from, &single[0])
		if !present(value) {
			return truthOf(l.absent)
		}
		return l.fulfilled(e, value)
	}
	some, answer := false, isFalse
	e.walk(l.path.Steps, from, func(value gjson.Result) bool {
		some = true
		answer = max(answer, l.fulfilled(e, value))
		return answer != isTrue
	})
	if !some {
		return truthOf(l.absent)
	}
	return answer
}

// fulfilled is the answer for a value; unknown when it would cost too much.
func (l *leaf) fulfilled(e *evaluation, value gjson.Result) truth {
	if l.test.perByte > 0 && !e.affords(l, value) {
		return unknown
	}
	return l.compare(value)
}

// A Matcher is an operator with its operand.
type Matcher struct {
	// absent is the answer where the path selects no value.
	absent bool
	// test is the answer for a value; none means that any value is enough (exists) or too much (absent).
	test test
}

// NewMatcher compiles an operator with its operand, which is nil for an operator that takes none.
func NewMatcher(operator string, operand *yaml.Node) (Matcher, error) {
	op, known := findOperator(operator)
	switch {
	case !known:
		names := operatorNames()
		return Matcher{}, fmt.Errorf("unknown operator %q%s; known operators: %s", operator, suggest.DidYouMean(operator, names), strings.Join(names, ", "))
	case op.compile == nil && operand != nil:
		return Matcher{}, fmt.Errorf("operator %s does not take a value", operator)
	case op.compile != nil && operand == nil:
		return Matcher{}, fmt.Errorf("operator %s needs a value", operator)
	case op.compile == nil:
		return Matcher{absent: op.absent}, nil
	}
	compiled, err := op.compile(operand)
	if err != nil {
		return Matcher{}, fmt.Errorf("value of %s %w", operator, err)
	}
	return Matcher{op.absent, compiled}, nil
}

// MatchAbsent is the answer where the path selects no value.
func (m *Matcher) MatchAbsent() bool { return m.absent }

// Match is the answer for one value, whatever it costs.
func (m *Matcher) Match(value gjson.Result) bool { return m.compare(value) == isTrue }

func (m *Matcher) compare(value gjson.Result) truth {
	if m.test.of == nil {
		return truthOf(!m.absent)
	}
	return m.test.of(value)
}
