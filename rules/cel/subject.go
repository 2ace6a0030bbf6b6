package cel

import (
	"iter"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/schema"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// A place is a subject of a check, with the expressions for its names.
type place struct {
	subject   value
	container string // the expression for the name of its container; empty if it is not in a container
	name      string // the expression for its name within the container or the pod; empty for a container and for the pod
	// nameless is the condition under which the subject has no name, so that the engine names it by its path. "false" means that it always has
	// a name. paths has all paths that it may have.
	nameless string
	paths    iter.Seq[string]
}

// id returns the expression for the entry of a violation. See Translator.Violations.
func (p *place) id() string {
	switch {
	case p.container == "" && p.name == "":
		return `""`
	case p.name == "":
		return p.container
	case p.container == "":
		return `"/" + ` + p.name
	}
	return p.container + ` + "/" + ` + p.name
}

// never is an empty list of type list(string). The type of [] would be list(dyn).
const never = `[""].filter(v1, false)`

// violations returns the expression for the violations of a check.
func (x *Translator) violations(check *rules.Check, node *yaml.Node) string {
	if len(check.ForEach) == 0 {
		p := &place{subject: x.pod(), nameless: "false"}
		switch is := x.violates(check, node, p); is {
		case "true":
			return `[""]`
		case "false":
			return never
		default:
			return "(" + is + ` ? [""] : [])`
		}
	}
	var lists []string
	for _, source := range check.ForEach {
		paths, err := fieldpath.ParseSubjects(source)
		if err != nil {
			panic("a path that was loaded without an error: " + err.Error())
		}
		for _, path := range paths {
			if isLater(path.Steps) {
				x.unknownAtAdmission(path.Source)
			}
			w := &walk{Translator: x, check: check, node: node, path: path}
			if list := w.list(); list != "" {
				lists = append(lists, list)
			}
		}
	}
	if len(lists) == 0 {
		return never
	}
	return strings.Join(lists, " + ")
}

// violates returns an expression that is true if a subject has a violation that no waiver accepts.
func (x *Translator) violates(check *rules.Check, node *yaml.Node, p *place) string {
	is := x.predicate(strictyaml.Field(node, "violation"), p.subject, false)
	if when := strictyaml.Field(node, "when"); when != nil {
		may, must := x.predicate(when, p.subject, false), x.predicate(when, p.subject, true)
		// If the condition is unknown, the violation is unknown.
		if withoutVariables(may) != withoutVariables(must) {
			is = joined([]string{is, not(must)}, or)
		}
		is = joined([]string{may, is}, and)
	}
	if is == "false" {
		return is
	}
	return joined([]string{is, not(x.waived(check, p))}, and)
}

// withoutVariables removes the numbers of variables, so that expressions that differ only in them become equal.
func withoutVariables(expression string) string {
	var b strings.Builder
	for i := 0; i < len(expression); i++ {
		b.WriteByte(expression[i])
		if expression[i] == 'v' {
			for i+1 < len(expression) && '0' <= expression[i+1] && expression[i+1] <= '9' {
				i++
			}
		}
	}
	return b.String()
}

// A walk translates a check for the subjects of one path.
type walk struct {
	*Translator
	check *rules.Check
	node  *yaml.Node
	path  *fieldpath.SubjectPath
}

// list returns the expression for the violations, of type list(string). It returns "" if there is never a violation.
func (w *walk) list() string {
	steps := w.path.Steps
	root := w.pod()
	expression := ""
	if len(steps) == 2 && steps[0].Kind == fieldpath.Keys {
		expression = w.last(w.run(root, steps[:1]), &steps[1], "", w.path.Container == 2)
	} else if text := w.texts(root, steps, ""); text != "" {
		// CEL cannot flatten a list of lists, but it can join and split texts. Names have no line breaks.
		n := w.variable()
		expression = text + `.split("\n").filter(` + n + `, ` + n + ` != "")`
	}
	if expression == "" {
		return ""
	}
	if w.path.LongRunning {
		policy := w.of(exists, w.run(w.pod(), keys("spec.restartPolicy")), func(v value) string { return v.expr + ` != "Always"` })
		return "(" + policy + " ? [] : " + expression + ")"
	}
	return expression
}

func keys(path string) []fieldpath.Step { return []fieldpath.Step{{Kind: fieldpath.Keys, Keys: path}} }

// last returns the expression for the violations in the last list of the path. It returns "" if there is never a violation.
func (w *walk) last(v value, s *fieldpath.Step, container string, areContainers bool) string {
	list, ok := w.Translator.list(v)
	if !ok {
		return ""
	}
	n := w.variable()
	element := value{expr: n, kind: v.items()}
	p := w.place(element, container, areContainers)
	is := []string{w.violates(w.check, w.node, p)}
	if s.Kind == fieldpath.All {
		is = append([]string{w.selects(element, s)}, is...)
	}
	if element.kinds() == schema.Any {
		is = append([]string{n + " != null", "type(" + n + ") != list"}, is...)
	}
	condition := joined(is, and)
	if condition == "false" {
		return ""
	}
	return list + ".map(" + n + ", " + bare(condition) + ", " + p.id() + ")"
}

// texts returns an expression of type string for the violations of the subjects below a value, one on each line. It returns "" if there is never
// a violation.
func (w *walk) texts(v value, steps []fieldpath.Step, container string) string {
	done := len(w.path.Steps) - len(steps)
	if done == w.path.Container && done > 0 && container == "" {
		if v.optional { // spec.containers.0
			n := w.variable()
			inner := w.texts(value{expr: n, kind: v.kind}, steps, nameOf(n))
			if inner == "" {
				return ""
			}
			return v.expr + ".optMap(" + n + ", " + inner + `).orValue("")`
		}
		container = nameOf(v.expr)
	}
	s := &steps[0]
	if s.Kind == fieldpath.Keys || s.Kind == fieldpath.First {
		return w.texts(w.run(v, steps[:1]), steps[1:], container)
	}
	if len(steps) == 1 {
		if list := w.last(v, s, container, w.path.Container == len(w.path.Steps)); list != "" {
			return list + `.join("\n")`
		}
		return ""
	}
	list, ok := w.Translator.list(v)
	if !ok {
		return ""
	}
	n := w.variable()
	element := value{expr: n, kind: v.items(), nullable: false}
	inner := w.texts(element, steps[1:], container)
	if inner == "" {
		return ""
	}
	if s.Kind == fieldpath.All {
		return list + ".map(" + n + ", " + bare(w.selects(element, s)) + ", " + inner + `).join("\n")`
	}
	return list + ".map(" + n + ", " + inner + `).join("\n")`
}

// nameOf returns the expression for the name of a container, which always exists.
func nameOf(container string) string { return "string(" + container + ".name)" }

// place returns the place of a subject. As in the engine, the name of a subject is its name, key, port or text, or else its path.
func (w *walk) place(subject value, container string, isContainer bool) *place {
	p := &place{subject: subject, container: container, nameless: "false"}
	if isContainer {
		p.container = nameOf(subject.expr)
		return p
	}
	p.paths = w.paths()
	path := Quote(w.listName())
	if subject.kinds() != schema.Any && !subject.isMap() {
		if fieldpath.MayBeSecret(w.path.Steps) {
			p.name, p.nameless = path, "true"
		} else {
			text := clipped(oneLine(text(subject)))
			p.nameless = text + ` == ""`
			p.name = "(" + p.nameless + " ? " + path + " : " + text + ")"
		}
		return p
	}
	var names []string
	for _, key := range []string{"name", "key"} {
		v := w.run(subject, keys(key))
		if v.nothing || v.kind == nil && subject.isMap() {
			continue
		}
		if v.kinds() != schema.String {
			v = w.then(v, func(n string) string { return "type(" + n + ") != string" }, func(n string) string { return "optional.of(" + n + ")" })
		}
		names = append(names, oneLine("string("+v.expr+`.orValue(""))`))
	}
	if port := w.run(subject, keys("containerPort")); !port.nothing && port.kinds() == schema.Number {
		protocol := oneLine("string(" + w.run(subject, keys("protocol")).expr + `.orValue("TCP"))`)
		names = append(names, port.expr+`.optMap(v0, string(v0) + "/" + `+protocol+`).orValue("")`)
	}
	if subject.kinds() == schema.Any {
		n := subject.expr
		if !fieldpath.MayBeSecret(w.path.Steps) {
			names = append(names, "(type("+n+") == map ? \"\" : "+clipped(oneLine("string("+n+")"))+")")
		}
	}
	p.name = path
	var nameless []string
	for i := len(names) - 1; i >= 0; i-- {
		nameless = append(nameless, names[i]+` == ""`)
		if p.name == path && i == len(names)-1 && w.isNamed(subject) {
			p.name, nameless = names[i], []string{"false"}
			continue
		}
		p.name = "(" + names[i] + ` != "" ? ` + names[i] + " : " + p.name + ")"
	}
	p.nameless = joined(nameless, and)
	return p
}

// isNamed reports whether every object of the value's type has a name.
func (w *walk) isNamed(v value) bool {
	return v.kind != nil && slices.Contains(v.kind.Required, "name")
}

// oneLine returns the expression for a text without line breaks.
func oneLine(text string) string { return text + `.replace("\n", " ")` }

// clipped returns the expression for a text that is shortened as in the engine.
func clipped(text string) string {
	return "(size(" + text + ") > 200 ? " + text + `.substring(0, 197) + "…" : ` + text + ")"
}

// listName returns the name of a subject without a name: its path within its container or the pod, without indexes.
func (w *walk) listName() string {
	var parts []string
	for _, s := range w.path.Steps[w.path.Container:] {
		if s.Kind == fieldpath.Keys {
			parts = append(parts, s.Keys)
		}
	}
	return strings.Join(parts, ".")
}

// paths returns the paths that subjects can have within their container or the pod, for as many subjects as the engine evaluates.
func (w *walk) paths() iter.Seq[string] {
	steps := w.path.Steps[w.path.Container:]
	lists := 0
	for _, s := range steps {
		if s.Kind != fieldpath.Keys {
			lists++
		}
	}
	return func(yield func(string) bool) {
		indexes := make([]int, lists)
		for i := range rules.MaxSubjects {
			rest := i
			for k := range indexes {
				if indexes[k] = rest; k+1 < lists {
					indexes[k], rest = rest%100, rest/100
				}
			}
			if !yield(fieldpath.Render(steps, indexes)) {
				return
			}
		}
	}
}
