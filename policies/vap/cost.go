package vap

import (
	"fmt"
	"slices"
	"strings"
)

// The API server's cost limits, for one expression and for all expressions of a policy per object. It stops the evaluation at these costs.
const (
	maxCheckCost  = 1_000_000
	maxPolicyCost = 10_000_000
)

// The sizes of the lists in the pod for which costs are estimated: the containers, and each other list, such as ports and volumes.
const (
	costContainers = 100
	elementsOfEach = 5
)

// textBytes is the assumed length of a text in the pod.
const textBytes = 128

// iteration is the cost of one step of a macro, without its expression.
const iteration = 12

// failedCost is the cost of the message for a check that every container violates.
const failedCost = 4000

// costWarnings returns warnings about the checks and policies that may exceed a cost limit for the update of a large pod. The estimates are
// upper bounds: they assume that no condition skips the rest of an expression.
func costWarnings(policy string, variables []named) []string {
	var warnings, checks []string
	sum := 0
	for _, v := range variables {
		items, _ := parseItems(string(v.Expression))
		cost := expressionCost(items, 0)
		sum += cost
		if id, isCheck := strings.CutPrefix(v.Name, "check_"); isCheck {
			sum += failedCost
			if cost > maxCheckCost {
				checks = append(checks, id)
			}
		}
	}
	about := fmt.Sprintf("for a pod with %d containers that each have %d ports, environment variables and so on; "+
		"--failure-policy then applies to the pod", costContainers, elementsOfEach)
	if len(checks) > 0 {
		warnings = append(warnings, fmt.Sprintf("%s: %s may exceed the cost limit of the API server %s",
			policy, strings.Join(checks, ", "), about))
	}
	// All expressions are evaluated twice: for the decision and for the message.
	if 2*sum > maxPolicyCost {
		warnings = append(warnings, fmt.Sprintf("%s: all checks together may exceed the cost limit of the API server %s", policy, about))
	}
	return warnings
}

// macros are the CEL macros that evaluate an expression for each element of a list.
var macros = []string{".map", ".filter", ".exists", ".all"}

// expressionCost estimates the cost of an expression. depth is the number of macros around it.
func expressionCost(items []item, depth int) int {
	if parts, between := split(items, []string{" ? ", " : "}); len(between) > 0 {
		return choiceCost(parts, between, depth)
	}
	cost := 0
	for i := range items {
		it := &items[i]
		before := ""
		if i > 0 {
			before = items[i-1].text
		}
		switch {
		case it.closing == "":
			cost += textCost(it.text)
		case isMacro(before):
			cost += elements(items[:i], depth) * (expressionCost(it.inner, depth+1) + iteration)
		case strings.HasSuffix(before, ".matches"):
			cost += max(1, textBytes/10) * max(1, it.width/4)
		case it.text == "[" && (i == 0 || items[i-1].isSeparator || strings.HasSuffix(before, " ")):
			cost += 10 + it.width/10 + expressionCost(it.inner, depth)
		case it.text == "{":
			cost += 30 + expressionCost(it.inner, depth)
		default:
			cost += 1 + expressionCost(it.inner, depth)
		}
	}
	return cost
}

// choiceCost estimates the cost of a conditional expression: all its conditions and its most expensive branch.
func choiceCost(parts [][]item, between []string, depth int) int {
	conditions, choice := 0, 0
	for i, part := range parts {
		cost := expressionCost(part, depth)
		if i < len(between) && between[i] == " ? " {
			conditions += cost
		} else {
			choice = max(choice, cost)
		}
	}
	return conditions + choice
}

func isMacro(before string) bool {
	return slices.ContainsFunc(macros, func(macro string) bool { return strings.HasSuffix(before, macro) })
}

// elements returns the assumed length of the list before a macro: two pods (new and old), containers, or any other list.
func elements(before []item, depth int) int {
	if depth == 0 {
		return 2
	}
	for i := len(before) - 1; i >= max(0, len(before)-4); i-- {
		if depth == 1 && strings.Contains(before[i].text, "ontainers.") {
			return costContainers
		}
	}
	return elementsOfEach
}

// textCost estimates the cost of a text without brackets: 1 for each field and operator, plus the cost of comparing its literals.
func textCost(text string) int {
	return strings.Count(text, ".") + strings.Count(text, " && ") + strings.Count(text, "==") + len(text)/20
}
