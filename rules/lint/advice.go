package lint

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// The warnings here are about conditions that may be true and false, and hardly mean what they say.

// advise warns about the leaves of the conditions of one check or skip.
func (l *linter) advise(conditions ...*condition) {
	if l.Pods == nil {
		return
	}
	asksForPresence := func(path string) bool {
		return slices.ContainsFunc(conditions, func(c *condition) bool { return c.asksForPresence(path) })
	}
	for _, c := range conditions {
		c.eachLeaf(func(this *leaf) {
			before := l.Count()
			this.owner()
			this.namespace()
			this.patterns()
			this.registry()
			this.alternatives()
			this.quantities()
			if l.Count() == before && !asksForPresence(this.Path) {
				this.empty()
			}
		})
	}
}

// inner returns the parts of a condition, also those about the elements of some or every.
func (c *condition) inner() []*condition {
	if c.is != nil {
		return []*condition{c.is}
	}
	return c.parts
}

// eachLeaf calls a function for the leaves of a condition that have no warning.
func (c *condition) eachLeaf(of func(*leaf)) {
	for _, part := range c.inner() {
		part.eachLeaf(of)
	}
	if c.leaf != nil && !c.warned {
		of(c.leaf)
	}
}

// hint warns about a leaf, at a node of its operand.
func (l *leaf) hint(node *yaml.Node, format string, args ...any) {
	if l.listed {
		node = l.node
	}
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' ' // an operand may have line breaks, and a warning is one line
		}
		return r
	}, fmt.Sprintf(format, args...))
	l.Errorf(node, "%s on %s: %s", l.Operator, l.what(), text)
}

// write returns the field path of the leaf, to write another operator with it.
func (l *leaf) write() string {
	var sources []string
	for _, p := range l.paths {
		sources = append(sources, p.Source)
	}
	switch words := strings.Join(sources, ", "); {
	case words == "":
		return ""
	case len(sources) == 1:
		return "path: " + words + ", "
	default:
		return "path: [" + words + "], "
	}
}

// all reports whether something is true of the keys of each path of the leaf. A step over the elements of an array is a #.
func (l *leaf) all(of func(keys []string) bool) bool {
	return !slices.ContainsFunc(l.paths, func(p *fieldpath.Path) bool { return len(p.Steps) == 0 || !of(pathKeys(p)) })
}

// isPath reports whether the leaf has one path: a path from the pod.
func (l *leaf) isPath(path string) bool { return l.Path == "$."+path }

// have reports whether all subjects have some fields.
func (s scope) have(fields ...string) bool {
	for _, subject := range s.subjects {
		for _, field := range fields {
			if subject.Properties[field] == nil {
				return false
			}
		}
	}
	return len(s.subjects) > 0
}

func pathKeys(p *fieldpath.Path) []string {
	var keys []string
	for i := range p.Steps {
		if p.Steps[i].Kind != fieldpath.Keys {
			keys = append(keys, "#")
			continue
		}
		for _, key := range fieldpath.SplitKeys(p.Steps[i].Keys) {
			keys = append(keys, fieldpath.KeyName(key))
		}
	}
	return keys
}

// operands calls a function for each text that the leaf compares with, if it is true for such a text.
func (l *leaf) operands(of func(node *yaml.Node, text string)) {
	if !slices.Contains([]string{"equals", "notEquals", "in", "notIn", "oneOf"}, l.Operator) {
		return
	}
	for _, node := range strictyaml.Entries(l.Operand) {
		if text, err := strictyaml.ParseText(node); err == nil {
			of(node, text)
		}
	}
}

// owner warns about kinds that no pod and no owner of a pod has.
func (l *leaf) owner() {
	if l.isPath("kind") {
		l.operands(func(node *yaml.Node, text string) {
			if text != "Pod" {
				l.hint(node, `the subject is always a Pod, never a %.64s; the owners of a pod are at metadata.ownerReferences.#.kind`, text)
			}
		})
	}
	if ofOwner := l.Path == "kind" && l.about.have("controller", "kind"); !ofOwner && !l.isPath("metadata.ownerReferences.#.kind") {
		return
	}
	l.operands(func(node *yaml.Node, text string) {
		if why := neverOwns(text); why != "" {
			l.hint(node, "%s", why)
		}
	})
}

