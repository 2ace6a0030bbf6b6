package rules_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

// TestOperatorHints takes the names that other tools use. What is suggested is an operator of ours.
func TestOperatorHints(t *testing.T) {
	negated := func(operator string) string {
		return "did you mean not: {path: PATH, operator: " + operator + ", value: VALUE}, which is also true where the value is absent?"
	}
	for operator, want := range map[string]string{
		"eq": `"equals"`, "==": `"equals"`, "Equals": `"equals"`, "const": `"equals"`, "ne": `"notEquals"`, "NotEqual": `"notEquals"`, "not_equals": `"notEquals"`,
		"gt": `"greaterThan"`, "lt": `"lessThan"`, "GreaterThanOrEquals": negated("lessThan"), "lte": negated("greaterThan"),
		"regex": `"matches"`, "pattern": `"matches"`, "notMatches": negated("matches"), "startsWith": `"hasPrefix"`, "endsWith": `"hasSuffix"`,
		"doesNotStartWith": negated("hasPrefix"), "not_ends_with": negated("hasSuffix"), "notContains": negated("contains"), "doesNotContain": negated("contains"),
		"notHasPrefix": negated("hasPrefix"), "isNull": `"absent"`, "missing": `"absent"`, "DoesNotExist": `"absent"`, "NotExists": `"absent"`, "isset": `"exists"`,
		"oneof": `"oneOf"`, "enum": `"in"`, "AnyIn": `"oneOf"`, "AllNotIn": negated("oneOf"), "AllIn": "every: {in: PATH", "AnyNotIn": "some: {in: PATH",
		"not_in": `"notIn"`, "nin": `"notIn"`, "minLength": `"length"`, "empty": "operator: length, value: 0", "isTrue": "operator: equals, value: true",
		"hasprefix": `"hasPrefix"`, "contain": `"contains"`, "registry": `"imageFrom"`, "quantityGte": negated("quantityLessThan"), "notImageFrom": negated("imageFrom"), "zzz": "",
	} {
		text := fmt.Sprintf("apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\nchecks:\n  - {id: c, weight: 1, violation: {path: image, operator: %q, value: x}}\n", operator)
		errs := loadErrors(t, text)
		if len(errs) != 1 {
			t.Errorf("%s: %v, want one error", operator, errs)
			continue
		}
		msg, _, _ := strings.Cut(errs[0].Msg, "; known operators")
		hint := strings.TrimPrefix(msg, fmt.Sprintf("unknown operator %q", operator))
		if want == "" && hint != "" || !strings.Contains(hint, want) {
			t.Errorf("%s: hint %q, want %q", operator, hint, want)
		}
		_, named, ok := strings.Cut(hint, "operator: ")
		if !ok {
			_, named, ok = strings.Cut(hint, `"`)
		}
		named = strings.FieldsFunc(named+" ", func(r rune) bool { return strings.ContainsRune(`,"}?`, r) })[0]
		if ok && !slices.ContainsFunc(rules.Operators(), func(o rules.OperatorDoc) bool { return o.Name == named }) {
			t.Errorf("%s: the hint %q suggests %q, which is not an operator", operator, hint, named)
		}
	}
}

