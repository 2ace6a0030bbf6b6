package rules

import (
	"strings"

	"github.com/tidwall/gjson"
	"gopkg.in/yaml.v3"
)

// A predicate is true or false of a subject. Where a path yields several values, a leaf is true when any of them
// fulfils it.
type predicate interface {
	holds(e *evaluation, subject gjson.Result) bool
	// String is the predicate in words, for messages.
	String() string
}

type (
	allOf []predicate
	anyOf []predicate
	notOf struct{ of predicate }
)

func (p allOf) holds(e *evaluation, subject gjson.Result) bool {
	for _, q := range p {
		if !q.holds(e, subject) {
			return false
		}
	}
	return true
}

func (p anyOf) holds(e *evaluation, subject gjson.Result) bool {
	for _, q := range p {
		if q.holds(e, subject) {
			return true
		}
	}
	return false
}

func (p notOf) holds(e *evaluation, subject gjson.Result) bool { return !p.of.holds(e, subject) }

func (p allOf) String() string { return joinWords(p, " and ") }
func (p anyOf) String() string { return joinWords(p, " or ") }
func (p notOf) String() string { return "not (" + p.of.String() + ")" }

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
	// test is asked for each value that is there; nil means that being there is enough (exists) or too much (absent).
	test test
	// slot is where the answer of a leaf on the pod's root is kept while the subjects of a pod are walked; -1 for others.
	slot int
}

func (l *leaf) String() string {
	words := l.path.source + " " + l.operator
	if l.operand != "" {
		words += " " + l.operand
	}
	return words
}

func (l *leaf) holds(e *evaluation, subject gjson.Result) bool {
	if l.slot < 0 {
		return l.ask(e, subject)
	}
	// A path on the pod's root has one answer for all subjects. It is looked for once, so that a pod of many containers
	// and much text does not cost their product.
	if known := &e.constant[l.slot]; *known == unknown {
		*known = isFalse
		if l.ask(e, e.pod) {
			*known = isTrue
		}
	}
	return e.constant[l.slot] == isTrue
}

func (l *leaf) ask(e *evaluation, from gjson.Result) bool {
	if single := l.path.steps; len(single) == 1 && single[0].kind == stepKeys {
		// Nearly every path is one run of keys: no closure, no garbage. Subjects and pods are objects.
		value := e.get(from, &single[0])
		if !present(value) {
			return l.absent
		}
		return l.fulfilled(e, value)
	}
	some, found := false, false
	l.path.walk(e, from, func(value gjson.Result) bool {
		some = true
		found = l.fulfilled(e, value)
		return !found
	})
	if !some {
		return l.absent
	}
	return found
}

func (l *leaf) fulfilled(e *evaluation, value gjson.Result) bool {
	if l.test == nil {
		return !l.absent
	}
	return l.test(e, value)
}
