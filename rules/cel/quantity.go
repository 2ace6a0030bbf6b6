package cel

import (
	"math/big"
	"strings"

	"github.com/kube-devops/kube-devops/rules/schema"
)

// isQuantity returns an expression that is true if a value is a quantity: a string or an integer.
func isQuantity(v value) string {
	is := "isQuantity(" + text(v) + ")"
	if v.kinds()&schema.String != 0 && (v.kind == nil || !v.kind.IsQuantity()) {
		// Kubernetes reads a sign or a point without a digit as 0, but the engine does not. The API server never writes such a quantity.
		is += and + text(v) + `.matches("^[+-]?\\.?[0-9]")`
	}
	switch {
	case v.kinds()&(schema.String|schema.Number) == 0:
		return "false"
	case v.kinds()&^(schema.String|schema.Number) == 0:
		return is
	}
	return "(type(" + v.expr + ") == string || type(" + v.expr + ") == int)" + and + is
}

func text(v value) string { return "string(" + v.expr + ")" }

// tooBig matches the quantities that the engine does not compare: those with more than 64 digits, not counting zeros at either end, or with an
// exponent above 100. CEL would need a long time for 1e999999999.
const tooBig = `^[+-]?0*([1-9][0-9]{64}|([1-9](\\.?[0-9]){63}|\\.[0-9]{64})[0-9.]*[1-9])|[eE][+-]?0*([1-9][0-9]{3}|[2-9][0-9]{2}|1[1-9][0-9]|10[1-9])`

// compared returns the expression for a comparison of quantities. of has the values of the pod that the comparison uses.
func compared(comparison string, must bool, of ...value) string {
	var parts, big []string
	for _, v := range of {
		parts = append(parts, isQuantity(v))
		big = append(big, text(v)+`.matches("`+tooBig+`")`)
	}
	if must {
		return joined(append(parts, not(bare(joined(big, or))), comparison), and)
	}
	return joined(append(parts, joined(append(big, comparison), or)), and)
}

// comparison returns the expression that compares two quantities.
func comparison(operator, left, right string) string {
	switch operator {
	case "quantityGreaterThan", "greaterThan":
		return left + ".isGreaterThan(" + right + ")"
	case "quantityLessThan", "lessThan":
		return left + ".isLessThan(" + right + ")"
	}
	return left + ".compareTo(" + right + ") == 0"
}

// quantity returns the expression that compares a value with a quantity of the table.
func (x *Translator) quantity(operator string, v value, want string, must bool) string {
	return compared(comparison(operator, "quantity("+text(v)+")", want), must, v)
}

// quantityTimes returns the expression that compares a value with a quantity of the pod times a positive decimal. The decimal is a fraction, so
// it compares value * denominator with operand * numerator.
func (x *Translator) quantityTimes(operator string, v, o value, times string, must bool) string {
	factor := big.NewRat(1, 1)
	if times != "" {
		factor.SetString(times)
	}
	return compared(comparison(operator, x.multiplied(v, factor.Denom()), x.multiplied(o, factor.Num())), must, v, o)
}

// multiplied returns the expression for a quantity times a positive integer. CEL can only add quantities. So from the highest bit of the integer
// to the lowest, the sum is doubled, and the quantity is added if the bit is set. Each addition parses the quantity again, because add may
// change a large quantity in place.
func (x *Translator) multiplied(v value, by *big.Int) string {
	once := "quantity(" + text(v) + ")"
	if by.BitLen() == 1 {
		return once
	}
	var b strings.Builder
	b.WriteString("[" + once + "]")
	for bit := by.BitLen() - 2; bit >= 0; bit-- {
		n := x.variable()
		b.WriteString(".map(" + n + ", " + n + ".add(" + n + ")")
		if by.Bit(bit) == 1 {
			b.WriteString(".add(" + once + ")")
		}
		b.WriteString(")")
	}
	b.WriteString("[0]")
	return b.String()
}
