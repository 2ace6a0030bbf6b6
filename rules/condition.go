package rules

import (
	"fmt"
	"math"
	"regexp/syntax"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// A condition is a predicate of a table as it stands in the text, and what the schema says of it.
type condition struct {
	node *yaml.Node
	kind conditionKind
	of   []*condition
	// doubtful says that there is a doubt about it, or about a part of it, from which others would follow.
	doubtful bool

	// Of a leaf:
	leaf  *leaf
	path  string // from the pod's root, "$.spec.hostNetwork", or from the subject, "image"
	value expected
}

type conditionKind uint8

const (
	isLeaf conditionKind = iota
	isAll
	isAny
	isNot
)

// doubtCondition reads a condition about a scope, and tells of doubts about its leaves.
func (d *doubter) doubtCondition(node *yaml.Node, about scope) *condition {
	c := &condition{node: node}
	for word, kind := range map[string]conditionKind{"all": isAll, "any": isAny, "not": isNot} {
		if part := field(node, word); part != nil {
			c.kind = kind
			for _, entry := range entries(part) {
				c.of = append(c.of, d.doubtCondition(entry, about))
			}
		}
	}
	if c.kind != isLeaf {
		c.doubtful = slices.ContainsFunc(c.of, func(part *condition) bool { return part.doubtful })
		return c
	}
	where := field(node, "path")
	c.leaf, _ = d.leaf(node, where, field(node, "operator"), field(node, "value")).(*leaf)
	c.path = strings.TrimPrefix(c.leaf.path.source, "$.")
	if c.leaf.path.root || about.pod {
		c.path = "$." + c.path
	}
	before := d.count()
	if c.value = d.expect(where, c.leaf.path, about); d.count() == before {
		d.doubtOperator(orElse(field(node, "value"), field(node, "operator")), c.leaf, &c.value)
	}
	c.doubtful = d.count() > before
	return c
}

// expected is what the schema says of the values that a path leads to.
type expected struct {
	kinds    kinds
	values   []string // of an enumeration
	whole    bool     // its numbers are whole
	length   bool     // it is the length of a list
	always   bool     // there is always a value
	several  bool     // there may be more than one
	elements kinds    // of its elements, where it is a list
	words    string
	quantity bool
}

// expect follows a path from all types that a subject may have. It is in doubt where it leads nowhere from any of them.
func (d *doubter) expect(node *yaml.Node, p *valuePath, about scope) expected {
	value := expected{
		several: slices.ContainsFunc(p.steps, func(s step) bool { return s.kind == stepEach || s.kind == stepAll }),
		length:  p.steps[len(p.steps)-1].kind == stepLength,
	}
	subjects := about.subjects
	if p.root && d.Pods != nil {
		subjects = []*schemaType{d.Pods.root}
	}
	var wrong *misstep
	found := 0
	for _, subject := range subjects {
		to, astray := subject.find(p.steps)
		if astray != nil {
			if wrong == nil {
				wrong = astray
			}
			continue
		}
		value.add(to, found == 0)
		found++
	}
	switch {
	case found == 0 && wrong != nil:
		d.nowhere(node, "path", subjects[0], p, wrong)
	case found == 0 && value.length:
		value.add(place{schemaType: lengthType}, true)
	case found == 0:
		value.kinds, value.elements, value.words = anyKind, anyKind, "any value"
	}
	value.always = value.always && wrong == nil
	return value
}

// add widens what is expected by what stands in another place.
func (v *expected) add(p place, first bool) {
	if first {
		v.values, v.whole, v.always, v.quantity = p.values, p.whole, p.always, p.name == "quantity"
		v.words = p.words()
	} else {
		if v.values = slices.Concat(v.values, p.values); len(p.values) == 0 {
			v.values = nil
		}
		v.whole, v.always, v.quantity = v.whole && p.whole, v.always && p.always, v.quantity && p.name == "quantity"
		if words := p.words(); words != v.words {
			v.words += " or " + words
		}
	}
	v.kinds |= p.kinds
	switch {
	case p.kinds == anyKind:
		v.elements = anyKind
	case p.kinds == anArray:
		v.elements |= p.of.kinds
	}
}

// misfit says why a value of the table can never be equal to a value of the kinds; empty where it can.
func (v *expected) misfit(of kinds, want *scalar) string {
	kind, words := aText, fmt.Sprintf("%.64q is a string", want.text)
	switch want.kind {
	case boolScalar:
		kind, words = aTruth, fmt.Sprintf("%t is a boolean", want.truth)
	case wholeScalar:
		kind, words = aCount, fmt.Sprintf("%d is a number", want.whole)
	case floatScalar:
		kind, words = aCount, fmt.Sprintf("%v is a number", want.float)
	case textScalar:
	}
	switch {
	case of&kind == 0 && v.quantity && kind == aCount:
		return v.words + ", to be compared by quantityGreaterThan and quantityLessThan"
	case of&kind == 0:
		return v.words + ", and " + words
	case kind == aText && len(v.values) > 0 && !slices.Contains(v.values, want.text):
		return fmt.Sprintf("%s, which is never %.64q%s", v.words, want.text, suggest.DidYouMean(want.text, v.values))
	case want.kind == floatScalar && v.whole && want.float != math.Trunc(want.float):
		return v.words + ", and " + words
	case kind == aCount && v.length && want.float < 0:
		return v.words + ", which is never less than 0"
	}
	return ""
}

// doubtOperator tells where an operator has the same answer for all values that a path may lead to.
func (d *doubter) doubtOperator(node *yaml.Node, l *leaf, v *expected) {
	never := func(reason string) {
		d.wrong(node, "%s on %q is never true: it is %s", l.operator, l.path.source, reason)
	}
	every := func(reason string) {
		d.wrong(node, "%s on %q is true of every value: %s", l.operator, l.path.source, reason)
	}
	switch l.operator {
	case "equals", "in", "oneOf", "contains":
		d.doubtValues(l, v, never)
	case "notEquals", "notIn":
		d.doubtValues(l, v, func(reason string) { every("it is " + reason) })
	case "hasPrefix", "hasSuffix", "matches", "imageTag":
		switch {
		case v.kinds&aText == 0:
			never(v.words + ", and no string")
		case l.operator == "matches" && matchesAll(l.value.Value), strings.HasPrefix(l.operator, "has") && l.value.Value == "":
			every("there is nothing that it would not match")
		}
	case "greaterThan", "lessThan":
		want, _ := parseScalar(l.value)
		switch {
		case v.quantity:
			never(fmt.Sprintf("%s; use quantity%s", v.words, strings.ToUpper(l.operator[:1])+l.operator[1:]))
		case v.kinds&aCount == 0:
			never(v.words + ", and no number")
		case v.length && l.operator == "lessThan" && want.float <= 0:
			never(v.words + ", which is never less than 0")
		case v.length && l.operator == "greaterThan" && want.float < 0:
			every("a length is never less than 0")
		}
	case "quantityGreaterThan", "quantityLessThan":
		if v.kinds&(aText|aCount) == 0 {
			never(v.words + ", and no quantity")
		}
	case "length":
		least, most, _ := parseLengths(l.value)
		switch {
		case v.kinds&(aText|anArray|anObject) == 0:
			never(v.words + ", which has no length")
		case least == 0 && most == math.MaxInt:
			every("there is no length below 0")
		}
	}
}

// doubtValues tells of values of an operator that a path cannot lead to.
func (d *doubter) doubtValues(l *leaf, v *expected, all func(reason string)) {
	var misfits []string
	values := entries(l.value)
	for _, node := range values {
		want, _ := parseScalar(node)
		of := v.kinds
		inside := l.operator == "oneOf" || l.operator == "contains"
		if inside {
			of |= v.elements
		}
		switch {
		case l.operator == "contains" && of&aText != 0 && want.kind == textScalar:
			if want.text == "" && v.kinds == aText {
				d.wrong(node, "contains on %q is true of every value: every string has an empty one in it", l.path.source)
			}
			continue
		case l.operator == "contains":
			of &^= v.kinds // beside a part of a string it finds elements alone
			of |= v.elements
		}
		if misfit := v.misfit(of, &want); misfit != "" {
			misfits = append(misfits, misfit)
			if l.value.Kind == yaml.SequenceNode && len(values) > 1 {
				d.wrong(node, "the list of %s has a value that %q never is: it is %s", l.operator, l.path.source, misfit)
			}
		}
	}
	if len(misfits) > 0 && (l.value.Kind != yaml.SequenceNode || len(values) == 1) {
		all(misfits[0])
	}
}

// matchesAll tells whether an expression is known to match every string: it matches nothing at all, wherever it is.
func matchesAll(expression string) bool {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	return err == nil && acceptsNothing(parsed)
}

func acceptsNothing(r *syntax.Regexp) bool {
	switch r.Op {
	case syntax.OpEmptyMatch, syntax.OpStar, syntax.OpQuest:
		return true
	case syntax.OpRepeat:
		return r.Min == 0 || acceptsNothing(r.Sub[0])
	case syntax.OpCapture, syntax.OpPlus:
		return acceptsNothing(r.Sub[0])
	case syntax.OpConcat:
		return !slices.ContainsFunc(r.Sub, func(sub *syntax.Regexp) bool { return !acceptsNothing(sub) })
	case syntax.OpAlternate:
		return slices.ContainsFunc(r.Sub, acceptsNothing)
	}
	return false
}
