package rules

import (
	"strings"

	"github.com/tidwall/gjson"
	"gopkg.in/yaml.v3"
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
	path     *valuePath
	operator string
	operand  string // the value as the table writes it, "" where the operator takes none
	// value is that as a node; nil where the operator takes none.
	value *yaml.Node
	// absent is the leaf's answer where the path leads to nothing.
	absent bool
	// test is asked for each value that is there; none means that being there is enough (exists) or too much (absent).
	test test
	// slot is where the answer of a leaf on the pod's root is kept while the subjects of a pod are walked; -1 for others.
	slot int
	// budget is where the cost of a test that is not cheap is summed up while the subjects of a pod are walked.
	budget int
}

func (l *leaf) String() string {
	words := l.path.source + " " + l.operator
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
	if single := l.path.steps; len(single) == 1 && single[0].kind == stepKeys {
		// Nearly every path is one run of keys: no closure, no garbage. Subjects and pods are objects.
		value := e.get(from, &single[0])
		if !present(value) {
			return truthOf(l.absent)
		}
		return l.fulfilled(e, value)
	}
	some, answer := false, isFalse
	l.path.walk(e, from, func(value gjson.Result) bool {
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

// compare is the answer for a value that is there, whatever it costs.
func (l *leaf) compare(value gjson.Result) truth {
	if l.test.of == nil {
		return truthOf(!l.absent)
	}
	return l.test.of(value)
}
