package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/golden"
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

// holds returns a character for each check of a table: T for a violation, U for an unknown one, and a dot.
func holds(t testing.TB, table *rules.Table, pod string) string {
	t.Helper()
	verdict, err := table.Evaluate([]byte(pod))
	if err != nil {
		t.Fatalf("%v: %s", err, pod)
	}
	row := []byte(strings.Repeat(".", len(table.Checks())))
	for _, v := range verdict.Violations {
		row[v.Check] = 'T'
		if v.Unknown {
			row[v.Check] = 'U'
		}
	}
	return string(row)
}

// matrix shows what the predicates {path: v, ...} say of each value: T, U for unknown, or a dot for false.
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
			`oneOf, value: ["abc", 5]`, `oneOf, value: [true, "5"]`, `oneOf, value: [7.5]`,
			`quantityGreaterThan, value: 4`, `quantityGreaterThan, value: "-1"`, `quantityLessThan, value: 5001m`, `quantityLessThan, value: 0`,
			`quantityEquals, value: 5`, `quantityEquals, value: 7500m`,
			`length, value: 0`, `length, value: 3`, `length, value: {min: 1}`, `length, value: {max: 1}`, `length, value: {min: 1, max: 3}`,
			`imageTag, value: latest`, `imageTag, value: abc`, `imageFrom, value: docker.io`, `imageFrom, value: abc`,
		},
		[]string{
			`(absent)`, `null`, `true`, `false`, `""`, `"abc"`, `"5"`, `"true"`, `"null"`, `0`, `5`, `5.0`, `7.5`, `-3`, `[]`, `["abc",5,null]`, `[7.5,"5",true]`, `[["abc"]]`, `{}`, `{"abc":5}`,
		})
	golden.Compare(t, "testdata/operators.txt", got)
}

// TestOperatorsCompareNumbersExactly is the same for integers that float64 cannot distinguish.
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
	golden.Compare(t, "testdata/numbers.txt", got)
}

// TestQuantities is the truth table of the operators for quantities: of what Kubernetes writes for one amount in many
// ways, and of numbers beside it.
func TestQuantities(t *testing.T) {
	got := matrix(t,
		[]string{
			`quantityGreaterThan, value: 499m`, `quantityGreaterThan, value: 0.5`, `quantityGreaterThan, value: "0.5"`, `quantityLessThan, value: 501m`, `quantityLessThan, value: 500m`,
			`quantityGreaterThan, value: 64Mi`, `quantityGreaterThan, value: 65535Ki`, `quantityLessThan, value: 64M`, `quantityLessThan, value: 67108865`,
			`quantityGreaterThan, value: 999P`, `quantityLessThan, value: 1E`, `quantityGreaterThan, value: -1`, `quantityLessThan, value: 1n`,
			`quantityEquals, value: 500m`, `quantityEquals, value: 64Mi`, `quantityEquals, value: 0`, `quantityEquals, value: 1E`,
		},
		[]string{
			`"500m"`, `"0.5"`, `0.5`, `5e-1`, `".5"`, `"+500000u"`, `"64Mi"`, `"65536Ki"`, `67108864`, `"0.0625Gi"`, `"1E"`, `1e18`, `"-2"`, `-2`, `"0"`, `0`, `-0.0`,
			`1e400`, `"1e400"`, `"500 m"`, `"500M "`, `""`, `"x"`, `true`, `null`, `[1]`, `{"cpu":"1"}`,
		})
	golden.Compare(t, "testdata/quantities.txt", got)
}

// TestImageTags is the truth table of imageTag, of all shapes that a reference has.
func TestImageTags(t *testing.T) {
	got := matrix(t,
		[]string{`imageTag, value: latest`, `imageTag, value: "1.25"`, `imageTag, value: v1`, `imageTag, value: "5000"`, `hasSuffix, value: ":latest"`},
		[]string{
			`"nginx"`, `"nginx:latest"`, `"nginx:1.25"`, `"reg:5000/app"`, `"reg:5000/app:latest"`, `"reg:5000/app:v1"`,
			`"app@` + digest + `"`, `"app:latest@` + digest + `"`, `"app:v1@` + digest + `"`, `"localhost:5000"`, `"Nginx:latest"`, `"nginx:"`, `" nginx"`, `"nginx@latest"`, `""`, `["nginx"]`,
		})
	golden.Compare(t, "testdata/images.txt", got)
}

