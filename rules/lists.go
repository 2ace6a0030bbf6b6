package rules

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

const maxLists = 100

// lists are the named lists of a table.
type lists struct {
	named []namedList
	// matchers are those of the operators that use a list, so that a list is compiled once however many predicates use it.
	matchers map[listUse]Matcher
	// Where the lists cannot be read or have invalid names, a predicate that uses one is not one more error.
	broken       bool
	invalidNames []string
}

type namedList struct {
	name string
	node *yaml.Node
}

type listUse struct{ operator, list string }

// takesList reports whether an operator may take a named list.
func takesList(operator string) bool {
	return slices.Contains([]string{"in", "notIn", "oneOf", "imageFrom"}, operator)
}

// namedLists reads the field lists of the table, which may be absent.
func (r *loader) namedLists(node *yaml.Node) lists {
	l := lists{matchers: make(map[listUse]Matcher)}
	switch {
	case node == nil:
		return l
	case node.Kind != yaml.MappingNode:
		r.Errorf(node, "lists must be a mapping from names to lists")
		l.broken = true
		return l
	case len(node.Content)/2 > maxLists:
		r.Errorf(node, "lists has %d lists; at most %d are allowed", len(node.Content)/2, maxLists)
		l.broken = true
		return l
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, values := node.Content[i], node.Content[i+1]
		r.At = "list " + key.Value
		switch {
		case !checkID.MatchString(key.Value):
			r.At = "lists" // the number of the list would count those of other tables, too
			r.Errorf(key, "the name %q must be 1 to 63 lower-case letters, digits and underscores, starting with a letter", key.Value)
			l.invalidNames = append(l.invalidNames, key.Value)
		case r.Removed(values):
		case l.find(key.Value) != nil:
			r.Errorf(key, "duplicate list")
		default:
			plain := canonical(values)
			if _, err := parseList(plain); err != nil {
				r.Errorf(values, "the list %s", err)
			}
			l.named = append(l.named, namedList{key.Value, plain})
		}
	}
	r.At = ""
	return l
}

// find returns the list of a name; nil when there is none.
func (l *lists) find(name string) *yaml.Node {
	for _, list := range l.named {
		if list.name == name {
			return list.node
		}
	}
	return nil
}

// reference returns the name of the list that an operand refers to. It returns false when the operand is not a mapping.
func reference(operand *yaml.Node) (name string, is bool, err error) {
	if operand == nil || operand.Kind != yaml.MappingNode {
		return "", false, nil
	}
	if len(operand.Content) == 2 && operand.Content[0].Value == "list" {
		if name, err = strictyaml.ParseText(operand.Content[1]); err == nil {
			return name, true, nil
		}
	}
	hint := ""
	if len(operand.Content) == 2 {
		hint = suggest.DidYouMean(operand.Content[0].Value, []string{"list"})
	}
	return "", true, fmt.Errorf("must be a list, or {list: NAME} with the name of a list of the table%s", hint)
}

// matcher compiles an operator with its operand, which may refer to a named list.
func (r *loader) matcher(operator string, operand *yaml.Node) (Matcher, error) {
	if !takesList(operator) {
		return NewMatcher(operator, operand)
	}
	name, is, err := reference(operand)
	switch {
	case err != nil:
		return Matcher{}, fmt.Errorf("value of %s %w", operator, err)
	case !is:
		m, err := NewMatcher(operator, operand)
		if err != nil && operand != nil && operand.Kind == yaml.ScalarNode && r.lists.find(operand.Value) != nil {
			err = fmt.Errorf("value of %s must be a list (did you mean {list: %s}?)", operator, operand.Value)
		}
		return m, err
	}
	if m, known := r.lists.matchers[listUse{operator, name}]; known {
		return m, nil
	}
	list := r.lists.find(name)
	if list == nil && (r.lists.broken || suggest.Nearest(name, r.lists.invalidNames) != "") {
		return Matcher{}, nil
	}
	if list == nil {
		return Matcher{}, fmt.Errorf("value of %s: %w", operator, r.unknownList(name))
	}
	m, err := NewMatcher(operator, list)
	if err != nil {
		return Matcher{}, fmt.Errorf("list %s: %w", name, err)
	}
	r.lists.matchers[listUse{operator, name}] = m
	return m, nil
}

func (r *loader) unknownList(name string) error {
	if len(r.lists.named) == 0 {
		return fmt.Errorf("unknown list %q: the table has no lists", name)
	}
	var names []string
	for _, list := range r.lists.named {
		names = append(names, list.name)
	}
	return fmt.Errorf("unknown list %q%s; known lists: %s", name, r.DidYouMean(name, names), strings.Join(names, ", "))
}

// Operand returns the list that an operand refers to, and any other operand as it is. It is nil for an operand of a text that the table
// extends, if the table has removed the list.
func (t *Table) Operand(operator string, operand *yaml.Node) *yaml.Node {
	if takesList(operator) {
		if name, is, err := reference(operand); is && err == nil {
			return t.lists.find(name)
		}
	}
	return operand
}

// NewMatcher compiles an operator with an operand of the table.
func (t *Table) NewMatcher(operator string, operand *yaml.Node) (Matcher, error) {
	if name, is, err := reference(operand); is && err == nil {
		if m, known := t.lists.matchers[listUse{operator, name}]; known {
			return m, nil
		}
	}
	return NewMatcher(operator, operand)
}

// HasList reports whether the table has a list of a name.
func (t *Table) HasList(name string) bool { return t.lists.find(name) != nil }

// UsesList reports whether a predicate of the table uses a named list.
func (t *Table) UsesList(name string) bool {
	for use := range t.lists.matchers {
		if use.list == name {
			return true
		}
	}
	return false
}

// A List describes a named list of a table.
type List struct {
	Name   string
	Values []string
}

// Lists returns the named lists of the table, in its order.
func (t *Table) Lists() []List {
	lists := make([]List, len(t.lists.named))
	for i, list := range t.lists.named {
		lists[i].Name = list.name
		for _, value := range list.node.Content {
			lists[i].Values = append(lists[i].Values, value.Value)
		}
	}
	return lists
}

// yaml encodes the lists; nil when there are none.
func (l *lists) yaml() *yaml.Node {
	if len(l.named) == 0 {
		return nil
	}
	node := mapping()
	for _, list := range l.named {
		add(node, list.name, copied(list.node))
	}
	return node
}
