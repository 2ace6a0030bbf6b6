package cel_test

import (
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/cel"
)

// operands has an operand for each operator that takes one.
var operands = map[string]string{
	"equals": "x", "notEquals": "x", "in": "[x, 1]", "notIn": "[x, true]", "hasPrefix": "x", "hasSuffix": "x", "contains": "x", "matches": "x",
	"oneOf": "[x, y]", "greaterThan": "1", "lessThan": "1.5", "quantityGreaterThan": "1Gi", "quantityLessThan": "1Gi", "quantityEquals": "1Gi",
	"length": "{min: 1, max: 2}", "imageTag": "latest", "imageFrom": "[docker.io, ghcr.io/org]",
}

func TestEveryOperator(t *testing.T) {
	for _, operator := range rules.Operators() {
		value := ""
		if operator.Value != "" {
			value = ", value: " + operands[operator.Name]
		}
		table := check(t, "forEach: allContainers, violation: {path: image, operator: "+operator.Name+value+"}")
		if got, err := cel.New(table, options).Violations(&table.Checks()[0]); err != nil || !strings.Contains(got, "image") {
			t.Errorf("%s: got %s, %v", operator.Name, got, err)
		}
	}
}

// TestHostileTexts checks that texts of a table cannot end a literal, and that an expression is the same each time.
func TestHostileTexts(t *testing.T) {
	table := check(t, `violation: {path: spec.nodeName, operator: in, value: ["\") || true || (\"", "\\", "a\nb", "\u0000\u200b", "é🙂"]}`)
	const want = `in ["\") || true || (\"", "\\", "a\nb", "\u0000\u200b", "é🙂"]`
	for range 3 {
		if got, err := cel.New(table, options).Violations(&table.Checks()[0]); err != nil || !strings.Contains(got, want) {
			t.Errorf("got %s, %v; want %s in it", got, err, want)
		}
	}
}

// TestLongPathIsNotAChain checks that a path does not become a chain of optional macros. They expand their target twice, so the cost of a chain
// doubles at each step.
func TestLongPathIsNotAChain(t *testing.T) {
	table := check(t, `violation: {path: a.b.c.d.e.f.g.h.i.j.k.l, operator: quantityGreaterThan, valueFrom: m.n.o.p.q, times: 123456789}`)
	got, err := cel.New(table, options).Violations(&table.Checks()[0])
	if err != nil || strings.Contains(got, ").optFlatMap(") || strings.Count(got, ").optMap(") > 2 {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestNamespaces(t *testing.T) {
	for _, tt := range []struct{ namespaces, want string }{
		{`exclude: []`, `true`},
		{`exclude: [one, two]`, `!(namespace in ["one", "two"])`},
		{`exclude: ["kube-*", "*-system"]`, `!(namespace.startsWith("kube-") || namespace.endsWith("-system"))`},
		{`include: ["a?c"], exclude: ["a.c"]`, `namespace.matches("^a[^/]c$") && !(namespace in ["a.c"])`},
	} {
		table := load(t, "namespaces: {"+tt.namespaces+"}\nchecks: [{id: it, weight: 1, violation: {path: spec, operator: exists}}]")
		if got := cel.Namespaces(table, "namespace"); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.namespaces, got, tt.want)
		}
	}
}

func TestWaiverOfAPositionIsUnsupported(t *testing.T) {
	const waived = `
waivers: [{id: first, reason: a test, expires: 2030-01-01, subject: "%s"}]
checks: [{id: it, weight: 1, forEach: spec.containers.#.args, violation: {operator: equals, value: x}}]`
	for glob, supported := range map[string]bool{"args.0": false, "args.?": false, "args.*": true, "other": true} {
		table := load(t, strings.Replace(waived, "%s", glob, 1))
		if _, err := cel.New(table, options).Violations(&table.Checks()[0]); (err == nil) != supported {
			t.Errorf("%s: got %v", glob, err)
		}
	}
}
