package cel

import (
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/schema"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// predicate returns an expression of type bool for a predicate about a subject. With must, the expression is true if the predicate is true;
// without must, also if the predicate is unknown.
func (x *Translator) predicate(node *yaml.Node, subject value, must bool) string {
	for _, word := range []string{"all", "any"} {
		field := strictyaml.Field(node, word)
		if field == nil {
			continue
		}
		operator := and
		if word == "any" {
			operator = or
		}
		var parts []string
		for _, entry := range field.Content {
			parts = append(parts, x.predicate(entry, subject, must))
		}
		return joined(parts, operator)
	}
	if field := strictyaml.Field(node, "not"); field != nil {
		return not(x.predicate(field, subject, !must))
	}
	if field := strictyaml.Field(node, "some"); field != nil {
		return x.quantified(exists, field, subject, must)
	}
	if field := strictyaml.Field(node, "every"); field != nil {
		return x.quantified(forAll, field, subject, must)
	}
	return x.leaf(node, subject, must)
}

// from returns the value at which a path begins, and the parsed path. An empty path is the subject itself.
func (x *Translator) from(source string, subject value) (value, *fieldpath.Path) {
	if source == "" {
		return subject, fieldpath.Self
	}
	path, err := fieldpath.Parse(source)
	if err != nil {
		panic("a path that was loaded without an error: " + err.Error())
	}
	if path.Root {
		subject = x.pod()
	}
	if subject.expr == x.Root && subject.entry == nil {
		x.admitted(path)
	}
	return subject, path
}

// admitted rejects a path to a field of the pod that the API server sets after admission.
func (x *Translator) admitted(path *fieldpath.Path) {
	if isLater(path.Steps) {
		x.unknownAtAdmission(strings.TrimPrefix(path.Source, "$."))
	}
}

// isLater reports whether a path leads to a field of the pod that the API server sets after admission.
func isLater(steps []fieldpath.Step) bool {
	if len(steps) == 0 || steps[0].Kind != fieldpath.Keys {
		return false
	}
	first, second := steps[0].FirstKey, steps[0].SecondKey
	return first == "status" ||
		first == "metadata" && (second == "deletionTimestamp" || second == "deletionGracePeriodSeconds" || second == "resourceVersion")
}

// readsLater reports whether a predicate about the pod reads a field that the API server sets after admission.
func (x *Translator) readsLater(node *yaml.Node) bool {
	before := *x
	x.reason, x.later = "", false
	x.predicate(node, x.pod(), true)
	later := x.later
	*x = before
	return later
}

// quantified returns the expression for a predicate about the elements of lists or the entries of maps.
func (x *Translator) quantified(q quantifier, node *yaml.Node, subject value, must bool) string {
	from, path := x.from(strictyaml.FieldValue(node, "in"), subject)
	is := strictyaml.Field(node, "is")
	return x.each(q, from, path.Steps, func(v value) string {
		return x.elements(q, v, must, func(element value) string { return x.predicate(is, element, must) })
	})
}

// elements returns the expression that joins the answers for the elements of a list or the entries of a map. For any other value, the answer is
// unknown.
func (x *Translator) elements(q quantifier, v value, must bool, answer func(value) string) string {
	unknown := "true"
	if must {
		unknown = "false"
	}
	inList := func(kind *schema.Type) string {
		element := value{expr: x.variable(), kind: kind, nullable: kind == nil}
		return x.macro(q, v.expr, element.expr, x.unlessNull(q, element, answer))
	}
	inMap := func(kind *schema.Type, nullable bool) string {
		key := value{expr: x.variable(), kind: &schema.Type{Type: "string"}}
		of := value{expr: v.expr + "[" + key.expr + "]", kind: kind}
		is := answer(value{entry: &entry{key, of}})
		if nullable {
			is = x.unlessNull(q, value{expr: of.expr, nullable: true}, func(value) string { return is })
		}
		return x.macro(q, v.expr, key.expr, is)
	}
	switch {
	case v.entry != nil:
		var parts []string
		for _, name := range []string{"key", "value"} {
			of := v.entry.key
			if name == "value" {
				of = v.entry.value
			}
			parts = append(parts, answer(value{entry: &entry{value{expr: "dyn(" + Quote(name) + ")", kind: &schema.Type{Type: "string"}}, of}}))
		}
		return joined(parts, q.operator)
	case v.isList():
		return inList(v.kind.Items)
	case v.isMap():
		return inMap(v.kind.Values, v.kind.Values == nil && (v.kind.Properties == nil || len(v.kind.Nullable) > 0))
	case v.kinds() != schema.Any:
		return unknown
	}
	return "(type(" + v.expr + ") == list ? " + inList(nil) + " : type(" + v.expr + ") == map ? " + inMap(nil, true) + " : " + unknown + ")"
}

// macro returns a comprehension, or a constant if its result does not depend on the elements.
func (x *Translator) macro(q quantifier, list, variable, is string) string {
	if is == q.empty {
		return q.empty
	}
	return list + "." + q.macro + "(" + variable + ", " + bare(is) + ")"
}

// leaf returns the expression that compares the values of the first path that has a value.
func (x *Translator) leaf(node *yaml.Node, subject value, must bool) string {
	operator := strictyaml.FieldValue(node, "operator")
	operand := strictyaml.Field(node, "value")
	compare := func(v value) string {
		return x.compare(operator, x.table.Operand(operator, operand), v, must)
	}
	matcher, _ := x.table.NewMatcher(operator, operand)
	absent := matcher.MatchAbsent()
	if from := strictyaml.Field(node, "valueFrom"); from != nil {
		absent = operator == "notEquals"
		at, path := x.from(from.Value, subject)
		return x.of(exists, x.run(at, path.Steps), func(o value) string {
			return x.firstPath(node, subject, absent, func(v value) string {
				return x.compareWith(operator, v, o, strictyaml.FieldValue(node, "times"), must)
			})
		})
	}
	return x.firstPath(node, subject, absent, compare)
}

// firstPath returns the expression for the answer for the first path that has a value; absent is the answer if no path has one.
func (x *Translator) firstPath(node *yaml.Node, subject value, absent bool, compare func(value) string) string {
	paths := strictyaml.Entries(strictyaml.Field(node, "path"))
	if len(paths) == 0 {
		return x.of(exists, subject, compare)
	}
	answer := "false"
	if absent {
		answer = "true"
	}
	// Go from the last path to the first, so that consecutive paths with at most one value become one optional value.
	var single []value
	flush := func() {
		if len(single) == 0 {
			return
		}
		v := single[0]
		if len(single) > 1 || answer != "false" {
			v = x.notNull(v)
		}
		for _, next := range single[1:] {
			next = x.notNull(next)
			v = value{expr: v.expr + ".or(" + next.expr + ")", optional: true, kind: common(v.kind, next.kind), untyped: v.untyped || next.untyped}
		}
		answer = x.orElse(v, compare, answer)
		single = nil
	}
	for i := len(paths) - 1; i >= 0; i-- {
		from, path := x.from(paths[i].Value, subject)
		if !path.MayHaveSeveral() {
			if v := x.run(from, path.Steps); !v.nothing {
				single = append([]value{v}, single...)
			}
			continue
		}
		flush()
		is := x.each(exists, from, path.Steps, compare)
		present := x.each(exists, from, path.Steps, func(value) string { return "true" })
		switch {
		case answer == "false":
			answer = is
		case answer == "true" && absent:
			answer = joined([]string{not(present), is}, or)
		default:
			answer = "(" + present + " ? " + is + " : " + answer + ")"
		}
	}
	flush()
	return answer
}

// orElse returns the expression for the answer for a value; absent is the answer if there is no value.
func (x *Translator) orElse(v value, compare func(value) string, absent string) string {
	if !v.optional {
		return compare(v)
	}
	if absent == "false" {
		return x.of(exists, v, compare)
	}
	n, of := x.bind(v)
	is := compare(of)
	switch {
	case is == "true" && absent == "true":
		return "true"
	case is == "true" && absent == "false", is == "false" && absent == "true":
		return not(v.expr + ".hasValue()")
	}
	return v.expr + ".optMap(" + n + ", " + bare(is) + ").orValue(" + absent + ")"
}

// common returns the type that two values have in common; nil if they have different types.
func common(a, b *schema.Type) *schema.Type {
	if a == nil || b == nil || a.Kinds() != b.Kinds() || a.Items != b.Items || a.Values != b.Values || a.Type == "object" && a != b {
		return nil
	}
	return a
}

// compare returns the expression for an operator and a value.
func (x *Translator) compare(operator string, operand *yaml.Node, v value, must bool) string {
	switch operator {
	case "exists":
		return "true"
	case "absent":
		return "false"
	case "notEquals":
		return not(x.compare("equals", operand, v, !must))
	case "notIn":
		return not(x.compare("in", operand, v, !must))
	}
	if v.entry != nil { // it behaves like an object with the fields key and value
		if operator != "length" {
			return "false"
		}
		if least, most, _ := rules.ParseLengths(operand); least <= 2 && 2 <= most {
			return "true"
		}
		return "false"
	}
	return x.operator(operator, operand, v, must)
}