// TestImageSources is the truth table of imageFrom.
func TestImageSources(t *testing.T) {
	got := matrix(t,
		[]string{
			`imageFrom, value: docker.io`, `imageFrom, value: index.docker.io`, `imageFrom, value: docker.io/library`, `imageFrom, value: docker.io/library/nginx`, `imageFrom, value: library/nginx`, `imageFrom, value: nginx`,
			`imageFrom, value: docker.io/nginx`, `imageFrom, value: org/app`, `imageFrom, value: registry.example.com`, `imageFrom, value: "registry.example.com:5000"`, `imageFrom, value: Registry.example.com/team`,
			`imageFrom, value: ghcr.io/org`, `imageFrom, value: ghcr.io/org/app`, `imageFrom, value: localhost`, `imageFrom, value: [ghcr.io/org, docker.io/library]`,
		},
		[]string{
			`"nginx"`, `"nginx:1.27"`, `"nginx@` + digest + `"`, `"library/nginx"`, `"docker.io/nginx"`, `"index.docker.io/library/nginx:1"`, `"nginx/ingress"`, `"org/app"`, `"docker.io/org/app/web"`,
			`"registry.example.com/x"`, `"registry.example.com.evil/x"`, `"registry.example.com:5000/x"`, `"REGISTRY.example.com/team/x"`, `"registry.example.com/teams/x"`, `"registry.example.com"`,
			`"ghcr.io/org/app:v1@` + digest + `"`, `"ghcr.io/organic/app"`, `"ghcr.io/org/apps"`, `"localhost/x"`, `"localhost"`,
			`"` + strings.Repeat("0a", 32) + `"`, `"ghcr.io/org/"`, `"ghcr.io/Org/app"`, `" nginx"`, `""`, `["nginx"]`,
		})
	golden.Compare(t, "testdata/sources.txt", got)
}

const digest = "sha256:0123456789abcdef0123456789abcdef"

// TestLengths is the truth table of length: of characters (not bytes, and not what the text is written as), elements
// (null is one) and keys.
func TestLengths(t *testing.T) {
	got := matrix(t,
		[]string{
			`length, value: 0`, `length, value: 1`, `length, value: 2`, `length, value: {min: 1}`, `length, value: {max: 1}`, `length, value: {min: 2, max: 2}`,
			`length, value: {max: 2, min: 1}`, `length, value: {min: 0}`,
		},
		[]string{
			`(absent)`, `null`, `""`, `"a"`, `"\u00e9"`, `"\ud83d\ude00"`, `"\\"`, `"ab"`, `[]`, `[ ]`, `[null]`, `["abc"]`, `[[1,2,3]]`, `[1,[2,3]]`, `{}`, `{ }`, `{"a":null}`, `{"a":{"b":1,"c":2}}`, `{"a":1,"b":2}`,
			`[1,2,3]`, `1`, `true`,
		})
	golden.Compare(t, "testdata/lengths.txt", got)
}

// TestLengthCountsCharacters has text of more bytes than characters.
func TestLengthCountsCharacters(t *testing.T) {
	table := tableOf(t, "", `{path: v, operator: length, value: 3}`, `{path: v, operator: length, value: {min: 4}}`)
	for text, want := range map[string]string{"\u00e9\u00e9\u00e9": "T.", "\U0001F600\U0001F600\U0001F600": "T.", "e\u0301\u00e9": "T.", "\U0001F600\U0001F600\U0001F600\U0001F600": ".T"} {
		if got := holds(t, table, `{"v":"`+text+`"}`); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
