package cel

import (
	"strings"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/schema"
)

// A value is an expression of a JSON value: of type dyn, or of type optional_type(dyn).
type value struct {
	expr     string
	optional bool
	nothing  bool         // there is never a value
	nullable bool         // it may be null
	kind     *schema.Type // nil for any
	// entry is set for an entry of a map, which has the fields key and value. expr is then empty.
	entry *entry
}

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

// pod is the pod.
func (x *Translator) pod() value {
	v := value{expr: x.Root}
	if x.Pods != nil {
		v.kind = x.Pods.Root
	}
	return v
}

// asOptional makes a value optional.
func (v value) asOptional() value {
	if !v.optional {
		v.expr, v.optional = "optional.of("+v.expr+")", true
	}
	return v
}

// notNull makes an optional value that is never null.
func (x *Translator) notNull(v value) value {
	v = v.asOptional()
	if v.nullable {
		n := x.variable()
		v.expr, v.nullable = v.expr+".optFlatMap("+n+", "+n+" != null ? optional.of("+n+") : optional.none())", false
	}
	return v
}

// run follows the steps of a path that has at most one value.
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

// key is the value of a key of a map or an object, or of an index of a list.
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
		return value{expr: x.member(v.expr, key, true), optional: true, kind: v.kind.Items}
	case v.isMap():
		of := value{expr: x.member(v.expr, key, false), optional: true, kind: v.kind.Values}
		if v.kind.Properties != nil {
			of.kind = v.kind.Properties[key]
		}
		// Templates of workloads have a null there.
		of.nullable = of.kind == nil || of.kinds() == schema.Any || key == "creationTimestamp"
		return of
	}
	n := x.variable()
	inList := "optional.none()"
	if index {
		inList = x.member(n, key, true)
	}
	v = v.asOptional()
	return value{expr: v.expr + ".optFlatMap(" + n + ", type(" + n + ") == list ? " + inList + " : " + x.member(n, key, false) + ")", optional: true, nullable: true}
}

// member selects a key or an index that may be absent, as an optional value of type dyn. Without a conversion, what brackets select would
// have the type of what it is first compared with.
func (x *Translator) member(expr, key string, index bool) string {
	if !index && isIdentifier(key) {
		return expr + ".?" + key
	}
	if !index {
		key = quote(key)
	}
	n := x.variable()
	return expr + "[?" + key + "].optMap(" + n + ", dyn(" + n + "))"
}

// member selects a key that may be absent.
func member(key string) string {
	if isIdentifier(key) {
		return ".?" + key
	}
	return "[?" + quote(key) + "]"
}

// list is the expression of a list, which is empty where there is none. It returns false where there is never one.
func (x *Translator) list(v value) (string, bool) {
	switch {
	case v.nothing || v.entry != nil || v.kinds()&schema.Array == 0:
		return "", false
	case v.isList() && v.optional:
		return v.expr + ".orValue([])", true
	case v.isList():
		return v.expr, true
	}
	n := x.variable()
	return v.asOptional().expr + ".optMap(" + n + ", type(" + n + ") == list ? " + n + " : dyn([])).orValue(dyn([]))", true
}

// items is the kind of the elements of a list.
func (v value) items() *schema.Type {
	if v.isList() {
		return v.kind.Items
	}
	return nil
}

// length is the number of the elements of a list.
func (x *Translator) length(v value) value {
	if _, ok := x.list(v); !ok {
		return nothing
	}
	n, list := x.variable(), v.isList()
	of := value{expr: v.asOptional().expr, optional: true, kind: schema.LengthType}
	if list {
		of.expr += ".optMap(" + n + ", dyn(size(" + n + ")))"
	} else {
		of.expr += ".optFlatMap(" + n + ", type(" + n + ") == list ? optional.of(dyn(size(" + n + "))) : optional.none())"
	}
	return of
}

// first is the first element of a list with the literal of a query.
func (x *Translator) first(v value, s *fieldpath.Step) value {
	list, ok := x.list(v)
	if !ok {
		return nothing
	}
	n := x.variable()
	element := value{expr: n, kind: v.items()}
	return value{expr: list + ".filter(" + n + ", " + x.selects(element, s) + ")[?0]", optional: true, kind: v.items()}
}

// selects reports whether an element has the literal of a query.
func (x *Translator) selects(element value, s *fieldpath.Step) string {
	switch {
	case element.isMap():
		return element.expr + member(s.Key) + " == optional.of(" + quote(s.Literal) + ")"
	case element.kinds() == schema.Any:
		return "(type(" + element.expr + ") == map && " + element.expr + member(s.Key) + " == optional.of(" + quote(s.Literal) + "))"
	}
	return "false"
}

// A quantifier joins the answers for several values.
type quantifier struct {
	macro, operator, empty string
}

var (
	exists = quantifier{"exists", or, "false"}
	forAll = quantifier{"all", and, "true"}
)

// each joins the answers for all values of a path, without those that are absent.
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

// of is the answer for a value, and that of an empty list where there is none.
func (x *Translator) of(q quantifier, v value, answer func(value) string) string {
	if v.nothing {
		return q.empty
	}
	if v.entry != nil || !v.optional {
		return x.unlessNull(q, v, answer)
	}
	inner := v
	inner.expr, inner.optional = x.variable(), false
	return v.expr + ".optMap(" + inner.expr + ", " + x.unlessNull(q, inner, answer) + ").orValue(" + q.empty + ")"
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
