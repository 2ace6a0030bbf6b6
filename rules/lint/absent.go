package lint

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/lint/satisfy"
	"github.com/kube-devops/kube-devops/rules/schema"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// asksForPresence reports whether a condition has a leaf on a path that is about its presence only.
func (c *condition) asksForPresence(path string) bool {
	if c.leaf != nil {
		return c.expr.Path == path && (c.leaf.Operator == "absent" || c.leaf.Operator == "exists")
	}
	return slices.ContainsFunc(c.inner(), func(part *condition) bool { return part.asksForPresence(path) })
}

// empty warns about a field that is compared with the empty string and may be absent. Kubernetes does not store empty strings, except in
// the values of maps and in a few fields where they have a meaning of their own.
func (l *leaf) empty() {
	if l.values.Always || l.values.Several || len(l.paths) != 1 || l.values.Kinds != schema.String {
		return
	}
	keys := pathKeys(l.paths[0])
	last := keys[len(keys)-1]
	if slices.Contains([]string{"type", "storageClassName", "value", "key"}, last) || len(keys) > 1 && (isLabels(keys[len(keys)-2]) || keys[len(keys)-2] == "annotations") {
		return
	}
	entries := strictyaml.Entries(l.Operand)
	at := slices.IndexFunc(entries, func(node *yaml.Node) bool { text, err := strictyaml.ParseText(node); return err == nil && text == "" })
	if at < 0 {
		return
	}
	switch l.Operator {
	case "equals":
		l.hint(l.node, `Kubernetes leaves out an empty field, and an absent one is not equal to ""; write {%soperator: absent}`, l.write())
	case "notEquals":
		l.hint(l.node, `it is also true where the field is absent, as Kubernetes leaves out an empty one; write {%soperator: exists}`, l.write())
	case "in", "oneOf":
		l.hint(entries[at], `Kubernetes leaves out an empty field, and an absent one is not equal to ""; write any with {%soperator: absent}`, l.write())
	case "notIn":
		l.hint(entries[at], `it is also true where the field is absent, as Kubernetes leaves out an empty one; write all with {%soperator: exists}`, l.write())
	}
}

// noneHas warns about a violation that is true where no element of a list has a field: it is false where only one of them has it.
func (l *linter) noneHas(c *condition, positive bool) {
	if c.expr.Op == satisfy.Not {
		positive = !positive
	}
	for _, part := range c.inner() {
		l.noneHas(part, positive)
	}
	if c.leaf == nil || c.warned || len(c.leaf.paths) != 1 || l.Pods == nil {
		return
	}
	if absent := c.leaf.Operator == "absent"; absent != positive || !absent && c.leaf.Operator != "exists" {
		return
	}
	path := c.leaf.paths[0]
	list, field, ok := strings.Cut(path.Source, ".#.")
	if !ok || strings.Contains(field, "#") || strings.Contains(list, "#") || c.leaf.inEach(path) {
		return
	}
	c.leaf.hint(c.leaf.node, "this is true only where no element has the field; to find an element without it, write {some: {in: %s, is: {path: %s, operator: absent}}}",
		list, field)
}

// inEach reports whether every element of a list that a path selects has the rest of the path.
func (l *leaf) inEach(p *fieldpath.Path) bool {
	subjects := l.about.subjects
	if p.Root {
		subjects = []*schema.Type{l.Pods.Root}
	}
	each := slices.IndexFunc(p.Steps, func(s fieldpath.Step) bool { return s.Kind == fieldpath.Each })
	return !slices.ContainsFunc(subjects, func(t *schema.Type) bool {
		element, wrong := t.Find(p.Steps[:each+1])
		if wrong != nil {
			return false
		}
		field, wrong := element.Find(p.Steps[each+1:])
		return wrong == nil && !field.Always
	})
}
