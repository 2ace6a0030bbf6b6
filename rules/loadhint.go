package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

// Authors come from other tools, and write the words of these. The hints here name ours.

// foreignOperators are operators of other tools, in lower case and without - and _, and what is written instead of them: the name of an
// operator, "not NAME" for its negation, or a predicate.
var foreignOperators = map[string]string{
	"eq": "equals", "equal": "equals", "=": "equals", "==": "equals", "is": "equals", "const": "equals", "isequal": "equals", "equalto": "equals",
	"ne": "notEquals", "neq": "notEquals", "notequal": "notEquals", "!=": "notEquals", "<>": "notEquals", "isnot": "notEquals", "notequalto": "notEquals",
	"gt": "greaterThan", ">": "greaterThan", "greater": "greaterThan", "morethan": "greaterThan", "above": "greaterThan", "exclusiveminimum": "greaterThan",
	"lt": "lessThan", "<": "lessThan", "less": "lessThan", "smallerthan": "lessThan", "below": "lessThan", "exclusivemaximum": "lessThan",
	"ge": "not lessThan", "gte": "not lessThan", ">=": "not lessThan", "greaterthanorequals": "not lessThan", "greaterthanorequal": "not lessThan",
	"minimum": "not lessThan", "min": "not lessThan", "atleast": "not lessThan",
	"le": "not greaterThan", "lte": "not greaterThan", "<=": "not greaterThan", "lessthanorequals": "not greaterThan", "lessthanorequal": "not greaterThan",
	"maximum": "not greaterThan", "max": "not greaterThan", "atmost": "not greaterThan",
	"enum": "in", "isin": "in", "memberof": "in", "within": "in", "isoneof": "in", "nin": "notIn", "isnotin": "notIn",
	"regex": "matches", "regexp": "matches", "pattern": "matches", "re": "matches", "re2": "matches", "match": "matches", "=~": "matches", "like": "matches",
	"matchesregex": "matches", "regexmatch": "matches", "glob": "matches", "wildcard": "matches", "!~": "not matches",
	"startswith": "hasPrefix", "beginswith": "hasPrefix", "prefix": "hasPrefix", "endswith": "hasSuffix", "suffix": "hasSuffix",
	"includes": "contains", "include": "contains", "has": "contains", "hasitem": "contains", "haselement": "contains", "substring": "contains",
	"anyin": "oneOf", "anyof": "oneOf", "containsany": "oneOf", "hasany": "oneOf", "intersects": "oneOf", "allnotin": "not oneOf", "noneof": "not oneOf",
	"allin":    "{every: {in: PATH, is: {operator: in, value: [...]}}}",
	"anynotin": "{some: {in: PATH, is: {operator: notIn, value: [...]}}}",
	"isnull":   "absent", "null": "absent", "nil": "absent", "missing": "absent", "notexists": "absent", "notexist": "absent", "doesnotexist": "absent",
	"notset": "absent", "isnotset": "absent", "unset": "absent", "undefined": "absent", "notpresent": "absent", "notdefined": "absent", "none": "absent",
	"exist": "exists", "isset": "exists", "set": "exists", "present": "exists", "ispresent": "exists", "defined": "exists", "isdefined": "exists",
	"notnull": "exists", "isnotnull": "exists", "required": "exists",
	"empty":    "{any: [{path: PATH, operator: absent}, {path: PATH, operator: length, value: 0}]}",
	"isempty":  "{any: [{path: PATH, operator: absent}, {path: PATH, operator: length, value: 0}]}",
	"notempty": "{path: PATH, operator: length, value: {min: 1}}", "nonempty": "{path: PATH, operator: length, value: {min: 1}}",
	"len": "length", "size": "length", "count": "length", "minlength": "length", "maxlength": "length", "minitems": "length", "maxitems": "length",
	"istrue":  "{path: PATH, operator: equals, value: true}",
	"isfalse": "{path: PATH, operator: equals, value: false}",
	"tag":     "imageTag", "hastag": "imageTag", "registry": "imageFrom", "fromregistry": "imageFrom", "imageregistry": "imageFrom", "repository": "imageFrom",
	"quantityeq": "quantityEquals", "quantitygt": "quantityGreaterThan", "quantitylt": "quantityLessThan",
	"quantityne": "not quantityEquals", "quantitynotequals": "not quantityEquals", "quantitygte": "not quantityLessThan", "quantitylte": "not quantityGreaterThan",
}

// operatorHint says which operator an unknown one most likely means. It continues the message; empty when there is none.
func operatorHint(name string) string {
	if len(name) > 64 {
		return ""
	}
	names := operatorNames()
	plain := strings.ToLower(strings.NewReplacer("-", "", "_", "", " ", "").Replace(name))
	if own, ok := foreignOperators[plain]; ok {
		return instead(own)
	}
	for _, known := range names {
		if strings.EqualFold(known, plain) {
			return instead(known)
		}
	}
	for _, prefix := range []string{"doesnot", "isnot", "not", "!"} {
		if rest, ok := strings.CutPrefix(plain, prefix); ok {
			if own := positive(rest); own != "" {
				return instead("not " + own)
			}
		}
	}
	return suggest.DidYouMean(name, names)
}

// positive returns the operator for what follows a negation: contain, contains, startswith.
func positive(word string) string {
	for _, candidate := range []string{word, word + "s", strings.Replace(word, "start", "starts", 1), strings.Replace(word, "end", "ends", 1)} {
		if own := foreignOperators[candidate]; own != "" && !strings.ContainsAny(own, " {") {
			return own
		}
		for _, known := range operatorNames() {
			if strings.EqualFold(known, candidate) {
				return known
			}
		}
	}
	return ""
}

