package layers

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

type pair struct{ key, value *yaml.Node }

// fields are the fields of a mapping, in the order of their first appearance.
type fields struct {
	names []string
	pairs map[string]pair
}

func (f *fields) set(p pair) {
	if f.pairs == nil {
		f.pairs = make(map[string]pair)
	}
	if _, known := f.pairs[p.key.Value]; !known {
		f.names = append(f.names, p.key.Value)
	}
	f.pairs[p.key.Value] = p
}

// with returns a copy that has other fields, too.
func (f *fields) with(others fields) fields {
	var all fields
	for _, of := range []*fields{f, &others} {
		for _, name := range of.names {
			all.set(of.pairs[name])
		}
	}
	return all
}

// node makes a mapping of the fields, with the place of another node.
func (f *fields) node(r *strictyaml.Reader, place *yaml.Node) *yaml.Node {
	node := r.Like(place, yaml.MappingNode)
	node.Tag = "!!map"
	for _, name := range f.names {
		node.Content = append(node.Content, f.pairs[name].key, f.pairs[name].value)
	}
	return node
}

// mapping reads the fields of a value that must be a mapping.
func (m *merger) mapping(node *yaml.Node, what string) fields {
	if node.Kind != yaml.MappingNode {
		m.Errorf(node, "%s must be a mapping", what)
		return fields{}
	}
	return m.pairs(node)
}

// pairs reads the fields of a mapping, and adds errors for duplicates.
func (m *merger) pairs(node *yaml.Node) fields {
	var f fields
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if _, twice := f.pairs[key.Value]; twice {
			m.Errorf(key, "duplicate field %q", key.Value)
			continue
		}
		f.set(pair{key, node.Content[i+1]})
	}
	return f
}

// An entry is a check, or all skips with the same reason.
type entry struct {
	node   *yaml.Node // the newest
	fields *fields    // of a check; nil for entries that are not merged by fields
	others []*yaml.Node
	live   bool
	here   bool // the table that is merged has it
	// disabled is the entry of disable that took it out.
	disabled *yaml.Node
}

// entries are named entries, in the order of their first appearance.
type entries struct {
	names []string
	byID  map[string]*entry
}

func (es *entries) find(name string) *entry { return es.byID[name] }

// add adds an entry, or puts it into the place of one that is disabled. One without a name stands alone.
func (es *entries) add(name string, e *entry) {
	if es.byID == nil {
		es.byID = make(map[string]*entry)
	}
	if name == "" {
		name = fmt.Sprintf("\x00%d", len(es.names)) // no name is like this
	}
	if es.byID[name] == nil {
		es.names = append(es.names, name)
	}
	e.live, e.here = true, true
	es.byID[name] = e
}

// replace puts the skips of a table with a reason into the place of those of the tables before.
func (es *entries) replace(name string, node *yaml.Node) {
	if before := es.find(name); before != nil && before.here {
		before.others = append(before.others, node)
		return
	}
	es.add(name, &entry{node: node})
}

func (es *entries) endTable() {
	for _, e := range es.byID {
		e.here = false
	}
}

// disable reports whether there is an entry of the name, or was.
func (es *entries) disable(name string, by *yaml.Node) bool {
	e := es.find(name)
	if e == nil {
		return false
	}
	if e.live {
		e.live, e.disabled = false, by
	}
	return true
}

// cleared are the entries, with none of them live.
func (es *entries) cleared() entries {
	for _, e := range es.byID {
		e.live = false
	}
	return *es
}

func (es *entries) nodes(r *strictyaml.Reader) []*yaml.Node {
	var nodes []*yaml.Node
	for _, name := range es.names {
		switch e := es.byID[name]; {
		case !e.live:
		case e.fields != nil:
			nodes = append(nodes, e.fields.node(r, e.node))
		default:
			nodes = append(append(nodes, e.node), e.others...)
		}
	}
	return nodes
}

func (es *entries) disabledNames() []string {
	return slices.DeleteFunc(slices.Clone(es.names), func(name string) bool { return es.byID[name].live })
}
