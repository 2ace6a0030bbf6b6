package cel

import (
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/schema"
)

// A value is an expression for a JSON value, of type dyn or optional_type(dyn).
type value struct {
	expr     string
	optional bool
	nothing  bool // the value is always absent
	nullable bool // the value may be null
	// untyped means that brackets select the value. CEL then infers its type from the first comparison, so variables for it must use dyn().
	untyped bool
	kind    *schema.Type // nil for any type
	// entry is set for an entry of a map, which has the fields key and value. expr is then empty.
	entry *entry
	// inner is the part of expr that a longer path continues, an optional value too. The macros optMap and optFlatMap expand their target
	// twice, so a chain of them would double the expression at each step. Nested macros do not.
	inner inner
}

type inner struct{ before, expr, after string }

// An entry is an entry of a map.
type entry struct{ key, value value }

var nothing = value{expr: "optional.none()", optional: true, nothing: true}

func (v value) kinds() schema.Kinds {
	if v.kind == nil {
		return schema.Any
	}
	return v.kind.Kinds()
}

func (v value) isList() bool { return v.kinds() == schema.Array }
func (v value) isMap() bool  { return v.kinds() == schema.Object }

// pod returns the value of the pod.
func (x *Translator) pod() value {
	v := value{expr: x.Root}
	if x.Pods != nil {
		v.kind = x.Pods.Root
	}
	return v
}

// asOptional returns the value as an optional value.
func (v value) asOptional() value {
	if !v.optional {
		v.expr, v.optional = "optional.of("+v.expr+")", true
	}
	return v
}

// then continues an optional value with the next one. guard and next return expressions for a variable of v; the result is absent if the guard
// is true.
func (x *Translator) then(v value, guard, next func(n string) string) value {
	n, in := v.expr, v.inner
	if !v.optional {
		in = inner{}
	} else {
		if in.expr == "" {
			in.expr = v.expr
		}
		n = x.variable()
		in.before, in.after = in.before+in.expr+".optFlatMap("+n+", ", ")"+in.after
		n = v.typed(n)
	}
	if is := guard(n); is != "" {
		in.before, in.after = in.before+"("+is+" ? optional.none() : ", ")"+in.after
	}
	in.expr = next(n)
	return value{expr: in.before + in.expr + in.after, optional: true, inner: in}
}

// typed returns the expression for a variable of the value.
func (v value) typed(variable string) string {
	if v.untyped {
		return "dyn(" + variable + ")"
	}
	return variable
}

func unguarded(string) string { return "" }

// notNull returns the value as an optional value that is absent instead of null.
func (x *Translator) notNull(v value) value {
	if v = v.asOptional(); !v.nullable {
		return v
	}
	of := x.then(v, func(n string) string { return n + " == null" }, func(n string) string { return "optional.of(" + n + ")" })
	of.kind = v.kind
	return of
}

// run returns the value at the end of a path that has at most one value.
func (x *Translator) run(v value, steps []fieldpath.Step) value {
	for i := range steps {
		switch s := &steps[i]; s.Kind {
		case fieldpath.Keys:
			for _, key := range fieldpath.SplitKeys(s.Keys) {
				v = x.key(v, fieldpath.KeyName(key))
			}
		case fieldpath.Length:
			v = x.length(v)
		case fieldpath.First:
			v = x.first(v, s)
		default:
			panic("a path with several values: " + s.String())
		}
	}
	return v
}

// key returns the value of a key of a map, or of an index of a list.
func (x *Translator) key(v value, key string) value {
	index := fieldpath.IsIndex(key)
	switch {
	case v.nothing:
		return nothing
	case v.entry != nil && key == "key":
		return v.entry.key
	case v.entry != nil && key == "value":
		return v.entry.value
	case v.entry != nil, v.isList() && !index, v.kinds()&(schema.Array|schema.Object) == 0:
		return nothing
	case v.isList():
		return value{expr: v.expr + member(key, true), optional: true, kind: v.kind.Items, untyped: true}
	case v.isMap():
		of := value{expr: v.expr + member(key, false), optional: true, kind: v.kind.Values, untyped: !isIdentifier(key)}
		if v.kind.Properties != nil {
			of.kind = v.kind.Properties[key]
		}
		of.nullable = of.kind == nil || of.kinds() == schema.Any || slices.Contains(v.kind.Nullable, key)
		return of
	}
	var of value
	if index {
		of = x.then(v, unguarded, func(n string) string {
			return "(type(" + n + ") == list ? " + n + member(key, true) + " : " + n + member(key, false) + ")"
		})
	} else {
		of = x.then(v, func(n string) string { return "type(" + n + ") == list" }, func(n string) string { return n + member(key, false) })
	}
	of.nullable, of.untyped = true, index || !isIdentifier(key)
	return of
}

// member returns the CEL operation that selects a key or an index that may be absent.
func member(key string, index bool) string {
	switch {
	case index:
		return "[?" + key + "]"
	case isIdentifier(key):
		return ".?" + key
	}
	return "[?" + Quote(key) + "]"
}

