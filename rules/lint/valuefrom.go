package lint

import (
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/lint/satisfy"
	"github.com/kube-devops/kube-devops/rules/schema"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// valueFrom reads a leaf that compares two values of the pod, and warns when it has the same answer for all of them. The search for
// constant conditions takes it for one that may have any answer.
func (l *linter) valueFrom(c *condition, from *yaml.Node, about scope) {
	c.expr.Op = satisfy.Free
	before := l.Count()
	side := func(at *yaml.Node, paths ...*yaml.Node) (*leaf, bool) {
		this := &leaf{linter: l, Expr: &satisfy.Expr{Operator: strictyaml.FieldValue(c.node, "operator")}, node: at}
		return this, this.findFirst(paths, about)
	}
	paths := strictyaml.Entries(strictyaml.Field(c.node, "path"))
	value, foundValue := side(from, paths...)
	operand, foundOperand := side(from, from)
	switch {
	case !foundValue || !foundOperand:
	case len(paths) == 1 && value.Path == operand.Path && strictyaml.Field(c.node, "times") == nil:
		l.Errorf(from, "%s compares %q with itself", value.Operator, from.Value)
	case !value.comparable() || !operand.comparable():
	case value.quantity && operand.quantity && (value.Operator == "equals" || value.Operator == "notEquals"):
		value.hint(from, "%s", comparesQuantitiesAsText)
	case value.ofBytes() && operand.ofCPU(), value.ofCPU() && operand.ofBytes():
		value.hint(from, "it compares bytes with CPUs")
	case value.Operator == "equals" && value.values.Kinds&operand.values.Kinds == 0:
		value.never(value.words + ", and valueFrom selects " + operand.words)
	case value.Operator == "notEquals" && value.values.Kinds&operand.values.Kinds == 0:
		value.always("the path selects " + value.words + ", and valueFrom selects " + operand.words)
	}
	c.warned = l.Count() > before
}

// comparable warns and returns false when the operator is true for no value of this side.
func (l *leaf) comparable() bool {
	kinds := l.values.Kinds
	switch l.Operator {
	case "greaterThan", "lessThan":
		if l.quantity {
			l.never(l.words + "; use quantity" + strings.ToUpper(l.Operator[:1]) + l.Operator[1:])
			return false
		}
		if kinds&schema.Number == 0 {
			l.never(l.words + ", not a number")
			return false
		}
	case "quantityGreaterThan", "quantityLessThan", "quantityEquals":
		if kinds&(schema.String|schema.Number) == 0 {
			l.never(l.words + ", not a quantity")
			return false
		}
	case "hasPrefix", "hasSuffix":
		if kinds&schema.String == 0 {
			l.never(l.words + ", not a string")
			return false
		}
	}
	return true
}
