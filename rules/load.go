package rules

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// The bounds of a table.
const (
	maxTableBytes     = 1 << 20
	maxChecks         = 500
	maxWeight         = 1000
	maxPredicates     = 200 // of one check
	maxPredicateDepth = 16
)

var (
	tableName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	checkID   = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
)

// Load reads and compiles a policy table from YAML. The file's name is for messages alone. Where anything is wrong the
// error is Mistakes: all of them, each with its line.
func Load(file string, text []byte) (*Table, error) {
	r := &reader{reporter: reporter{file: file}}
	root := r.parse(text)
	if root == nil {
		return nil, r.err()
	}
	t := r.table(root)
	if err := r.err(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	t.hash = "sha256:" + hex.EncodeToString(sum[:])
	t.arrange()
	return t, nil
}

// parse makes nodes of the text and returns the one document's root, or nil when there is none to go on with.
func (r *reader) parse(text []byte) *yaml.Node {
	if len(text) > maxTableBytes {
		r.add(nil, "", "the table has %d bytes; %d are allowed", len(text), maxTableBytes)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) || err == nil && document.Content[0].ShortTag() == "!!null" {
		r.add(nil, "", "the table is empty")
		return nil
	}
	if err == nil {
		err = decoder.Decode(&second)
	}
	switch {
	case err == nil:
		r.add(&second, "", "a second document begins here; a table is one document")
		return nil
	case !errors.Is(err, io.EOF):
		r.notYAML(err)
		return nil
	case !r.withoutAliases(&document):
		return nil
	}
	return document.Content[0]
}

// notYAML puts the line that the error of the YAML package names, if any, where the lines of mistakes stand.
func (r *reader) notYAML(err error) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	at := new(yaml.Node)
	if n, _ := fmt.Sscanf(msg, "line %d: ", &at.Line); n == 1 {
		_, msg, _ = strings.Cut(msg, ": ")
	}
	r.add(at, "", "not valid YAML: %s", msg)
}

// withoutAliases refuses anchors and aliases, by which a small text can stand for a huge table.
func (r *reader) withoutAliases(node *yaml.Node) bool {
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		r.add(node, "", "anchors and aliases are not allowed: write it out")
		return false
	}
	for _, child := range node.Content {
		if !r.withoutAliases(child) {
			return false
		}
	}
	return true
}

// A reader makes a Table of nodes.
type reader struct {
	reporter
	at string // what is being read, for messages
}

func (r *reader) wrong(node *yaml.Node, format string, args ...any) {
	r.add(node, r.at, format, args...)
}

