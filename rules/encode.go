package rules

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
)

// YAML encodes the table, including its defaults and all waivers, wherever they were loaded from. The text loads as an equivalent
// table.
func (t *Table) YAML() []byte {
	root := mapping("apiVersion", textNode(APIVersion), "kind", textNode(Kind), "metadata", mapping("name", textNode(t.name)))
	namespaces := mapping()
	if len(t.include) > 0 {
		namespaces = mapping("include", inFlow(textNodes(t.include)))
	}
	add(root, "namespaces", add(namespaces, "exclude", inFlow(textNodes(t.exclude))))
	if len(t.skips) > 0 {
		skips := sequence()
		for _, s := range t.skips {
			skips.Content = append(skips.Content, mapping("reason", textNode(s.reason), "when", predicateNode(s.when)))
		}
		add(root, "pods", mapping("skip", skips))
	}
	if lists := t.lists.yaml(); lists != nil {
		add(root, "lists", lists)
	}
	checks := sequence()
	for i := range t.checks {
		checks.Content = append(checks.Content, t.checks[i].node())
	}
	add(root, "checks", checks)
	grades := sequence()
	for _, g := range t.grades {
		grade := mapping("name", textNode(g.Name), "min", numberNode(g.Min))
		if g.MaxSeverity != "" {
			add(grade, "maxSeverity", textNode(string(g.MaxSeverity)))
		}
		grades.Content = append(grades.Content, inFlow(grade))
	}
	add(root, "grades", grades)
	if a := t.annotations; a != nil && len(presentIDs(a.CheckIDs, a.checks)) > 0 {
		add(root, "annotationWaivers", mapping("checks", inFlow(textNodes(presentIDs(a.CheckIDs, a.checks))), "maxDays", numberNode(float64(a.MaxDays))))
	}
	waivers := sequence()
	for _, w := range t.waivers {
		if len(w.CheckIDs) == 0 || len(presentIDs(w.CheckIDs, w.checks)) > 0 {
			waivers.Content = append(waivers.Content, w.node())
		}
	}
	if len(waivers.Content) > 0 {
		add(root, "waivers", waivers)
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		panic("encode a table: " + err.Error()) // impossible: it consists of nodes made here
	}
	return b.Bytes()
}

func (c *Check) node() *yaml.Node {
	node := mapping("id", textNode(c.ID), "description", textNode(c.Message()))
	addText(node, "message", string(c.message))
	addText(node, "remediation", c.Remediation)
	addText(node, "category", string(c.Category))
	add(node, "severity", textNode(string(c.Severity)))
	add(node, "weight", numberNode(float64(c.Weight)))
	if c.ShowValue != nil {
		add(node, "showValue", &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatBool(*c.ShowValue)})
	}
	addText(node, "enforce", string(c.Enforce))
	if len(c.ForEach) == 1 {
		add(node, "forEach", textNode(c.ForEach[0]))
	} else if len(c.ForEach) > 1 {
		add(node, "forEach", inFlow(textNodes(c.ForEach)))
	}
	if c.when != nil {
		add(node, "when", predicateNode(c.when))
	}
	return add(node, "violation", predicateNode(c.violation))
}

func predicateNode(p predicate) *yaml.Node {
	several := func(word string, of []predicate) *yaml.Node {
		nodes := sequence()
		for _, q := range of {
			nodes.Content = append(nodes.Content, predicateNode(q))
		}
		return mapping(word, nodes)
	}
	switch p := p.(type) {
	case allOf:
		return several("all", p)
	case anyOf:
		return several("any", p)
	case notOf:
		return mapping("not", predicateNode(p.predicate))
	case *quantified:
		fields := mapping()
		if p.in.Path != fieldpath.Self {
			add(fields, "in", textNode(p.in.Source))
		}
		return mapping(p.word(), add(fields, "is", predicateNode(p.is)))
	case *leaf:
		node := inFlow(mapping())
		if path := p.pathNode(); path != nil {
			add(node, "path", path)
		}
		add(node, "operator", textNode(p.operator))
		switch {
		case p.from != nil:
			add(node, "valueFrom", textNode(p.from.Source))
			if p.from.times != nil {
				add(node, "times", &yaml.Node{Kind: yaml.ScalarNode, Value: p.from.text})
			}
		case p.value != nil:
			add(node, "value", copied(p.value))
		}
		return node
	}
	panic(fmt.Sprintf("unknown predicate %T", p))
}