// list returns the expression for a list, which is empty if the value is absent or not a list. It returns false if the value is never a list.
func (x *Translator) list(v value) (string, bool) {
	switch {
	case v.nothing || v.entry != nil || v.kinds()&schema.Array == 0:
		return "", false
	case v.isList() && v.untyped:
		n := x.variable()
		return v.expr + ".optMap(" + n + ", dyn(" + n + ")).orValue([])", true
	case v.isList() && v.nullable:
		return x.notNull(v).expr + ".orValue([])", true
	case v.isList() && v.optional:
		return v.expr + ".orValue([])", true
	case v.isList():
		return v.expr, true
	}
	n := x.variable()
	of := v.asOptional()
	return of.expr + ".optMap(" + n + ", type(" + n + ") == list ? " + of.typed(n) + " : dyn([])).orValue(dyn([]))", true
}

// items returns the type of the elements of a list; nil for any type.
func (v value) items() *schema.Type {
	if v.isList() {
		return v.kind.Items
	}
	return nil
}

// length returns the value for the length of a list.
func (x *Translator) length(v value) value {
	if _, ok := x.list(v); !ok {
		return nothing
	}
	guard := func(n string) string { return "type(" + n + ") != list" }
	if v.isList() {
		guard = unguarded
	}
	of := x.then(v, guard, func(n string) string { return "optional.of(dyn(size(" + n + ")))" })
	of.kind = schema.LengthType
	return of
}

// first returns the value for the first element of a list that matches a query.
func (x *Translator) first(v value, s *fieldpath.Step) value {
	list, ok := x.list(v)
	if !ok {
		return nothing
	}
	n := x.variable()
	element := value{expr: n, kind: v.items()}
	return value{expr: list + ".filter(" + n + ", " + x.selects(element, s) + ")[?0]", optional: true, kind: v.items()}
}

// selects returns an expression that is true if an element matches a query.
func (x *Translator) selects(element value, s *fieldpath.Step) string {
	of := x.key(element, s.Key)
	switch {
	case of.nothing || of.kinds()&schema.String == 0 || element.kinds() != schema.Any && !element.isMap():
		return "false"
	case of.kinds() == schema.String && element.isMap():
		return of.expr + " == optional.of(" + Quote(s.Literal) + ")"
	}
	is := x.of(exists, of, func(v value) string { return ofKind(v, schema.String, v.expr+" == "+Quote(s.Literal)) })
	if element.isMap() {
		return is
	}
	return "(type(" + element.expr + ") == map && " + is + ")"
}

// A quantifier joins the answers for several values.
type quantifier struct {
	macro, operator, empty string
}

var (
	exists = quantifier{"exists", or, "false"}
	forAll = quantifier{"all", and, "true"}
)

// each returns the expression that joins the answers for all values of a path that exist.
func (x *Translator) each(q quantifier, v value, steps []fieldpath.Step, answer func(value) string) string {
	several := 0
	for several < len(steps) && steps[several].Kind != fieldpath.Each && steps[several].Kind != fieldpath.All {
		several++
	}
	v = x.run(v, steps[:several])
	if several == len(steps) {
		return x.of(q, v, answer)
	}
	list, ok := x.list(v)
	if !ok {
		return q.empty
	}
	n := x.variable()
	element := value{expr: n, kind: v.items(), nullable: v.items() == nil}
	inner := x.each(q, element, steps[several+1:], answer)
	if s := &steps[several]; s.Kind == fieldpath.All {
		if q == exists {
			inner = joined([]string{x.selects(element, s), inner}, and)
		} else {
			inner = joined([]string{not(x.selects(element, s)), inner}, or)
		}
	}
	if inner == q.empty {
		return q.empty
	}
	return list + "." + q.macro + "(" + n + ", " + inner + ")"
}

// of returns the expression for the answer for a value. If the value is absent, the answer is that for an empty list.
func (x *Translator) of(q quantifier, v value, answer func(value) string) string {
	if v.nothing {
		return q.empty
	}
	if v.entry != nil || !v.optional {
		return x.unlessNull(q, v, answer)
	}
	n, of := x.bind(v)
	return v.expr + ".optMap(" + n + ", " + bare(x.unlessNull(q, of, answer)) + ").orValue(" + q.empty + ")"
}

// bind returns a new variable for an optional value, and the variable as a value.
func (x *Translator) bind(v value) (variable string, of value) {
	n := x.variable()
	return n, value{expr: v.typed(n), kind: v.kind, nullable: v.nullable}
}

func (x *Translator) unlessNull(q quantifier, v value, answer func(value) string) string {
	nullable := v.nullable
	v.nullable = false
	is := answer(v)
	switch {
	case !nullable:
		return is
	case q == exists:
		return joined([]string{v.expr + " != null", is}, and)
	}
	return joined([]string{v.expr + " == null", is}, or)
}

// bare removes the parentheses around a whole expression.
func bare(expression string) string {
	if !strings.HasPrefix(expression, "(") || !strings.HasSuffix(expression, ")") {
		return expression
	}
	depth, quoted := 0, false
	for i := 0; i < len(expression); i++ {
		switch c := expression[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 && i < len(expression)-1 {
				return expression
			}
		}
	}
	return expression[1 : len(expression)-1]
}
