// Package layers merges the texts of policy tables, where each extends those before it, into one. It works on the nodes of YAML, so that
// each error about the result has the file and the line where its cause is. It must not know what a check or a condition means.
package layers

import (
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// A Source is the text of one table.
type Source struct {
	// File names the table in messages.
	File string
	Text []byte
	// Renamed has the present ids of checks by the former ones, and Retired the ids of checks that the table no longer has. Other tables
	// may still use them.
	Renamed map[string]string
	Retired []string
}

// A Merged is the result of merging several tables.
type Merged struct {
	// Root is the merged table, without extends and disable.
	Root *yaml.Node
	// Renamed and Retired are those of all sources.
	Renamed map[string]string
	Retired []string
	// Disabled are the ids of checks that a source has and a later one disables.
	Disabled []string
	// Warnings are about the use of ids that are renamed or retired.
	Warnings strictyaml.Errors
}

// MaxChecks is how many checks a table may have.
const MaxChecks = 500

// CheckID is the form of ids of checks.
var CheckID = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

const tableKind = "PolicyTable"

// skipPrefix marks an entry of disable that is the reason of a skip.
const skipPrefix = "skip:"

// A merger merges tables, lowest first. Errors and the places of nodes are those of the reader.
type merger struct {
	*strictyaml.Reader
	Merged
	head          fields // those that name a table; the last table names the result
	fields        fields
	namespaces    fields
	pods          fields
	lists         fields
	checks, skips entries
	excludeAlso   []*yaml.Node
	waivers       []*yaml.Node
	// places are nodes of the newest table that has the field.
	places map[string]*yaml.Node
	lowest bool // the table that is merged extends nothing
}

// Merge reads tables and merges them: a later one changes those before it. At an error that keeps a text from being read, the root is nil.
// The function check, if any, gets what each table but the last one is, with those before it: a later table could hide its mistakes.
func Merge(sources []Source, check func(*strictyaml.Reader, *Merged)) (*strictyaml.Reader, *Merged) {
	last := len(sources) - 1
	m := &merger{Reader: strictyaml.NewReader(sources[last].File), places: make(map[string]*yaml.Node)}
	m.Renamed = make(map[string]string)
	roots := make([]*yaml.Node, len(sources))
	unread := false
	for i, source := range sources {
		roots[i] = m.ParseFile(source.File, source.Text)
		if roots[i] != nil && roots[i].Kind != yaml.MappingNode {
			m.Errorf(roots[i], "the table must be a mapping")
			roots[i] = nil
		}
		if kind := strictyaml.Field(roots[i], "kind"); kind != nil && i < last {
			before := m.Count()
			if m.Constant("kind", tableKind)(kind); m.Count() > before {
				roots[i] = nil // such as waivers, whose other fields are not those of a table
			}
		}
		unread = unread || roots[i] == nil
		for former, present := range source.Renamed {
			m.Renamed[former] = present
		}
		m.Retired = append(m.Retired, source.Retired...)
	}
	if unread {
		return m.Reader, &Merged{}
	}
	for i, root := range roots {
		m.lowest = i == 0
		m.table(root)
		m.finish(root)
		if i < last && check != nil {
			check(m.Reader, &m.Merged)
		}
	}
	return m.Reader, &m.Merged
}

// table merges one table into those before it.
func (m *merger) table(root *yaml.Node) {
	of := m.pairs(root)
	m.head = fields{}
	for _, name := range []string{"apiVersion", "kind", "metadata"} {
		if field, ok := of.pairs[name]; ok {
			m.head.set(field)
		}
	}
	if disable, ok := of.pairs["disable"]; ok {
		m.disable(disable.value)
		m.places["checks"] = disable.value // in case that none remains
	}
	for _, name := range of.names {
		field := of.pairs[name]
		if !slices.Contains([]string{"waivers", "checks"}, name) {
			m.mark(field.value)
		}
		switch name {
		case "apiVersion", "kind", "metadata", "extends", "disable":
			continue
		case "namespaces":
			m.mergeNamespaces(field.value)
		case "pods":
			m.mergePods(field.value)
		case "lists":
			m.mergeLists(field.value)
		case "checks":
			if n := len(field.value.Content); n > MaxChecks && field.value.Kind == yaml.SequenceNode {
				m.Errorf(field.value, "checks must have at most %d entries, got %d", MaxChecks, n)
				continue
			}
			m.Each(field.value, name, func(_ int, entry *yaml.Node) { m.mergeCheck(entry) })
			m.checks.endTable()
		case "waivers":
			if m.null(field.value) {
				m.waivers = nil
			} else {
				m.Each(field.value, name, func(_ int, entry *yaml.Node) { m.waivers = append(m.waivers, entry) })
			}
		default:
			m.fields.set(field)
			continue
		}
		m.places[name] = field.value
	}
}

// null reports whether a value removes a field of the tables before.
func (m *merger) null(node *yaml.Node) bool { return !m.lowest && strictyaml.IsNull(node) }

// mark lets a null value remove a field of the tables before.
func (m *merger) mark(node *yaml.Node) {
	if m.null(node) {
		m.Remove(node)
	}
}

func (m *merger) mergeNamespaces(node *yaml.Node) {
	if m.null(node) {
		m.namespaces, m.excludeAlso = fields{}, nil
		return
	}
	of := m.mapping(node, "namespaces")
	if _, replaced := of.pairs["exclude"]; replaced {
		m.excludeAlso = nil
	}
	for _, name := range of.names {
		field := of.pairs[name]
		m.mark(field.value)
		switch {
		case name != "excludeAlso":
			m.namespaces.set(field)
		case m.null(field.value):
			m.excludeAlso = nil
		default:
			m.Each(field.value, "namespaces.excludeAlso", func(_ int, entry *yaml.Node) { m.excludeAlso = append(m.excludeAlso, entry) })
			m.places[name] = field.value
		}
	}
}

func (m *merger) mergePods(node *yaml.Node) {
	if m.null(node) {
		m.pods, m.skips = fields{}, m.skips.cleared()
		return
	}
	of := m.mapping(node, "pods")
	for _, name := range of.names {
		switch field := of.pairs[name]; {
		case name != "skip":
			m.pods.set(field)
		case m.null(field.value):
			m.skips = m.skips.cleared()
		default:
			m.Each(field.value, "pods.skip", func(_ int, entry *yaml.Node) { m.skips.replace(strictyaml.FieldValue(entry, "reason"), entry) })
			m.skips.endTable()
			m.places[name] = field.value
		}
	}
}

func (m *merger) mergeLists(node *yaml.Node) {
	if m.null(node) {
		m.lists = fields{}
		return
	}
	of := m.mapping(node, "lists")
	for _, name := range of.names {
		m.mark(of.pairs[name].value)
		m.lists.set(of.pairs[name])
	}
}

// mergeCheck changes a check of the tables before, or adds one.
func (m *merger) mergeCheck(node *yaml.Node) {
	id := ""
	if field := strictyaml.Field(node, "id"); field != nil {
		id, _ = strictyaml.ParseText(field)
	}
	if !CheckID.MatchString(id) {
		m.checks.add("", &entry{node: node}) // the loader says what is wrong
		return
	}
	m.At = "check " + id
	defer func() { m.At = "" }()
	fields := m.pairs(node)
	if present, renamed := m.Renamed[id]; renamed {
		m.warn(fields.pairs["id"].value, "the check is now called %s", present)
		// A copy: the text of the source may be read again.
		field := fields.pairs["id"]
		value := m.Like(field.value, yaml.ScalarNode)
		value.Tag, value.Value = "!!str", present
		fields.set(pair{field.key, value})
		id = present
	}
	for _, field := range fields.pairs {
		m.mark(field.value)
	}
	switch before := m.checks.find(id); {
	case before != nil && before.here:
		m.Errorf(node, "duplicate id; the first one is in %s", m.Place(before.node, node))
	case before != nil && before.live:
		for _, name := range fields.names {
			before.fields.set(fields.pairs[name])
		}
		before.node, before.here = node, true
	case m.isWhole(node, &fields, id, before):
		m.checks.add(id, &entry{node: node, fields: &fields})
	}
}

// isWhole reports whether a check that no table before has can stand alone. The loader reports what the lowest table lacks.
func (m *merger) isWhole(node *yaml.Node, fields *fields, id string, before *entry) bool {
	var missing []string
	for _, name := range []string{"weight", "violation"} {
		if _, ok := fields.pairs[name]; !ok {
			missing = append(missing, name)
		}
	}
	switch {
	case len(missing) == 0 || m.lowest:
		return true
	case before != nil:
		m.Errorf(node, "missing %s: the check is disabled in %s, so it must be defined anew", strings.Join(missing, " and "), m.Place(before.disabled, node))
	case slices.Contains(m.Retired, id):
		m.warn(node, "the check was retired from the table that it belonged to; this entry has no effect")
	default:
		m.Errorf(node, "missing %s: no table that this one extends has the check%s", strings.Join(missing, " and "), m.DidYouMean(id, m.checks.names))
	}
	return false
}

// disable takes checks and skips out of the tables before.
func (m *merger) disable(node *yaml.Node) {
	seen := make(map[string]bool)
	m.Each(node, "disable", func(_ int, entry *yaml.Node) {
		id, ok := m.Text(entry, "disable")
		if !ok {
			return
		}
		if seen[id] {
			m.Errorf(entry, "disable: duplicate entry %q", id)
			return
		}
		seen[id] = true
		if m.lowest {
			m.Errorf(entry, "disable: unknown %q: the table extends no other table", id)
			return
		}
		if reason, isSkip := strings.CutPrefix(id, skipPrefix); isSkip {
			if !m.skips.disable(reason, entry) {
				m.Errorf(entry, "disable: no table that this one extends has a skip with the reason %q%s", reason, m.DidYouMean(reason, m.skips.names))
			}
			return
		}
		if present, renamed := m.Renamed[id]; renamed {
			m.warn(entry, "disable: check %s is now called %s", id, present)
			id = present
		}
		if m.checks.disable(id, entry) {
			return
		}
		hint := m.DidYouMean(id, m.checks.names)
		switch {
		case slices.Contains(m.Retired, id):
			m.warn(entry, "disable: check %s was retired from the table that it belonged to; remove the entry", id)
		case m.skips.find(id) != nil:
			m.Errorf(entry, "disable: unknown check %q (for the entry of pods.skip, write %q)", id, skipPrefix+id)
		default:
			m.Errorf(entry, "disable: no table that this one extends has check %q%s", id, hint)
		}
	})
}

func (m *merger) warn(node *yaml.Node, format string, args ...any) {
	m.Warnings = append(m.Warnings, m.About(node, m.At, format, args...))
}

// finish builds the table that those so far are together.
func (m *merger) finish(newest *yaml.Node) {
	place := func(name string) *yaml.Node {
		if node := m.places[name]; node != nil {
			return node
		}
		return newest
	}
	sequence := func(name string, content []*yaml.Node) *yaml.Node {
		node := m.Like(place(name), yaml.SequenceNode)
		node.Tag, node.Content = "!!seq", content
		return node
	}
	all := m.head.with(m.fields)
	namespaces, pods := m.namespaces.with(fields{}), m.pods.with(fields{})
	if len(m.excludeAlso) > 0 {
		namespaces.set(named("excludeAlso", sequence("excludeAlso", m.excludeAlso)))
	}
	if len(namespaces.names) > 0 {
		all.set(named("namespaces", namespaces.node(m.Reader, place("namespaces"))))
	}
	if skips := m.skips.nodes(m.Reader); len(skips) > 0 {
		pods.set(named("skip", sequence("skip", skips)))
	}
	if len(pods.names) > 0 {
		all.set(named("pods", pods.node(m.Reader, place("pods"))))
	}
	if len(m.lists.names) > 0 {
		all.set(named("lists", m.lists.node(m.Reader, place("lists"))))
	}
	if len(m.checks.names) > 0 {
		all.set(named("checks", sequence("checks", m.checks.nodes(m.Reader))))
	}
	if len(m.waivers) > 0 {
		all.set(named("waivers", sequence("waivers", m.waivers)))
	}
	m.Root = all.node(m.Reader, newest)
	m.Disabled = m.checks.disabledNames()
}

// named makes a field whose name is in no text.
func named(name string, value *yaml.Node) pair {
	return pair{&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name, Line: value.Line}, value}
}
