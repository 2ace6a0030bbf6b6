package rules

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
)

// A predicate is true, false or unknown for a subject. Where a path has several values, a leaf is true when it is true for any of
// them, and otherwise unknown when it is unknown for any of them.
type predicate interface {
	of(e *evaluation, subject gjson.Result) truth
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

// A leaf compares the values of a path with an operand. Of several paths, it compares those of the first one that leads to a value.
type leaf struct {
	paths    []place
	operator string
	value    *yaml.Node   // the operand; nil for an operator that takes none
	from     *operandPath // where the operand is in the pod; nil when it is in the table
	Matcher
	// budget is the index of the costs of an expensive test in evaluation.spent.
	budget int
}

// A place is a path of a leaf.
type place struct {
	*fieldpath.Path
	// slot is the index of the answer for a path on the pod's root in evaluation.constant; -1 for other paths.
	slot int
}

func (l *leaf) of(e *evaluation, subject gjson.Result) truth {
	if l.from != nil {
		return l.ofOperand(e, subject)
	}
	for i := range l.paths {
		if answer := l.at(e, &l.paths[i], subject); answer != noValue {
			return answer
		}
	}
	return truthOf(l.absent)
}

// at is the answer for the values of one path; noValue when it leads to none.
func (l *leaf) at(e *evaluation, p *place, subject gjson.Result) truth {
	if p.slot < 0 {
		return l.ask(e, p, subject)
	}
	// A path on the pod's root has the same answer for all subjects. It is evaluated once, so that a pod with many containers and long
	// strings does not cost their product.
	if e.constant[p.slot] == unasked {
		e.constant[p.slot] = l.ask(e, p, e.pod)
	}
	return e.constant[p.slot]
}

func (l *leaf) ask(e *evaluation, p *place, from gjson.Result) truth {
	if p.isRun() {
		// Nearly every path is one run of keys, which needs no closure and no allocation.
		value := e.run(p.Steps, from)
		if !present(value) {
			return noValue
		}
		return l.fulfilled(e, value)
	}
	some, answer := false, isFalse
	e.walk(p.Steps, from, func(value gjson.Result) bool {
		some = true
		answer = max(answer, l.fulfilled(e, value))
		return answer != isTrue
	})
	if !some {
		return noValue
	}
	return answer
}

// isRun reports whether a path is one run of keys, or none.
func (p *place) isRun() bool {
	return len(p.Steps) == 0 || len(p.Steps) == 1 && p.Steps[0].Kind == fieldpath.Keys
}

// run returns the value of a path that is one run of keys, or of the subject itself.
func (e *evaluation) run(steps []fieldpath.Step, from gjson.Result) gjson.Result {
	switch {
	case len(steps) > 0:
		return e.lookup(from, &steps[0])
	case from.Type == entryType:
		return anyEntry
	}
	return from
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
		return Matcher{}, fmt.Errorf("unknown operator %q%s; known operators: %s", operator, operatorHint(operator), strings.Join(operatorNames(), ", "))
	case op.compile == nil && operand != nil:
		return Matcher{}, fmt.Errorf("operator %s does not take a value", operator)
	case op.compile != nil && operand == nil:
		return Matcher{}, fmt.Errorf("operator %s needs a value", operator)
	case op.compile == nil:
		return Matcher{absent: op.absent}, nil
	}
	compiled, err := op.compile(canonical(operand))
	if err != nil {
		return Matcher{}, fmt.Errorf("value of %s %w%s", operator, err, valueHint(operator, operand))
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
