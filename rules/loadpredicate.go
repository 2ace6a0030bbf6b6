package rules

import (
	"cmp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// A site is where predicates stand.
type site struct {
	count   int  // the predicates of the condition so far
	element bool // the subject is an element of a list, which a leaf without a path is about
	nested  int  // how many some and every are around
}

func (r *loader) predicate(node *yaml.Node, depth int, in *site) predicate {
	if in.count++; in.count == maxPredicates+1 {
		r.Errorf(node, "a condition may have at most %d predicates", maxPredicates)
	}
	if depth > maxPredicateDepth {
		r.Errorf(node, "predicates may be nested at most %d deep", maxPredicateDepth)
		return nil
	}
	if node.Kind == yaml.SequenceNode {
		r.Errorf(node, "a predicate must be a mapping, got a list; write any: before the list if one of its predicates is enough, or all: if each must be true")
		return nil
	}
	found := make(map[string]*yaml.Node)
	known := make(map[string]func(*yaml.Node))
	for _, name := range []string{"all", "any", "not", "some", "every", "path", "operator", "value", "valueFrom", "times"} {
		known[name] = func(node *yaml.Node) { found[name] = node }
	}
	before := r.Count()
	r.Fields(node, "a predicate", nil, known)
	unknownField := r.Count() > before
	all, either, not, some, every := found["all"], found["any"], found["not"], found["some"], found["every"]
	if len(found) > 1 && cmp.Or(all, either, not, some, every) != nil {
		r.Errorf(node, "a predicate must be exactly one of all, any, not, some, every, or a path with an operator")
	}
	several := func(node *yaml.Node, word string) (of []predicate) {
		r.Each(node, word, func(_ int, entry *yaml.Node) { of = append(of, r.predicate(entry, depth+1, in)) })
		if node.Kind == yaml.SequenceNode && len(of) == 0 {
			r.Errorf(node, "%s must have at least one predicate", word)
		}
		return of
	}
	switch {
	case node.Kind != yaml.MappingNode:
		return nil
	case all != nil:
		return allOf(several(all, "all"))
	case either != nil:
		return anyOf(several(either, "any"))
	case not != nil:
		return notOf{r.predicate(not, depth+1, in)}
	case some != nil:
		return r.quantified(some, &quantified{}, depth, in)
	case every != nil:
		return r.quantified(every, &quantified{every: true}, depth, in)
	}
	if unknownField && (found["operator"] == nil || found["path"] == nil && !in.element) {
		return nil // the unknown field most likely stands for the missing one
	}
	return r.leaf(node, in, found)
}

// maxQuantified is how many some and every may be around a predicate, so that the cost of a pod is bounded by its size.
const maxQuantified = 2

// quantified reads the fields of some or every.
func (r *loader) quantified(node *yaml.Node, q *quantified, depth int, around *site) predicate {
	word := q.word()
	if around.nested == maxQuantified {
		r.Errorf(node, "some and every may be nested at most %d deep", maxQuantified)
		return nil
	}
	if inside := misplaced(node); inside != "" {
		r.Errorf(node, "put %s of %s into is: {...}", inside, word)
		return nil
	}
	q.in = place{fieldpath.Self, -1}
	if node.Kind == yaml.MappingNode && strictyaml.Field(node, "in") == nil && !around.element {
		r.Errorf(node, `missing field "in" in %s; it may only be left out where the subject is an element of a list`, word)
	}
	element, nested := around.element, around.nested
	defer func() { around.element, around.nested = element, nested }()
	around.element, around.nested = true, nested+1
	r.Fields(node, word, []string{"is"}, map[string]func(*yaml.Node){
		"in": func(node *yaml.Node) {
			source, ok := r.Text(node, "in")
			if !ok {
				return
			}
			if path, err := fieldpath.ParseValue(source); err != nil {
				r.Errorf(node, "path %q %s%s", source, err, fieldpath.Hint(source, false))
			} else if path.IsLength() {
				r.Errorf(node, "path %q ends with #: %s already looks at the elements of a list, leave it out", source, word)
			} else {
				q.in.Path = path
			}
		},
		"is": func(node *yaml.Node) { q.is = r.predicate(node, depth+1, around) },
	})
	return q
}

// misplaced names the fields of a predicate that stand in some or every without is; empty when there are none.
func misplaced(node *yaml.Node) string {
	if strictyaml.Field(node, "is") != nil {
		return ""
	}
	var names []string
	for _, name := range []string{"path", "operator", "value", "valueFrom", "times", "all", "any", "not"} {
		if strictyaml.Field(node, name) != nil {
			names = append(names, name)
		}
	}
	return english(names)
}

// english joins words: a, b and c.
func english(words []string) string {
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return strings.Join(words, "")
}

// leaf reads a path with an operator. Missing fields are nil.
func (r *loader) leaf(node *yaml.Node, in *site, fields map[string]*yaml.Node) predicate {
	l, where, word, operand := new(leaf), fields["path"], fields["operator"], fields["value"]
	switch {
	case where != nil:
		l.paths = r.places(where)
	case in.element && word != nil:
		l.paths = []place{{Path: fieldpath.Self, slot: -1}}
	default:
		r.Errorf(node, "missing field %q in a predicate", "path")
	}
	if word == nil {
		r.Errorf(node, "missing field %q in a predicate", "operator")
		return l
	}
	var ok bool
	if l.operator, ok = r.Text(word, "operator"); !ok {
		return l
	}
	if from, times := fields["valueFrom"], fields["times"]; from != nil || times != nil {
		r.valueFrom(l, word, fields)
		return l
	}
	var err error
	if l.Matcher, err = r.matcher(l.operator, operand); err != nil {
		r.Errorf(cmp.Or(operand, word), "%s", err)
		return l
	}
	if operand != nil {
		l.value = canonical(operand)
	}
	return l
}

// places reads a path, or a list of paths, where the first that leads to a value counts.
func (r *loader) places(node *yaml.Node) []place {
	entries := strictyaml.Entries(node)
	if n := len(entries); n == 0 || n > maxPaths {
		r.Errorf(node, "path must be a path or a list of 1 to %d paths, got %d", maxPaths, n)
		return nil
	}
	var places []place
	for _, entry := range entries {
		source, ok := r.Text(entry, "path")
		if !ok {
			continue
		}
		parsed, err := fieldpath.ParseValue(source)
		switch {
		case err != nil:
			r.Errorf(entry, "path %q %s%s", source, err, fieldpath.Hint(source, false))
		case slices.ContainsFunc(places, func(p place) bool { return p.Source == source }):
			r.Errorf(entry, "duplicate path %q; only the first one has an effect", source)
		default:
			places = append(places, place{parsed, -1})
		}
	}
	return places
}
