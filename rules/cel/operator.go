package cel

import (
	"math"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/schema"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// ofKind returns an expression that is false unless the value has a kind, and otherwise evaluates expression.
func ofKind(v value, kind schema.Kinds, expression string) string {
	if v.kinds()&kind == 0 {
		return "false"
	}
	if v.kinds() == kind {
		return expression
	}
	name := map[schema.Kinds]string{schema.String: "string", schema.Array: "list", schema.Object: "map"}[kind]
	return "(type(" + v.expr + ") == " + name + and + expression + ")"
}

// ofScalar returns an expression that is false if the value is a list or a map, and otherwise evaluates expression. Comparing lists and maps
// fails in Kubernetes 1.37.
func ofScalar(v value, expression string) string {
	switch {
	case v.kinds()&(schema.Array|schema.Object) == 0:
		return expression
	case v.kinds()&^(schema.Array|schema.Object) == 0:
		return "false"
	}
	return joined([]string{"type(" + v.expr + ") != list", "type(" + v.expr + ") != map", expression}, and)
}

// operator returns the expression for a positive operator and a value.
func (x *Translator) operator(operator string, operand *yaml.Node, v value, must bool) string {
	texts := map[string]string{"hasPrefix": "startsWith", "hasSuffix": "endsWith", "matches": "matches"}
	switch operator {
	case "equals":
		want, _ := strictyaml.ParseScalar(operand)
		return ofScalar(v, v.expr+" == "+literal(want))
	case "in":
		return ofScalar(v, inList(v.expr, operand))
	case "hasPrefix", "hasSuffix", "matches":
		return ofKind(v, schema.String, v.expr+"."+texts[operator]+"("+Quote(operand.Value)+")")
	case "contains":
		want, _ := strictyaml.ParseScalar(operand)
		parts := []string{x.anyElement(v, func(element value) string { return element.expr + " == " + literal(want) })}
		if want.Kind == strictyaml.TextScalar {
			parts = append(parts, ofKind(v, schema.String, v.expr+".contains("+literal(want)+")"))
		}
		return joined(parts, or)
	case "oneOf":
		element := x.anyElement(v, func(element value) string { return inList(element.expr, operand) })
		return joined([]string{element, ofScalar(v, inList(v.expr, operand))}, or)
	case "greaterThan", "lessThan":
		want, _ := strictyaml.ParseScalar(operand)
		return isNumber(v, v.expr+orderSign(operator)+literal(want))
	case "length":
		return length(v, operand)
	case "imageTag":
		return ofKind(v, schema.String, imageTag(v.expr, operand.Value))
	case "imageFrom":
		return ofKind(v, schema.String, imageFrom(v.expr, operand))
	case "quantityGreaterThan", "quantityLessThan", "quantityEquals":
		return x.quantity(operator, v, "quantity("+Quote(operand.Value)+")", must)
	}
	x.unsupported("has the operator %s, which CEL does not have", operator)
	return "false"
}

// anyElement returns an expression that is true if the comparison is true for any scalar element of a list.
func (x *Translator) anyElement(v value, comparison func(element value) string) string {
	element := value{expr: x.variable(), kind: v.items()}
	is := ofScalar(element, comparison(element))
	if is == "false" {
		return is
	}
	return ofKind(v, schema.Array, v.expr+".exists("+element.expr+", "+bare(is)+")")
}

func orderSign(operator string) string {
	if strings.HasSuffix(operator, "essThan") {
		return " < "
	}
	return " > "
}

// isNumber returns an expression that is false unless the value is a number, and otherwise evaluates expression.
func isNumber(v value, expression string) string {
	switch v.kinds() {
	case schema.Number:
		return expression
	case schema.Any, schema.Any &^ schema.Array, schema.String | schema.Number:
		return "((type(" + v.expr + ") == int || type(" + v.expr + ") == double)" + and + expression + ")"
	}
	return "false"
}

// inList returns an expression that is true if the value equals a scalar of a list. It uses one CEL list for each type, because the elements of
// a CEL list must have the same type.
func inList(expr string, list *yaml.Node) string {
	var kinds [4][]string
	for _, node := range list.Content {
		want, _ := strictyaml.ParseScalar(node)
		kinds[want.Kind] = append(kinds[want.Kind], literal(want))
	}
	var parts []string
	for _, values := range kinds {
		switch len(values) {
		case 0:
		case 1:
			parts = append(parts, expr+" == "+values[0])
		default:
			parts = append(parts, expr+" in ["+strings.Join(values, ", ")+"]")
		}
	}
	return joined(parts, or)
}

// length returns an expression that compares the length of a string, a list or a map with the operand.
func length(v value, operand *yaml.Node) string {
	least, most, _ := rules.ParseLengths(operand)
	size := "size(" + v.expr + ")"
	is := ""
	switch {
	case least == most:
		is = size + " == " + strconv.Itoa(least)
	case most == math.MaxInt:
		is = size + " >= " + strconv.Itoa(least)
	default:
		is = "(" + size + " >= " + strconv.Itoa(least) + and + size + " <= " + strconv.Itoa(most) + ")"
	}
	return joined([]string{ofKind(v, schema.String, is), ofKind(v, schema.Array, is), ofKind(v, schema.Object, is)}, or)
}

// compareWith returns the expression for an operator, a value, and an operand that is a value of the pod, too.
func (x *Translator) compareWith(operator string, v, o value, times string, must bool) string {
	if operator == "notEquals" {
		return not(x.compareWith("equals", v, o, times, !must))
	}
	if v.entry != nil || o.entry != nil {
		return "false"
	}
	texts := map[string]string{"hasPrefix": "startsWith", "hasSuffix": "endsWith", "contains": "contains"}
	switch operator {
	case "equals":
		return sameScalar(v, o)
	case "hasPrefix", "hasSuffix":
		return joined([]string{ofKind(o, schema.String, "true"), ofKind(v, schema.String, v.expr+"."+texts[operator]+"("+o.expr+")")}, and)
	case "contains":
		text := joined([]string{ofKind(o, schema.String, "true"), ofKind(v, schema.String, v.expr+".contains("+o.expr+")")}, and)
		element := x.anyElement(v, func(element value) string { return ofScalar(o, element.expr+" == "+o.expr) })
		return joined([]string{element, text}, or)
	case "greaterThan", "lessThan":
		if times == "" {
			return joined([]string{isNumber(o, "true"), isNumber(v, v.expr+orderSign(operator)+o.expr)}, and)
		}
		both := joined([]string{isNumber(v, "true"), isNumber(o, "true")}, and)
		return joined([]string{both, x.quantityTimes(operator, v, o, times, must)}, and)
	}
	return x.quantityTimes(operator, v, o, times, must)
}

// sameScalar returns an expression that is true if two values are equal scalars.
func sameScalar(v, o value) string {
	return ofScalar(v, ofScalar(o, v.expr+" == "+o.expr))
}