// betweenOwners are the kinds that own the pods of other kinds.
var betweenOwners = map[string]string{"Deployment": "ReplicaSet", "CronJob": "Job"}

// neverOwns explains why no pod has an owner of a kind; empty when one may.
func neverOwns(kind string) string {
	switch between := betweenOwners[kind]; {
	case between != "":
		return fmt.Sprintf("the owner of a pod of a %s is a %s", kind, between)
	case kind != "" && 'a' <= kind[0] && kind[0] <= 'z':
		return fmt.Sprintf("a kind begins with a capital letter; write %.64q", strings.ToUpper(kind[:1])+kind[1:])
	}
	return ""
}

// namespace warns about namespaces that the table excludes, and names that no namespace or pod has.
func (l *leaf) namespace() {
	if !l.isPath("metadata.namespace") {
		if l.isPath("metadata.name") {
			l.literals(podNames)
		}
		return
	}
	l.literals(namespaceNames)
	if strings.HasPrefix(l.Operator, "not") {
		return // it excludes them once more
	}
	l.operands(func(node *yaml.Node, text string) {
		by, excluded := l.table.ExcludedBy(text)
		switch {
		case !excluded || namespaceNames.never(text) != "":
		case by == "":
			l.hint(node, "the table does not include namespace %.64q, so it has no pods from there", text)
		default:
			l.hint(node, "%q in namespaces.exclude excludes namespace %.64q, so the table has no pods from there", by, text)
		}
	})
}

// literals warns about names that no object has, unless patterns does.
func (l *leaf) literals(names *nameRule) {
	l.operands(func(node *yaml.Node, text string) {
		if strings.ContainsAny(text, "*?") || text == "" {
			return
		}
		if why := names.never(text); why != "" {
			l.hint(node, "%.64q can be the name of no %s: %s", text, names.what, why)
		}
	})
}

// byteFields are the fields whose quantities are numbers of bytes.
var byteFields = []string{"memory", "ephemeral-storage", "storage", "sizeLimit"}

// ofBytes and ofCPU report what the quantities are of.
func (l *leaf) ofBytes() bool {
	return l.all(func(keys []string) bool { return slices.Contains(byteFields, keys[len(keys)-1]) })
}

func (l *leaf) ofCPU() bool {
	return l.all(func(keys []string) bool { return keys[len(keys)-1] == "cpu" })
}

const comparesQuantitiesAsText = "it compares text, and a quantity may be written in several ways, such as 1Gi and 1024Mi; use quantityEquals"

// quantities warns about quantities that are compared as text, or in units that are hardly meant.
func (l *leaf) quantities() {
	if l.quantity {
		l.operands(func(node *yaml.Node, text string) {
			if _, err := rules.NewMatcher("quantityGreaterThan", node); err == nil {
				l.hint(node, "%s", comparesQuantitiesAsText)
			}
		})
	}
	if l.Operand == nil || !strings.HasPrefix(l.Operator, "quantity") || !l.ofBytes() {
		return
	}
	number, isMilli := strings.CutSuffix(l.Operand.Value, "m")
	whole := strings.Trim(number, "0123456789") == ""
	switch {
	case isMilli && whole:
		l.hint(l.node, "%.64sm is %.64s thousandths of a byte; write %.64sMi", number, number, number)
	case isMilli:
		l.hint(l.node, "the unit m is a thousandth of a byte; write Mi")
	case whole && len(number) > 1 && len(number) <= 4:
		l.hint(l.node, "%s is a number of bytes; write %sMi", number, number)
	}
}

// forList says what to write instead of an operator that compares a whole list with a scalar; empty for other operators.
func (l *leaf) forList() string {
	switch path := l.write(); l.Operator {
	case "equals":
		return "{" + path + "operator: contains, ...}"
	case "notEquals":
		return "not: {" + path + "operator: contains, ...}"
	case "in":
		return "{" + path + "operator: oneOf, ...}"
	case "notIn":
		return "not: {" + path + "operator: oneOf, ...}, or some for an element that is not in the list"
	}
	return ""
}
