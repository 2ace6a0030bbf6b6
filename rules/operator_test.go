package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

// tableOf makes a table of predicates: check c0 has the first one, and so on.
func tableOf(t testing.TB, forEach string, predicates ...string) *rules.Table {
	t.Helper()
	var b strings.Builder
	b.WriteString("apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: test}\nchecks:\n")
	for i, p := range predicates {
		fmt.Fprintf(&b, "  - {id: c%d, weight: 1, violation: %s", i, p)
		if forEach != "" {
			fmt.Fprintf(&b, ", forEach: %s", forEach)
		}
		b.WriteString("}\n")
	}
	return load(t, b.String())
}

// holds tells of which of a table's checks a pod is a violation, as a row of T and dots.
func holds(t testing.TB, table *rules.Table, pod string) string {
	t.Helper()
	verdict, err := table.Evaluate([]byte(pod))
	if err != nil {
		t.Fatalf("%v: %s", err, pod)
	}
	row := []byte(strings.Repeat(".", len(table.Checks())))
	for _, v := range verdict.Violations {
		row[v.Check] = 'T'
	}
	return string(row)
}

// matrix shows what the predicates {path: v, ...} say of each value: T, or a dot for false.
func matrix(t *testing.T, predicates, values []string) string {
	t.Helper()
	full := make([]string, len(predicates))
	for i, p := range predicates {
		full[i] = "{path: v, operator: " + p + "}"
	}
	table := tableOf(t, "", full...)
	columns := make([]string, len(values))
	for k, value := range values {
		pod := `{}`
		if value != "(absent)" {
			pod = `{"v":` + value + `}`
		}
		columns[k] = holds(t, table, pod)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-37s %s\n", "", strings.Join(values, " "))
	for i, p := range predicates {
		line := fmt.Sprintf("%-37s", p)
		for k, value := range values {
			line += fmt.Sprintf(" %-*s", len(value), columns[k][i:i+1])
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// TestOperators writes the truth table of all operators, with operands of each type against values of each type, and
// compares it with testdata/operators.txt, which was checked by hand.
func TestOperators(t *testing.T) {
	got := matrix(t,
		[]string{
			`exists`, `absent`,
			`equals, value: ""`, `equals, value: "abc"`, `equals, value: "5"`, `equals, value: "true"`, `equals, value: 5`, `equals, value: 5.0`, `equals, value: 0`, `equals, value: true`, `equals, value: false`,
			`notEquals, value: "abc"`, `notEquals, value: 5`, `notEquals, value: false`,
			`in, value: ["abc", 5]`, `in, value: [true, "5"]`, `notIn, value: ["abc", 5]`, `notIn, value: [true, "5"]`,
			`hasPrefix, value: ab`, `hasPrefix, value: ""`, `hasSuffix, value: bc`, `hasSuffix, value: ""`,
			`contains, value: b`, `contains, value: ""`, `contains, value: abc`, `contains, value: 5`, `contains, value: 7.5`, `contains, value: true`,
			`matches, value: "^a"`, `matches, value: "b|5"`, `matches, value: ""`,
			`greaterThan, value: 4`, `greaterThan, value: 5`, `greaterThan, value: -0.5`, `lessThan, value: 5`, `lessThan, value: 5.5`, `lessThan, value: 1e3`,
		},
		[]string{
			`(absent)`, `null`, `true`, `false`, `""`, `"abc"`, `"5"`, `"true"`, `"null"`, `0`, `5`, `5.0`, `7.5`, `-3`, `[]`, `["abc",5,null]`, `[7.5,"5",true]`, `[["abc"]]`, `{}`, `{"abc":5}`,
		})
	golden(t, "testdata/operators.txt", got)
}

// TestOperatorsCompareNumbersExactly is the same around the whole numbers that float64 cannot tell apart.
func TestOperatorsCompareNumbersExactly(t *testing.T) {
	got := matrix(t,
		[]string{
			`equals, value: 9007199254740992`, `equals, value: 9007199254740993`, `equals, value: 9007199254740993.0`, `greaterThan, value: 9007199254740992`, `lessThan, value: 9007199254740993`,
			`equals, value: 9223372036854775807`, `greaterThan, value: 9223372036854775807`, `lessThan, value: 9223372036854775807`,
			`equals, value: -9223372036854775808`, `lessThan, value: -9223372036854775808`,
			`equals, value: 100`, `equals, value: 1e2`, `equals, value: 0`, `equals, value: 0.1`,
			`greaterThan, value: 1.7e308`, `lessThan, value: -1.7e308`, `in, value: [9007199254740993]`,
		},
		[]string{
			`9007199254740992`, `9007199254740993`, `9007199254740993.0`, `9223372036854775806`, `9223372036854775807`, `9223372036854775808`, `-9223372036854775808`, `-9223372036854775809`,
			`99999999999999999999`, `100`, `1e2`, `100.0`, `-0`, `0.0`, `1e-400`, `0.1`, `0.10`, `1e400`, `-1e400`,
		})
	golden(t, "testdata/numbers.txt", got)
}