func (l *leaf) pathNode() *yaml.Node {
	if l.paths[0].Path == fieldpath.Self {
		return nil
	}
	if len(l.paths) == 1 {
		return textNode(l.paths[0].Source)
	}
	paths := sequence()
	for _, p := range l.paths {
		paths.Content = append(paths.Content, textNode(p.Source))
	}
	return inFlow(paths)
}

// copied copies a value without its style and comments.
func copied(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!str" {
		return textNode(node.Value)
	}
	c := &yaml.Node{Kind: node.Kind, Tag: node.Tag, Value: node.Value, Style: yaml.FlowStyle}
	if node.Kind == yaml.ScalarNode {
		c.Style = 0
	}
	for _, child := range node.Content {
		c.Content = append(c.Content, copied(child))
	}
	return c
}

func (w *Waiver) node() *yaml.Node {
	expires, comment := w.Expires.Format(time.RFC3339Nano), ""
	if w.Expires.Location() == time.UTC && w.Expires.Equal(w.Expires.Truncate(24*time.Hour)) {
		expires, comment = w.Expires.Format(time.DateOnly), "00:00 UTC"
	}
	node := mapping("id", textNode(w.ID), "reason", textNode(w.Reason),
		"expires", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!timestamp", Value: expires, LineComment: comment})
	if len(w.Namespaces) == 1 {
		addText(node, "namespace", w.Namespaces[0])
	} else if len(w.Namespaces) > 1 {
		add(node, "namespace", inFlow(textNodes(w.Namespaces)))
	}
	if w.workload != nil {
		addText(node, "workload", w.workload.kind+"/"+w.workload.name)
	}
	addText(node, "pod", w.Pod)
	addText(node, "container", w.Container)
	addText(node, "subject", w.Subject)
	if len(w.labels) > 0 {
		labels := mapping()
		for _, name := range slices.Sorted(maps.Keys(w.labels)) {
			add(labels, name, textNode(w.labels[name]))
		}
		add(node, "labels", inFlow(labels))
	}
	if w.owner != nil {
		owner := mapping()
		addText(owner, "kind", w.owner.kind)
		addText(owner, "name", w.owner.name)
		add(node, "owner", inFlow(owner))
	}
	if len(w.CheckIDs) > 0 {
		add(node, "check", inFlow(textNodes(presentIDs(w.CheckIDs, w.checks))))
	}
	return node
}

// presentIDs are the ids of checks without those that are disabled or retired, which the encoded table does not know.
func presentIDs(all []string, checks []int) []string {
	var ids []string
	for i, id := range all {
		if checks[i] >= 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// mapping makes a mapping of alternating names and nodes.
func mapping(fields ...any) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i < len(fields); i += 2 {
		add(node, fields[i].(string), fields[i+1].(*yaml.Node))
	}
	return node
}

func add(to *yaml.Node, name string, value *yaml.Node) *yaml.Node {
	to.Content = append(to.Content, textNode(name), value)
	return to
}

// addText adds a field unless its text is empty.
func addText(to *yaml.Node, name, text string) {
	if text != "" {
		add(to, name, textNode(text))
	}
}

func sequence(of ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: of}
}

func inFlow(node *yaml.Node) *yaml.Node {
	node.Style = yaml.FlowStyle
	return node
}

func textNodes(texts []string) *yaml.Node {
	nodes := sequence()
	for _, text := range texts {
		nodes.Content = append(nodes.Content, textNode(text))
	}
	return nodes
}

// notPlain are strings that YAML 1.1, which other tools read, takes for another type.
var notPlain = []string{"<<", "=", "y", "n", "yes", "no", "on", "off"}

// textNode quotes a string where YAML requires it, or where a reader would not see its characters.
func textNode(text string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text}
	hidden := strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) || r != ' ' && unicode.IsSpace(r) })
	if hidden || strings.TrimSpace(text) != text || slices.Contains(notPlain, strings.ToLower(text)) {
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}

func numberNode(number float64) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatFloat(number, 'f', -1, 64)}
}
