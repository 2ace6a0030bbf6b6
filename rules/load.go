package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// MaxBytes is how large the text of a table, of waivers or of policy tests may be.
const MaxBytes = 1 << 20

// The bounds of a table.
const (
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
	t.hash = hashOf(text)
	t.arrange()
	return t, nil
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (r *reader) table(root *yaml.Node) *Table {
	t := &Table{exclude: defaultExclude(), grades: defaultGrades()}
	var waivers *yaml.Node
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
				"include": func(node *yaml.Node) { t.include = r.includes(node) },
				"exclude": func(node *yaml.Node) { t.exclude = r.globs(node, "namespaces.exclude") },
			})
		},
		"pods": func(node *yaml.Node) {
			r.fields(node, "pods", nil, map[string]func(*yaml.Node){
				"skip": func(node *yaml.Node) { t.skips = r.skips(node) },
			})
		},
		"checks": func(node *yaml.Node) { t.checks = r.checks(node) },
		"grades": func(node *yaml.Node) { t.grades = r.grades(node) },
		// The waivers name checks, and are read when all of those are known.
		"waivers": func(node *yaml.Node) { waivers = node },
	})
	if waivers != nil {
		t.waivers = r.waivers(waivers, t)
	}
	return t
}

// includes reads the globs of namespaces.include, of which there must be one, or no pod would ever be looked at.
func (r *reader) includes(node *yaml.Node) []string {
	globs := r.globs(node, "namespaces.include")
	if node.Kind == yaml.SequenceNode && len(globs) == 0 {
		r.wrong(node, "namespaces.include is an empty list; leave it out to look at all namespaces")
	}
	return globs
}

func (r *reader) skips(node *yaml.Node) []skip {
	var skips []skip
	r.each(node, "pods.skip", func(i int, entry *yaml.Node) {
		r.at = fmt.Sprintf("skip %d", i+1)
		defer func() { r.at = "" }()
		var s skip
		r.fields(entry, "a skip", []string{"reason", "when"}, map[string]func(*yaml.Node){
			"reason": func(node *yaml.Node) {
				var ok bool
				if s.reason, ok = r.text(node, "reason"); ok && !checkID.MatchString(s.reason) {
					r.wrong(node, "reason %q must be 1 to 63 lower-case letters, digits and underscores, with a letter first", s.reason)
				}
			},
			"when": func(node *yaml.Node) { s.when = r.condition(node) },
		})
		skips = append(skips, s)
	})
	return skips
}

// condition reads a whole predicate.
func (r *reader) condition(node *yaml.Node) predicate {
	count := 0
	return r.predicate(node, 1, &count)
}

func (r *reader) grades(node *yaml.Node) []Grade {
	var grades []Grade
	lines := make(map[string]int)
	r.each(node, "grades", func(i int, entry *yaml.Node) {
		g := Grade{Min: math.NaN()}
		r.fields(entry, "a grade", []string{"name", "min"}, map[string]func(*yaml.Node){
			"name": func(node *yaml.Node) {
				var ok bool
				if g.Name, ok = r.text(node, "a grade's name"); !ok {
					return
				}
				if strings.TrimSpace(g.Name) == "" {
					r.wrong(node, "a grade's name is empty")
				} else if line, twice := lines[g.Name]; twice {
					r.wrong(node, "the grade %q stands in line %d already", g.Name, line)
				}
				lines[g.Name] = node.Line
			},
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
	if n := len(node.Content); node.Kind == yaml.SequenceNode && (n == 0 || n > maxChecks) {
		r.wrong(node, "a table has 1 to %d checks; this one has %d", maxChecks, n)
		return nil
	}
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
		"when":      func(node *yaml.Node) { c.when = r.condition(node) },
		"violation": func(node *yaml.Node) { c.violation = r.condition(node) },
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