// fields calls the function of each field of a mapping, and tells of unknown, double and missing ones.
func (r *reader) fields(node *yaml.Node, what string, required []string, known map[string]func(*yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		r.wrong(node, "%s must be a mapping of fields", what)
		return
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		read, ok := known[key.Value]
		switch {
		case !ok:
			r.wrong(key, "unknown field %q; %s has only %s", key.Value, what, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case seen[key.Value]:
			r.wrong(key, "field %q stands here twice", key.Value)
		default:
			read(value)
		}
		seen[key.Value] = true
	}
	for _, name := range required {
		if !seen[name] {
			r.wrong(node, "%s lacks the field %q", what, name)
		}
	}
}

// each calls read for each entry of a list.
func (r *reader) each(node *yaml.Node, what string, read func(i int, entry *yaml.Node)) {
	if node.Kind != yaml.SequenceNode {
		r.wrong(node, "%s must be a list", what)
		return
	}
	for i, entry := range node.Content {
		read(i, entry)
	}
}

// text reads a string; it is false where there is none, which has then been told.
func (r *reader) text(node *yaml.Node, what string) (string, bool) {
	text, err := parseText(node)
	if err != nil {
		r.wrong(node, "%s %s", what, err)
	}
	return text, err == nil
}

func (r *reader) textInto(into *string, what string) func(*yaml.Node) {
	return func(node *yaml.Node) { *into, _ = r.text(node, what) }
}

// literally reads a field that has one possible value.
func (r *reader) literally(what, want string) func(*yaml.Node) {
	return func(node *yaml.Node) {
		if node.Kind != yaml.ScalarNode || node.Value != want {
			r.wrong(node, "%s must be %s", what, want)
		}
	}
}

func (r *reader) table(root *yaml.Node) *Table {
	t := &Table{exclude: defaultExclude(), grades: defaultGrades()}
	r.fields(root, "the table", []string{"apiVersion", "kind", "metadata", "checks"}, map[string]func(*yaml.Node){
		"apiVersion": r.literally("apiVersion", APIVersion),
		"kind":       r.literally("kind", Kind),
		"metadata": func(node *yaml.Node) {
			r.fields(node, "metadata", []string{"name"}, map[string]func(*yaml.Node){
				"name": func(node *yaml.Node) {
					var ok bool
					if t.name, ok = r.text(node, "metadata.name"); ok && !tableName.MatchString(t.name) {
						r.wrong(node, "metadata.name %q must be 1 to 63 lower-case letters, digits and dashes, with no dash at its ends", t.name)
					}
				},
			})
		},
		"namespaces": func(node *yaml.Node) {
			r.fields(node, "namespaces", nil, map[string]func(*yaml.Node){
				"exclude": func(node *yaml.Node) { t.exclude = r.globs(node, "namespaces.exclude") },
			})
		},
		"checks": func(node *yaml.Node) { t.checks = r.checks(node) },
		"grades": func(node *yaml.Node) { t.grades = r.grades(node) },
	})
	return t
}

func (r *reader) globs(node *yaml.Node, what string) []string {
	globs := []string{}
	r.each(node, what, func(_ int, entry *yaml.Node) {
		glob, _ := r.text(entry, what)
		if _, err := path.Match(glob, ""); err != nil {
			r.wrong(entry, "%s: %q is not a shell glob", what, glob)
		}
		globs = append(globs, glob)
	})
	return globs
}

func (r *reader) grades(node *yaml.Node) []Grade {
	var grades []Grade
	r.each(node, "grades", func(i int, entry *yaml.Node) {
		g := Grade{Min: math.NaN()}
		r.fields(entry, "a grade", []string{"name", "min"}, map[string]func(*yaml.Node){
			"name": r.textInto(&g.Name, "a grade's name"),
			"min": func(node *yaml.Node) {
				bound, err := parseScalar(node)
				if err != nil || !bound.isNumber() || bound.float < 0 || bound.float > 100 {
					r.wrong(node, "a grade's min must be a number from 0 to 100, not %s", written(node))
					return
				}
				g.Min = bound.float
			},
		})
		if i > 0 && g.Min >= grades[i-1].Min {
			r.wrong(entry, "the min of grade %q must be lower than that of the grade before it", g.Name)
		}
		grades = append(grades, g)
	})
	if node.Kind == yaml.SequenceNode {
		if n := len(grades); n == 0 || grades[n-1].Min > 0 {
			r.wrong(node, "the last grade must have min 0, so that every compliance has a grade")
		}
	}
	return grades
}

func (r *reader) checks(node *yaml.Node) []Check {
	var checks []Check
	lines := make(map[string]int)
	r.each(node, "checks", func(i int, entry *yaml.Node) {
		c := r.check(i, entry)
		if line, twice := lines[c.ID]; twice && c.ID != "" {
			r.add(entry, "check "+c.ID, "the id stands in line %d already", line)
		}
		lines[c.ID] = entry.Line
		checks = append(checks, c)
	})
	if n := len(checks); node.Kind == yaml.SequenceNode && (n == 0 || n > maxChecks) {
		r.wrong(node, "a table has 1 to %d checks; this one has %d", maxChecks, n)
	}
	return checks
}

func (r *reader) check(i int, node *yaml.Node) Check {
	c := Check{ID: fieldValue(node, "id"), Severity: Medium}
	r.at = "check " + c.ID
	if !checkID.MatchString(c.ID) {
		r.at = fmt.Sprintf("check %d", i+1)
	}
	defer func() { r.at = "" }()
	r.fields(node, "a check", []string{"id", "weight", "violation"}, map[string]func(*yaml.Node){
		"id": func(node *yaml.Node) {
			if id, ok := r.text(node, "id"); ok && !checkID.MatchString(id) {
				r.wrong(node, "id %q must be 1 to 63 lower-case letters, digits and underscores, with a letter first", id)
			}
		},
		"description": r.textInto(&c.Description, "description"),
		"remediation": r.textInto(&c.Remediation, "remediation"),
		"severity": func(node *yaml.Node) {
			switch c.Severity = Severity(node.Value); c.Severity {
			case Critical, High, Medium, Low:
			default:
				r.wrong(node, "severity must be critical, high, medium or low, not %s", written(node))
			}
		},
		"weight": func(node *yaml.Node) {
			weight, err := parseScalar(node)
			if err != nil || weight.kind != wholeScalar || weight.whole < 1 || weight.whole > maxWeight {
				r.wrong(node, "weight must be a whole number from 1 to %d, not %s", maxWeight, written(node))
				return
			}
			c.Weight = int(weight.whole)
		},
		"forEach":   func(node *yaml.Node) { c.ForEach = r.forEach(node) },
		"violation": func(node *yaml.Node) { count := 0; c.violation = r.predicate(node, 1, &count) },
	})
	return c
}

// fieldValue is the text of a mapping's field, so that the mistakes of a check can name it before it is read.
func fieldValue(node *yaml.Node, name string) string {
	if node.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == name {
				return node.Content[i+1].Value
			}
		}
	}
	return ""
}

