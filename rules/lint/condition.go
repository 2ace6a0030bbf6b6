package lint

import (
	"fmt"
	"math"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/lint/satisfy"
	"github.com/kube-devops/kube-devops/rules/schema"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

// A condition is a predicate of the text.
type condition struct {
	node  *yaml.Node
	expr  *satisfy.Expr
	parts []*condition
	leaf  *leaf      // nil for all other predicates
	is    *condition // of the elements of some or every
	// warned: there is a warning about it or a part of it, from which others would follow.
	warned bool
}

func all(parts ...*satisfy.Expr) *satisfy.Expr { return &satisfy.Expr{Op: satisfy.All, Parts: parts} }

func not(part *satisfy.Expr) *satisfy.Expr {
	return &satisfy.Expr{Op: satisfy.Not, Parts: []*satisfy.Expr{part}}
}

// condition reads a condition about a scope, and warns about its leaves.
func (l *linter) condition(node *yaml.Node, about scope) *condition {
	c := &condition{node: node, expr: new(satisfy.Expr)}
	for word, op := range map[string]satisfy.Op{"all": satisfy.All, "any": satisfy.Any, "not": satisfy.Not} {
		if field := strictyaml.Field(node, word); field != nil {
			c.expr.Op = op
			for _, entry := range strictyaml.Entries(field) {
				part := l.condition(entry, about)
				c.parts = append(c.parts, part)
				c.expr.Parts = append(c.expr.Parts, part.expr)
				c.warned = c.warned || part.warned
			}
		}
	}
	for _, word := range []string{"some", "every"} {
		if field := strictyaml.Field(node, word); field != nil {
			l.quantified(c, word, field, about)
		}
	}
	if from := strictyaml.Field(node, "valueFrom"); from != nil {
		l.valueFrom(c, from, about)
	}
	if c.expr.Op == satisfy.Leaf {
		before := l.Count()
		l.leaf(c, about)
		c.warned = l.Count() > before
	}
	return c
}

// leafOn finds the first leaf on a path.
func (c *condition) leafOn(path string) *condition {
	if c.expr.Op == satisfy.Leaf && c.expr.Path == path {
		return c
	}
	for _, part := range c.parts {
		if found := part.leafOn(path); found != nil {
			return found
		}
	}
	return nil
}

// constant warns about the innermost parts of a condition that have the same answer for all pods; never and always are the messages
// for the condition as a whole.
func (l *linter) constant(c *condition, never, always string) (warned bool) {
	for _, part := range c.parts {
		warned = l.constant(part, "this part can never be true", "this part is always true") || warned
	}
	switch {
	case warned:
	case !l.solver.CanBe(c.expr, true):
		l.Errorf(c.node, "%s", never)
		return true
	case !l.solver.CanBe(c.expr, false):
		l.Errorf(c.node, "%s", always)
		return true
	}
	return warned
}

// A leaf is a leaf of a condition with what the schema says about its path.
type leaf struct {
	*linter
	*satisfy.Expr
	node     *yaml.Node // of the operand, or of an operator that takes none
	source   string     // the path as it is written
	values   satisfy.Values
	listed   bool         // the operand refers to a named list
	elements schema.Kinds // of a list
	quantity bool
	words    string // what the path selects
	about    scope
	paths    []*fieldpath.Path
}

// leaf reads a leaf, and warns when it has the same answer for all values that its path may select.
func (l *linter) leaf(c *condition, about scope) {
	operand := strictyaml.Field(c.node, "value")
	e := c.expr
	e.Operator = strictyaml.FieldValue(c.node, "operator")
	if e.Operand = l.table.Operand(e.Operator, operand); e.Operand == nil && operand != nil {
		c.expr.Op = satisfy.Free // another table has removed the list, and replaced the check
		return
	}
	e.Matcher, _ = l.table.NewMatcher(e.Operator, operand) // loaded without an error
	this := &leaf{linter: l, Expr: e, node: operand, listed: e.Operand != operand, about: about}
	c.leaf = this
	if this.node == nil {
		this.node = strictyaml.Field(c.node, "operator")
	}
	found := this.findFirst(strictyaml.Entries(strictyaml.Field(c.node, "path")), about)
	e.Values = this.values
	if found {
		this.checkOperator()
	}
}

// findFirst follows the paths of a leaf, where the first that leads to a value counts. It warns about those that do not exist, and
// returns false when there is one. The search for constant conditions treats several paths as one of its own, whose values are those of
// any of them: it may miss a constant condition, and is never wrong about one.
func (l *leaf) findFirst(nodes []*yaml.Node, about scope) bool {
	if len(nodes) == 0 {
		l.paths = []*fieldpath.Path{fieldpath.Self}
		return l.find(nil, fieldpath.Self, about)
	}
	found, before := true, ""
	for i, node := range nodes {
		path, _ := fieldpath.Parse(node.Value) // loaded without an error
		l.paths = append(l.paths, path)
		from := strings.TrimPrefix(path.Source, "$.")
		if path.Root || about.pod {
			from = "$." + from
		}
		one := leaf{linter: l.linter}
		found = one.find(node, path, about) && found
		if i == 0 {
			l.Path, l.source, l.values, l.elements, l.quantity, l.words = from, path.Source, one.values, one.elements, one.quantity, one.words
			before = path.Source
			continue
		}
		if l.values.Always {
			l.Errorf(node, "path %q has no effect: %q before it always has a value", path.Source, before)
		}
		before = path.Source
		l.Path, l.source = l.Path+", else "+from, l.source+", else "+path.Source
		l.addPath(&one)
	}
	return found
}

// addPath extends what the paths of a leaf may select by the values of another one.
func (l *leaf) addPath(other *leaf) {
	v, o := &l.values, &other.values
	if len(v.Enum) == 0 || len(o.Enum) == 0 {
		v.Enum = nil
	} else {
		v.Enum = slices.Concat(v.Enum, o.Enum)
	}
	v.Kinds |= o.Kinds
	v.Integer, v.Length, v.Always, v.Several = v.Integer && o.Integer, v.Length && o.Length, v.Always || o.Always, v.Several || o.Several
	l.elements, l.quantity = l.elements|other.elements, l.quantity && other.quantity
	if other.words != l.words {
		l.words += " or " + other.words
	}
}

// find follows one path from all types that a subject may have. It warns and returns false when the path exists in none of them.
func (l *leaf) find(node *yaml.Node, p *fieldpath.Path, about scope) bool {
	l.values.Several = slices.ContainsFunc(p.Steps, func(s fieldpath.Step) bool { return s.Kind == fieldpath.Each || s.Kind == fieldpath.All })
	l.values.Length = p.IsLength()
	subjects := about.subjects
	if p.Root && l.Pods != nil {
		subjects = []*schema.Type{l.Pods.Root}
	}
	var wrong *schema.PathError
	found := 0
	for _, subject := range subjects {
		to, err := subject.Find(p.Steps)
		if err == nil {
			l.add(to, found == 0)
			found++
		} else if wrong == nil {
			wrong = err
		}
	}
	switch {
	case found > 0:
	case wrong != nil:
		l.unknownPath(node, "path", subjects[0], p, wrong)
	case l.values.Length:
		l.add(schema.Place{Type: schema.LengthType}, true)
	default:
		l.values.Kinds, l.elements, l.words = schema.Any, schema.Any, "any value"
	}
	l.values.Always = l.values.Always && wrong == nil
	return found > 0 || wrong == nil
}

// add extends what the path may select by the values of a place.
func (l *leaf) add(p schema.Place, first bool) {
	v := &l.values
	if first {
		v.Enum, v.Integer, v.Always, l.quantity, l.words = p.Enum, p.IsInteger(), p.Always, p.IsQuantity(), p.Describe()
	} else {
		if v.Enum = slices.Concat(v.Enum, p.Enum); len(p.Enum) == 0 {
			v.Enum = nil
		}
		v.Integer, v.Always, l.quantity = v.Integer && p.IsInteger(), v.Always && p.Always, l.quantity && p.IsQuantity()
		if words := p.Describe(); words != l.words {
			l.words += " or " + words
		}
	}
	v.Kinds |= p.Kinds()
	switch {
	case p.Kinds() == schema.Any:
		l.elements = schema.Any
	case p.Items != nil:
		l.elements |= p.Items.Kinds()
	}
}

// what is what the leaf is about, for messages.
func (l *leaf) what() string {
	if l.source == "" {
		return "the subject"
	}
	return strconv.Quote(l.source)
}

func (l *leaf) never(selected string) {
	l.Errorf(l.node, "%s on %s is never true: the path selects %s", l.Operator, l.what(), selected)
}

func (l *leaf) always(reason string) {
	l.Errorf(l.node, "%s on %s is true for every value: %s", l.Operator, l.what(), reason)
}

// checkOperator warns when the operator has the same answer for all values that the path may select.
func (l *leaf) checkOperator() {
	v := &l.values
	switch l.Operator {
	case "equals", "in", "oneOf", "contains":
		l.checkOperands(l.never)
	case "notEquals", "notIn":
		l.checkOperands(func(selected string) { l.always("the path selects " + selected) })
	case "hasPrefix", "hasSuffix", "matches", "imageTag", "imageFrom":
		switch {
		case v.Kinds&schema.String == 0:
			l.never(l.words + ", not a string")
		case l.Operator == "imageFrom":
			l.sources()
		case l.Operator == "matches" && matchesAll(l.Operand.Value), strings.HasPrefix(l.Operator, "has") && l.Operand.Value == "":
			l.always("it matches every string")
		}
	case "greaterThan", "lessThan":
		want, _ := strictyaml.ParseScalar(l.Operand)
		switch {
		case l.quantity:
			l.never(fmt.Sprintf("%s; use quantity%s", l.words, strings.ToUpper(l.Operator[:1])+l.Operator[1:]))
		case v.Kinds&schema.Number == 0:
			l.never(l.words + ", not a number")
		case v.Length && l.Operator == "lessThan" && want.Float <= 0:
			l.never(l.words + ", which is never less than 0")
		case v.Length && l.Operator == "greaterThan" && want.Float < 0:
			l.always("a length is never less than 0")
		}
	case "quantityGreaterThan", "quantityLessThan", "quantityEquals":
		if v.Kinds&(schema.String|schema.Number) == 0 {
			l.never(l.words + ", not a quantity")
		}
	case "length":
		least, most, _ := rules.ParseLengths(l.Operand)
		switch {
		case v.Kinds&(schema.String|schema.Array|schema.Object) == 0:
			l.never(l.words + ", which has no length")
		case least == 0 && most == math.MaxInt:
			l.always("a length is never less than 0")
		}
	}
}

// checkOperands warns about operands that the path never selects; none is called when that is true of the only one.
func (l *leaf) checkOperands(none func(selected string)) {
	if instead := l.forList(); instead != "" && l.values.Kinds == schema.Array {
		none(l.words + "; write " + instead)
		return
	}
	isList := l.Operand.Kind == yaml.SequenceNode && len(l.Operand.Content) > 1
	mismatches, last := 0, ""
	for _, node := range strictyaml.Entries(l.Operand) {
		want, _ := strictyaml.ParseScalar(node)
		kinds := l.values.Kinds
		switch l.Operator {
		case "oneOf":
			kinds |= l.elements
		case "contains":
			if (kinds|l.elements)&schema.String != 0 && want.Kind == strictyaml.TextScalar {
				if want.Text == "" && kinds == schema.String {
					l.always("every string contains the empty string")
				}
				continue
			}
			kinds = l.elements // it finds parts of strings, and elements
		}
		mismatch := l.mismatch(kinds, &want)
		switch {
		case mismatch == "":
		case l.listed: // a list may have values for several paths
			mismatches, last = mismatches+1, mismatch
		case isList:
			l.Errorf(node, "%s on %s lists a value that never occurs: the path selects %s", l.Operator, l.what(), mismatch)
		default:
			none(mismatch)
		}
	}
	if mismatches > 0 && mismatches == len(l.Operand.Content) {
		none(last)
	}
}

// mismatch says why a value of the table never equals a value of the kinds; "" when it can.
func (l *leaf) mismatch(kinds schema.Kinds, want *strictyaml.Scalar) string {
	kind, words := schema.Number, ""
	switch want.Kind {
	case strictyaml.TextScalar:
		kind, words = schema.String, fmt.Sprintf("%.64q is a string", want.Text)
	case strictyaml.BoolScalar:
		kind, words = schema.Bool, fmt.Sprintf("%t is a boolean", want.Bool)
	case strictyaml.IntScalar:
		words = fmt.Sprintf("%d is a number", want.Int)
	case strictyaml.FloatScalar:
		words = fmt.Sprintf("%v is a number", want.Float)
	}
	v := &l.values
	switch {
	case kinds&kind == 0 && l.quantity && kind == schema.Number:
		return l.words + "; use quantityEquals, quantityGreaterThan or quantityLessThan"
	case kinds&kind == 0:
		return l.words + ", but " + words
	case kind == schema.String && len(v.Enum) > 0 && !slices.Contains(v.Enum, want.Text):
		return fmt.Sprintf("%s, which is never %.64q%s", l.words, want.Text, suggest.DidYouMean(want.Text, v.Enum))
	case want.Kind == strictyaml.FloatScalar && v.Integer && want.Float != math.Trunc(want.Float):
		return l.words + ", but " + words
	case kind == schema.Number && v.Length && want.Float < 0:
		return l.words + ", which is never less than 0"
	}
	return ""
}

// matchesAll reports whether an expression is known to match every string because it matches the empty string.
func matchesAll(expression string) bool {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	return err == nil && matchesEmpty(parsed)
}

func matchesEmpty(r *syntax.Regexp) bool {
	switch r.Op {
	case syntax.OpEmptyMatch, syntax.OpStar, syntax.OpQuest:
		return true
	case syntax.OpRepeat:
		return r.Min == 0 || matchesEmpty(r.Sub[0])
	case syntax.OpCapture, syntax.OpPlus:
		return matchesEmpty(r.Sub[0])
	case syntax.OpConcat:
		return !slices.ContainsFunc(r.Sub, func(sub *syntax.Regexp) bool { return !matchesEmpty(sub) })
	case syntax.OpAlternate:
		return slices.ContainsFunc(r.Sub, matchesEmpty)
	}
	return false
}
