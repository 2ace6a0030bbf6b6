package rules

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

// A predicate is true, false or unknown of a subject. Where a path yields several values, a leaf is true when any of them
// fulfils it, and unknown when none does and one is unknown.
type predicate interface {
	of(e *evaluation, subject gjson.Result) truth
	// String is the predicate in words, for messages.
	String() string
}

type (
	allOf []predicate
	anyOf []predicate
	notOf struct{ predicate predicate }
)

// A decided operand wins in any order: after an unknown one the others are still asked.

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

// A leaf compares what a path leads to with a value.
type leaf struct {
	path     *fieldpath.Path
	operator string
	operand  string // the value as the table writes it, "" where the operator takes none
	// value is that as a node; nil where the operator takes none.
	value *yaml.Node
	Matcher
	// slot is where the answer of a leaf on the pod's root is kept while the subjects of a pod are walked; -1 for others.
	slot int
	// budget is where the cost of a test that is not cheap is summed up while the subjects of a pod are walked.
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
	// A path on the pod's root has one answer for all subjects. It is looked for once, so that a pod of many containers
	// and much text does not cost their product.
	if e.constant[l.slot] == unasked {
		e.constant[l.slot] = l.ask(e, e.pod)
	}
	return e.constant[l.slot]
}

func (l *leaf) ask(e *evaluation, from gjson.Result) truth {
	if single := l.path.Steps; len(single) == 1 && single[0].Kind == fieldpath.Keys {
		// Nearly every path is one run of keys: no closure, no garbage. Subjects and pods are objects.
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

// fulfilled is the answer for a value that is there; unknown where it would cost too much.
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
		return Matcher{}, fmt.Errorf("operator %s takes no value", operator)
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