// instead is the hint for the text of an entry of foreignOperators.
func instead(own string) string {
	if negated, ok := strings.CutPrefix(own, "not "); ok {
		return fmt.Sprintf(" (did you mean not: {path: PATH, operator: %s, value: VALUE}, which is also true where the value is absent?)", negated)
	}
	if strings.HasPrefix(own, "{") {
		return " (did you mean " + own + "?)"
	}
	return fmt.Sprintf(" (did you mean %q?)", own)
}

// valueHint says which operator takes a value of the kind of one that an operator refuses. It continues the message; empty when there is
// none.
func valueHint(operator string, operand *yaml.Node) string {
	own := map[string]string{"equals": "in", "notEquals": "notIn", "contains": "oneOf"}[operator]
	switch {
	case own != "" && (operand.Kind == yaml.SequenceNode || strictyaml.Field(operand, "list") != nil):
		return fmt.Sprintf(" (did you mean %q?)", own)
	case operand.Kind == yaml.SequenceNode && slices.Contains([]string{"hasPrefix", "hasSuffix", "matches"}, operator):
		return "; write any: with a predicate for each value"
	case operand.Kind == yaml.ScalarNode && operand.ShortTag() == "!!str" && (operator == "greaterThan" || operator == "lessThan"):
		if _, is := parseQuantity(operand.Value); is == isTrue && strings.Trim(operand.Value, "+-.0123456789") != "" {
			return fmt.Sprintf(" (did you mean %q?)", "quantity"+strings.ToUpper(operator[:1])+operator[1:])
		}
	case operand.Kind == yaml.ScalarNode && operand.ShortTag() != "!!null" && slices.Contains([]string{"in", "notIn", "oneOf"}, operator):
		if operand.ShortTag() != "!!str" && operand.Style == 0 {
			return fmt.Sprintf("; write [%.64s]", operand.Value)
		}
		return fmt.Sprintf("; write [%.64q]", operand.Value)
	}
	return ""
}

// foreignUnit is a number with a unit of bytes that a quantity does not have: 16GB, 16gb, 16GiB.
var foreignUnit = regexp.MustCompile(`(?i)^([0-9.]+) ?([kmgtpe])(i?)b?$`)

// quantityUnitHint says how to write a number of bytes as a quantity. It continues the message; empty for any other text.
func quantityUnitHint(text string) string {
	parts := foreignUnit.FindStringSubmatch(text)
	if len(text) > 64 || parts == nil {
		return ""
	}
	decimal, binary := parts[1]+strings.ToUpper(parts[2]), parts[1]+strings.ToUpper(parts[2])+"i"
	if parts[2] == "k" || parts[2] == "K" {
		decimal = parts[1] + "k"
	}
	if parts[3] != "" {
		return "; write " + binary
	}
	return "; write " + decimal + " or " + binary
}

// foreignFields are fields of other tools, and ours.
var foreignFields = map[string][]string{
	"and": {"all"}, "or": {"any"}, "allof": {"all"}, "anyof": {"any"}, "none": {"not"}, "key": {"path"}, "field": {"path"}, "jsonpath": {"path"}, "jsonpointer": {"path"},
	"path": {"in"}, "list": {"in"}, "where": {"is", "when"}, "satisfies": {"is"}, "op": {"operator"}, "values": {"value"}, "name": {"id"}, "title": {"description"}, "fix": {"remediation"}, "hint": {"remediation"},
	"level": {"severity"}, "priority": {"severity"}, "score": {"weight"}, "points": {"weight"}, "target": {"forEach"}, "subject": {"forEach"}, "subjects": {"forEach"},
	"match": {"when"}, "if": {"when"}, "condition": {"violation", "when"}, "predicate": {"violation"}, "deny": {"violation"}, "rule": {"violation"},
	"fail": {"violation"}, "action": {"enforce"}, "enforcement": {"enforce"}, "enforcementaction": {"enforce"}, "failureaction": {"enforce"},
	"validationfailureaction": {"enforce"}, "validationactions": {"enforce"}, "rules": {"checks"}, "policies": {"checks"}, "exceptions": {"waivers"}, "exemptions": {"waivers"}, "ignore": {"exclude", "skip"},
	"justification": {"reason"}, "why": {"reason"}, "comment": {"reason"}, "until": {"expires"}, "expiration": {"expires"}, "expiresat": {"expires"}, "ns": {"namespace"},
}

// fieldHint says which field an unknown one most likely means. It continues the message; empty when there is none.
func fieldHint(field string, known []string) string {
	lower := strings.ToLower(field)
	for _, own := range foreignFields[lower] {
		if slices.Contains(known, own) {
			return fmt.Sprintf(" (did you mean %q?)", own)
		}
	}
	if hint := suggest.DidYouMean(field, known); hint != "" || !slices.Contains(known, "operator") {
		return hint
	}
	own := foreignOperators[lower]
	if _, isOperator := findOperator(field); isOperator {
		own = field
	}
	if own == "" || strings.ContainsAny(own, " {") {
		return ""
	}
	return fmt.Sprintf("; write operator: %s, value: VALUE", own)
}

// severityHint says which severity another word most likely means. It continues the message; empty when there is none.
func severityHint(word string) string {
	own, ok := map[string]Severity{
		"blocker": Critical, "fatal": Critical, "danger": Critical, "error": High, "major": High, "important": High, "warning": Medium, "warn": Medium,
		"moderate": Medium, "minor": Low, "info": Low, "informational": Low, "note": Low, "negligible": Low, "ignore": Low,
	}[strings.ToLower(word)]
	if !ok {
		words := make([]string, len(severities))
		for i, s := range severities {
			words[i] = string(s)
		}
		return suggest.DidYouMean(word, words)
	}
	return fmt.Sprintf(" (did you mean %q?)", own)
}