// TestHints has other mistakes of authors who know other tools.
func TestHints(t *testing.T) {
	for _, tt := range []struct{ name, check, want string }{
		{"a list of predicates", "violation: [{path: image, operator: exists}]", "write any: before the list if one of its predicates is enough, or all: if each must be true"},
		{"a list below not", "violation: {not: [{path: image, operator: exists}]}", "write any: before the list"},
		{"every element in jq", "violation: {path: 'spec.containers[].image', operator: exists}", "; write spec.containers.#.image"},
		{"an index in JSONPath", "violation: {path: '$.spec.containers[0].image', operator: exists}", "; write $.spec.containers.0.image"},
		{"a dot before the path", "violation: {path: .spec.hostNetwork, operator: exists}", "; write spec.hostNetwork"},
		{"every depth", "violation: {path: $..image, operator: exists}", "; a path cannot search at every depth"},
		{"every subject", "forEach: 'spec.containers[*]', violation: {path: image, operator: exists}", "; write spec.containers"},
		{"the severity of another tool", "severity: warning, violation: {path: image, operator: exists}", `got the string "warning" (did you mean "medium"?)`},
		{"a severity in upper case", "severity: HIGH, violation: {path: image, operator: exists}", `got the string "HIGH" (did you mean "high"?)`},
		{"a severity of no tool", "severity: purple, violation: {path: image, operator: exists}", `got the string "purple"`},
		{"a list for equals", "violation: {path: image, operator: equals, value: [a, b]}", `got a list (did you mean "in"?)`},
		{"a list for contains", "violation: {path: args, operator: contains, value: [a, b]}", `(did you mean "oneOf"?)`},
		{"a list for hasPrefix", "violation: {path: image, operator: hasPrefix, value: [a, b]}", "; write any: with a predicate for each value"},
		{"a value for in", "violation: {path: image, operator: in, value: a}", `; write ["a"]`},
		{"a number for in", "violation: {path: spec.priority, operator: in, value: 4}", "; write [4]"},
		{"a list by name for contains", "violation: {path: args, operator: contains, value: {list: l}}", `got a mapping (did you mean "oneOf"?)`},
		{"lists for list", "violation: {path: image, operator: in, value: {lists: l}}", `with the name of a list of the table (did you mean "list"?)`},
		{"a dollar without a dot", "violation: {path: $spec.hostNetwork, operator: exists}", "; write $.spec.hostNetwork"},
		{"a dollar without a dot in forEach", "forEach: $spec.containers, violation: {path: image, operator: exists}", "; write spec.containers"},
		{"gigabytes", "violation: {path: spec.a, operator: quantityLessThan, value: 16GB}", `got the string "16GB"; write 16G or 16Gi`},
		{"kilobytes", "violation: {path: spec.a, operator: quantityLessThan, value: 8kB}", `got the string "8kB"; write 8k or 8Ki`},
		{"gibibytes", "violation: {path: spec.a, operator: quantityLessThan, value: 16GiB}", `got the string "16GiB"; write 16Gi`},
		{"a product in valueFrom", "violation: {path: spec.a, operator: lessThan, valueFrom: resources.requests.cpu * 4}", "; write valueFrom: resources.requests.cpu, times: 4"},
		{"a product from the left", "violation: {path: spec.a, operator: lessThan, valueFrom: 1.5 * spec.b}", "; write valueFrom: spec.b, times: 1.5"},
		{"a list in valueFrom", "violation: {path: spec.a, operator: lessThan, valueFrom: [spec.b, spec.c]}", "valueFrom must be one path, got a list"},
		{"only or", "violation: {or: [{path: image, operator: exists}]}", `unknown field "or" in a predicate (did you mean "any"?)`},
		{"a predicate beside in", "violation: {some: {in: spec.containers, path: image, operator: exists}}", "put path and operator of some into is: {...}"},
		{"a quantity for greaterThan", "violation: {path: resources.limits.memory, operator: greaterThan, value: 1Gi}", `(did you mean "quantityGreaterThan"?)`},
		{"an operator as a field", "violation: {path: image, equals: x, operator: exists}", `unknown field "equals" in a predicate; write operator: equals, value: VALUE`},
		{"an operator of another tool as a field", "violation: {path: image, pattern: x, operator: exists}", `; write operator: matches, value: VALUE`},
		{"match as a field", "violation: {path: image, match: x, operator: exists}", `; write operator: matches, value: VALUE`},
		{"in as a field", "violation: {path: image, in: [x], operator: exists}", `; write operator: in, value: VALUE`},
		{"match of a check", "match: {path: image, operator: exists}, violation: {path: image, operator: exists}", `(did you mean "when"?)`},
		{"path of some", "violation: {some: {in: spec.containers, path: spec.containers, is: {path: image, operator: exists}}}", `(did you mean "in"?)`},
		{"where of some", "violation: {some: {in: spec.containers, where: x, is: {path: image, operator: exists}}}", `(did you mean "is"?)`},
		{"jq in valueFrom", "violation: {path: spec.a, operator: equals, valueFrom: .spec.b}", "; write spec.b"},
		{"and", "violation: {and: [{path: image, operator: exists}], path: image, operator: exists}", `unknown field "and" in a predicate (did you mean "all"?)`},
		{"key", "violation: {key: image, path: image, operator: exists}", `(did you mean "path"?)`},
		{"a name", "name: c, violation: {path: image, operator: exists}", `unknown field "name" in a check (did you mean "id"?)`},
		{"deny", "deny: c, violation: {path: image, operator: exists}", `(did you mean "violation"?)`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			errs := loadErrors(t, "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\nchecks:\n  - {id: c, weight: 1, "+tt.check+"}\n")
			if len(errs) != 1 || errs[0].Line != 5 || !strings.Contains(errs[0].Msg, tt.want) {
				t.Errorf("%v, want one error in line 5 with %q", errs, tt.want)
			}
		})
	}
}
