package rules

import (
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// A phrase is an operator in a sentence, and its negation. %s stands for the operand.
type phrase struct{ is, isNot string }

func (p phrase) opposite() phrase { return phrase{p.isNot, p.is} }

var (
	isSet      = phrase{"is set", "is not set"}
	isValue    = phrase{"is %s", "is not %s"}
	isOneOf    = phrase{"is one of %s", "is none of %s"}
	isIn       = phrase{"is in %s", "is not in %s"}
	isFrom     = phrase{"is from %s", "is not from %s"}
	isMoreThan = phrase{"is more than %s", "is not more than %s"}
	isLessThan = phrase{"is less than %s", "is not less than %s"}
)

// phrases has all operators.
var phrases = map[string]phrase{
	"exists":              isSet,
	"absent":              isSet.opposite(),
	"equals":              isValue,
	"notEquals":           isValue.opposite(),
	"in":                  isOneOf,
	"notIn":               isOneOf.opposite(),
	"hasPrefix":           {"starts with %s", "does not start with %s"},
	"hasSuffix":           {"ends with %s", "does not end with %s"},
	"contains":            {"contains %s", "does not contain %s"},
	"matches":             {"matches %s", "does not match %s"},
	"oneOf":               {"is or contains one of %s", "neither is nor contains one of %s"},
	"greaterThan":         isMoreThan,
	"lessThan":            isLessThan,
	"quantityGreaterThan": isMoreThan,
	"quantityLessThan":    isLessThan,
	"length":              {"has a length of %s", "does not have a length of %s"},
	"quantityEquals":      isValue,
	"imageFrom":           {"is from one of %s", "is from none of %s"},
	"imageTag":            {"has the tag %s", "does not have the tag %s"},
}

// phrasesOfOne are those of operators whose list has one value, and phrasesOfName those of operators with a named list.
var (
	phrasesOfOne = map[string]phrase{
		"in": isValue, "notIn": isValue.opposite(), "oneOf": {"is or contains %s", "neither is nor contains %s"}, "imageFrom": isFrom,
	}
	phrasesOfName = map[string]phrase{
		"in": isIn, "notIn": isIn.opposite(), "oneOf": phrases["oneOf"], "imageFrom": isFrom,
	}
)

// A speller writes sentences, with at most so many values of a list; 0 for all.
type speller struct{ listed int }

// sentence says in English when a predicate, or its negation, is true: "livenessProbe is not set". A negation goes down to the leaves, so
// that a reader never has to resolve a double one.
func (s speller) sentence(p predicate, negated bool) string {
	text, _ := s.clause(p, negated)
	return text
}

// clause also returns the conjunction that joins the sentence; empty for a simple one.
func (s speller) clause(p predicate, negated bool) (text, conjunction string) {
	switch p := p.(type) {
	case allOf:
		return s.joined(p, negated, negated)
	case anyOf:
		return s.joined(p, negated, !negated)
	case notOf:
		return s.clause(p.predicate, !negated)
	case *quantified:
		return s.quantified(p, negated), ": " // so that it gets parentheses
	case *leaf:
		return s.leaf(p, negated), ""
	}
	panic(fmt.Sprintf("unknown predicate %T", p))
}

func (s speller) joined(of []predicate, negated, either bool) (text, conjunction string) {
	if len(of) == 1 {
		return s.clause(of[0], negated)
	}
	conjunction = " and "
	if either {
		conjunction = " or "
	}
	words := make([]string, len(of))
	for i, p := range of {
		inner := ""
		if words[i], inner = s.clause(p, negated); inner != "" && inner != conjunction {
			words[i] = "(" + words[i] + ")"
		}
	}
	return strings.Join(words, conjunction), conjunction
}

// quantified negates some to every, and every to some.
func (s speller) quantified(q *quantified, negated bool) string {
	subject, in := "one of ", "its elements"
	if q.every != negated {
		subject = "each of "
	}
	if q.in.Path != fieldpath.Self {
		in = pathText(q.in.Path)
	}
	subject += in
	if l, ok := q.is.(*leaf); ok && len(l.paths) == 1 && l.paths[0].Path == fieldpath.Self {
		is, isNot := s.verbs(l)
		if negated {
			is = isNot
		}
		return subject + " " + is
	}
	return subject + ": " + s.sentence(q.is, negated)
}

func (s speller) leaf(l *leaf, negated bool) string {
	subject, several := l.subject()
	is, isNot := s.verbs(l)
	switch {
	case several && negated:
		return "none of " + subject + " " + is
	case several:
		return "one of " + subject + " " + is
	case negated:
		return subject + " " + isNot
	}
	return subject + " " + is
}

// verbs are the operator of a leaf with its operand, and its negation.
func (s speller) verbs(l *leaf) (is, isNot string) {
	verb, operand := phrases[l.operator], ""
	if l.from != nil {
		operand = l.from.words()
	} else if l.value != nil {
		operand = s.operand(l.value)
		if name, named, _ := reference(l.value); named && takesList(l.operator) {
			verb, operand = phrasesOfName[l.operator], "the list "+name
		} else if one, ok := phrasesOfOne[l.operator]; ok && len(strictyaml.Entries(l.value)) == 1 {
			verb = one
		}
	}
	return strings.ReplaceAll(verb.is, "%s", operand), strings.ReplaceAll(verb.isNot, "%s", operand)
}

// subject names the paths of a leaf, and reports whether they may have several values.
func (l *leaf) subject() (text string, several bool) {
	names := make([]string, len(l.paths))
	for i, p := range l.paths {
		names[i] = pathText(p.Path)
		several = several || p.MayHaveSeveral()
	}
	if len(names) > 1 {
		return strings.Join(names, ", else ") + ",", several
	}
	return names[0], several
}

// pathText is a path for readers: "the pod's spec.hostNetwork", "the number of spec.containers". The empty path leads to the subject.
func pathText(p *fieldpath.Path) string {
	if p.Source == "" {
		return "the value"
	}
	text := p.Source
	if p.Root {
		text = "the pod's " + strings.TrimPrefix(text, "$.")
	}
	if n := len(p.Steps); n > 1 && p.Steps[n-1].Kind == fieldpath.Length {
		text = "the number of " + strings.TrimSuffix(text, ".#")
	}
	return text
}

// operand is an operand for readers. A string that would vanish in a sentence is quoted.
func (s speller) operand(node *yaml.Node) string {
	switch node.Kind {
	case yaml.SequenceNode:
		var words []string
		for i, entry := range node.Content {
			if n := len(node.Content) - i; i == s.listed && i > 0 && n > 1 {
				words = append(words, fmt.Sprintf("%d more", n))
				break
			}
			words = append(words, s.operand(entry))
		}
		return strings.Join(words, ", ")
	case yaml.MappingNode:
		return boundsText(node)
	}
	if strings.TrimSpace(node.Value) != node.Value || node.Value == "" || strings.ContainsAny(node.Value, ",\"\n") {
		return strconv.Quote(node.Value)
	}
	return node.Value
}

// boundsText is an operand of the operator length: "2 or more", "1 to 3".
func boundsText(node *yaml.Node) string {
	var least, most string
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == "min" {
			least = node.Content[i+1].Value
		} else {
			most = node.Content[i+1].Value
		}
	}
	switch {
	case most == "":
		return least + " or more"
	case least == "":
		return most + " or less"
	}
	return least + " to " + most
}
