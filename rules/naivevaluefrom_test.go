package rules_test

import (
	"encoding/json"
	"math/big"
	"strings"
)

// The operands that are in the pod, read a second time.

// fromPod is the answer of a predicate with valueFrom. No pod of the tests is large enough to exhaust its budget.
func (t *naiveTable) fromPod(p *naivePredicate, pod, subject any) answer {
	find := func(path []naiveToken) []any {
		if len(path) > 0 && path[0].kind == "root" {
			return t.values(path[1:], pod)
		}
		return t.values(path, subject)
	}
	operands := find(p.from)
	if len(operands) == 0 {
		return answerOf(p.Operator == "notEquals" && t.fault == "what is not there is unequal to all")
	}
	for _, path := range p.paths {
		values := find(path)
		if len(values) == 0 {
			continue
		}
		highest := no
		for _, value := range values {
			highest = max(highest, t.compareInPod(p, value, operands[0]))
		}
		return highest
	}
	return answerOf(p.Operator == "notEquals")
}

func (t *naiveTable) compareInPod(p *naivePredicate, value, operand any) answer {
	text, isText := value.(string)
	want, wantText := operand.(string)
	bothTexts := isText && wantText
	switch p.Operator {
	case "equals":
		return t.sameInPod(value, operand)
	case "notEquals":
		return yes - t.sameInPod(value, operand)
	case "hasPrefix":
		return answerOf(bothTexts && strings.HasPrefix(text, want))
	case "hasSuffix":
		return answerOf(bothTexts && strings.HasSuffix(text, want))
	case "contains":
		array, isArray := value.([]any)
		if !isArray {
			return answerOf(bothTexts && strings.Contains(text, want))
		}
		highest := no
		for _, element := range array {
			if t.fault != "lists contain nothing of the pod" {
				highest = max(highest, t.sameInPod(element, operand))
			}
		}
		return highest
	}
	read := func(of any) (*big.Rat, bool) {
		number, isNumber := of.(json.Number)
		words, _ := of.(string)
		if strings.HasPrefix(p.Operator, "quantity") {
			words += number.String()
			return parseNaiveQuantity(words, t.fault), naiveQuantity.MatchString(words)
		}
		return naiveExact(number.String(), t.fault), isNumber
	}
	left, isLeft := read(value)
	right, isRight := read(operand)
	if !isLeft || !isRight {
		return no
	}
	if left == nil || right == nil {
		return perhaps
	}
	if times, ok := new(big.Rat).SetString(p.Times.Value); ok && t.fault != "times counts for nothing" {
		right = new(big.Rat).Mul(right, times)
	}
	order := left.Cmp(right)
	switch strings.TrimPrefix(p.Operator, "quantity") {
	case "LessThan", "lessThan":
		return answerOf(order < 0)
	case "Equals":
		return answerOf(order == 0)
	}
	return answerOf(order > 0)
}

func (t *naiveTable) sameInPod(a, b any) answer {
	x, isNumber := a.(json.Number)
	y, alsoNumber := b.(json.Number)
	if !isNumber || !alsoNumber {
		switch a.(type) {
		case string, bool:
			return answerOf(a == b)
		}
		return no
	}
	left, right := naiveExact(x.String(), t.fault), naiveExact(y.String(), t.fault)
	if left == nil || right == nil {
		return perhaps
	}
	return answerOf(left.Cmp(right) == 0)
}