func (r *reader) forEach(node *yaml.Node) []string {
	entries := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		if entries = node.Content; len(entries) == 0 {
			r.wrong(node, "forEach is an empty list; leave it out to look at the pod itself")
		}
	}
	var paths []string
	for _, entry := range entries {
		source, ok := r.text(entry, "forEach")
		if !ok {
			continue
		}
		if _, err := parseSubjectPath(source); err != nil {
			r.wrong(entry, "forEach: path %q %s", source, err)
		} else if slices.Contains(paths, source) {
			r.wrong(entry, "forEach: path %q stands here twice", source)
		}
		paths = append(paths, source)
	}
	return paths
}

func (r *reader) predicate(node *yaml.Node, depth int, count *int) predicate {
	if *count++; *count == maxPredicates+1 {
		r.wrong(node, "a violation has at most %d predicates", maxPredicates)
	}
	if depth > maxPredicateDepth {
		r.wrong(node, "predicates are nested deeper than %d", maxPredicateDepth)
		return nil
	}
	found := make(map[string]*yaml.Node)
	known := make(map[string]func(*yaml.Node))
	for _, name := range []string{"all", "any", "not", "path", "operator", "value"} {
		known[name] = func(node *yaml.Node) { found[name] = node }
	}
	r.fields(node, "a predicate", nil, known)
	all, either, not := found["all"], found["any"], found["not"]
	if len(found) > 1 && (all != nil || either != nil || not != nil) {
		r.wrong(node, "a predicate is all, any, not, or a path with an operator: only one of them")
	}
	several := func(node *yaml.Node, word string) (of []predicate) {
		r.each(node, word, func(_ int, entry *yaml.Node) { of = append(of, r.predicate(entry, depth+1, count)) })
		if node.Kind == yaml.SequenceNode && len(of) == 0 {
			r.wrong(node, "%s needs at least one predicate", word)
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
		return notOf{r.predicate(not, depth+1, count)}
	}
	return r.leaf(node, found["path"], found["operator"], found["value"])
}

// leaf reads a path with an operator; what the predicate lacks is nil.
func (r *reader) leaf(node, where, word, operand *yaml.Node) predicate {
	l := &leaf{slot: -1}
	if where == nil {
		r.wrong(node, "a predicate lacks the field %q", "path")
	} else if source, ok := r.text(where, "path"); ok {
		var err error
		if l.path, err = parsePath(source); err != nil {
			r.wrong(where, "path %q %s", source, err)
		}
	}
	if word == nil {
		r.wrong(node, "a predicate lacks the field %q", "operator")
		return l
	}
	var ok bool
	if l.operator, ok = r.text(word, "operator"); !ok {
		return l
	}
	op, known := findOperator(l.operator)
	if !known {
		names := make([]string, len(operators))
		for i := range operators {
			names[i] = operators[i].Name
		}
		r.wrong(word, "unknown operator %q; there are %s", l.operator, strings.Join(names, ", "))
		return l
	}
	l.absent = op.absent
	switch {
	case op.compile == nil && operand != nil:
		r.wrong(operand, "operator %s takes no value", l.operator)
	case op.compile != nil && operand == nil:
		r.wrong(word, "operator %s needs a value", l.operator)
	case op.compile != nil:
		var err error
		if l.test, err = op.compile(operand); err != nil {
			r.wrong(operand, "value of %s %s", l.operator, err)
		}
		l.operand = inline(operand)
	}
	return l
}

// inline writes a value in one line, as it may stand in a table.
func inline(node *yaml.Node) string {
	if node.Kind != yaml.SequenceNode {
		return node.Value
	}
	words := make([]string, len(node.Content))
	for i, entry := range node.Content {
		words[i] = entry.Value
	}
	return "[" + strings.Join(words, ", ") + "]"
}
