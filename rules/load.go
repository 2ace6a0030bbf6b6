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

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/internal/layers"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// MaxBytes is the maximum size of the text of a table, of waivers or of policy tests.
const MaxBytes = strictyaml.MaxBytes

// The bounds of a table.
const (
	maxChecks         = layers.MaxChecks
	maxWeight         = 1000
	maxPredicates     = 200 // of one check
	maxPredicateDepth = 16
	maxPaths          = 10 // of one predicate
)

var (
	tableName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	checkID   = layers.CheckID
)

// Load reads and compiles a policy table from YAML, which must not extend another one. The file's name is used in messages only. The error is LoadErrors: all errors of
// the file, each with its line.
func Load(file string, text []byte) (*Table, error) { return LoadAll(Source{File: file, Text: text}) }

// LoadErrors are all errors of one file or of several, each with its file and line.
type LoadErrors = strictyaml.Errors

// A loader builds a Table from YAML nodes.
type loader struct {
	*strictyaml.Reader
	lists    lists
	checkIDs []string // of the table, for hints
	about    string   // the table that the waivers of a file apply to, for messages
}

func newLoader(file string) *loader {
	r := &loader{Reader: strictyaml.NewReader(file)}
	r.FieldHint = fieldHint
	return r
}

// KindOf returns the kind that a text declares: Kind, WaiversKind, the kind of policy tests, or another one. It is empty when the text
// cannot be read or declares none.
func KindOf(text []byte) string {
	return strictyaml.FieldValue(strictyaml.NewReader("").Parse(text), "kind")
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// standsAlone adds errors for the fields that only make sense in a table that extends others. It returns false for one that does.
func (r *loader) standsAlone(root *yaml.Node) bool {
	if node := strictyaml.Field(root, "extends"); node != nil {
		r.Errorf(node, "extends: the tables that it names are not known here; load the table from a file")
		return false
	}
	if node := strictyaml.Field(root, "disable"); node != nil {
		r.Errorf(node, "disable: the table extends no other table, so there is nothing to disable")
	}
	return true
}

// table reads a table that extends no other, or the result of merging several.
func (r *loader) table(t *Table, root *yaml.Node) {
	t.exclude, t.grades = defaultExclude(), defaultGrades()
	var waivers, annotations, excludeAlso *yaml.Node
	// Predicates use lists, so they are read before them.
	r.lists = r.namedLists(strictyaml.Field(root, "lists"))
	r.Fields(root, "the table", []string{"apiVersion", "kind", "metadata", "checks"}, map[string]func(*yaml.Node){
		"apiVersion": r.Constant("apiVersion", APIVersion),
		"kind":       r.Constant("kind", Kind),
		"metadata": func(node *yaml.Node) {
			r.Fields(node, "metadata", []string{"name"}, map[string]func(*yaml.Node){
				"name": func(node *yaml.Node) {
					var ok bool
					if t.name, ok = r.Text(node, "metadata.name"); ok && !tableName.MatchString(t.name) {
						r.Errorf(node, "metadata.name %q must be 1 to 63 lower-case letters, digits and dashes, not starting or ending with a dash", t.name)
					}
				},
			})
		},
		"namespaces": func(node *yaml.Node) {
			r.Fields(node, "namespaces", nil, map[string]func(*yaml.Node){
				"include": func(node *yaml.Node) { t.include = r.includes(node) },
				"exclude": func(node *yaml.Node) { t.exclude = r.globs(node, "namespaces.exclude") },
				// It adds to what is excluded otherwise, so it is read after that.
				"excludeAlso": func(node *yaml.Node) { excludeAlso = node },
			})
			if excludeAlso != nil {
				t.exclude = union(t.exclude, r.globs(excludeAlso, "namespaces.excludeAlso"))
			}
		},
		"pods": func(node *yaml.Node) {
			r.Fields(node, "pods", nil, map[string]func(*yaml.Node){
				"skip": func(node *yaml.Node) { t.skips = r.skips(node) },
			})
		},
		"extends": func(*yaml.Node) {}, // read by Extends
		"disable": func(*yaml.Node) {}, // read by layers.Merge
		"lists":   func(*yaml.Node) {}, // read above
		"checks":  func(node *yaml.Node) { t.checks = r.checks(node) },
		"grades":  func(node *yaml.Node) { t.grades = r.grades(node) },
		// Waivers name checks, so they are read after them.
		"waivers":           func(node *yaml.Node) { waivers = node },
		"annotationWaivers": func(node *yaml.Node) { annotations = node },
	})
	if waivers != nil {
		t.waivers = r.waivers(waivers, t)
	}
	t.lists = r.lists
	if annotations != nil {
		t.annotations = r.annotationWaivers(annotations, t)
	}
}

// union adds the texts of a list that another one does not have.
func union(list, more []string) []string {
	list = slices.Clone(list)
	for _, text := range more {
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}

// includes reads the globs of namespaces.include. An empty list would exclude every pod.
func (r *loader) includes(node *yaml.Node) []string {
	globs := r.globs(node, "namespaces.include")
	if node.Kind == yaml.SequenceNode && len(globs) == 0 {
		r.Errorf(node, "namespaces.include must not be empty; omit it to include all namespaces")
	}
	return globs
}

func (r *loader) skips(node *yaml.Node) []skip {
	var skips []skip
	r.Each(node, "pods.skip", func(i int, entry *yaml.Node) {
		r.At = fmt.Sprintf("skip %d", i+1)
		defer func() { r.At = "" }()
		var s skip
		r.Fields(entry, "a skip", []string{"reason", "when"}, map[string]func(*yaml.Node){
			"reason": func(node *yaml.Node) {
				var ok bool
				if s.reason, ok = r.Text(node, "reason"); ok && !checkID.MatchString(s.reason) {
					r.Errorf(node, "reason %q must be 1 to 63 lower-case letters, digits and underscores, starting with a letter", s.reason)
				}
			},
			"when": func(node *yaml.Node) { s.when = r.condition(node, false) },
		})
		skips = append(skips, s)
	})
	return skips
}

// condition reads a predicate with all its parts, about the pod or an element of a list.
func (r *loader) condition(node *yaml.Node, element bool) predicate {
	return r.predicate(node, 1, &site{element: element})
}

func (r *loader) grades(node *yaml.Node) []Grade {
	var grades []Grade
	lines := make(map[string]int)
	var severity *yaml.Node // of the last grade
	r.Each(node, "grades", func(i int, entry *yaml.Node) {
		g := Grade{Min: math.NaN()}
		severity = nil
		r.Fields(entry, "a grade", []string{"name", "min"}, map[string]func(*yaml.Node){
			"name": func(node *yaml.Node) {
				var ok bool
				if g.Name, ok = r.Text(node, "a grade's name"); !ok {
					return
				}
				if strings.TrimSpace(g.Name) == "" {
					r.Errorf(node, "a grade's name must not be empty")
				} else if line, twice := lines[g.Name]; twice {
					r.Errorf(node, "duplicate grade %q; the first one is in line %d", g.Name, line)
				}
				lines[g.Name] = node.Line
			},
			"min": func(node *yaml.Node) {
				bound, err := strictyaml.ParseScalar(node)
				if err != nil || !bound.IsNumber() || bound.Float < 0 || bound.Float > 100 {
					r.Errorf(node, "a grade's min must be a number from 0 to 100, got %s", strictyaml.Describe(node))
					return
				}
				g.Min = bound.Float
			},
			"maxSeverity": func(node *yaml.Node) { g.MaxSeverity = r.severity(node, "a grade's maxSeverity"); severity = node },
		})
		if i > 0 && g.Min >= grades[i-1].Min {
			r.Errorf(entry, "grade %q must have a lower min than the grade before it", g.Name)
		}
		grades = append(grades, g)
	})
	if node.Kind == yaml.SequenceNode {
		if n := len(grades); n == 0 || grades[n-1].Min > 0 {
			r.Errorf(node, "the last grade must have min 0, or low compliance has no grade")
		}
		if severity != nil {
			r.Errorf(severity, "the last grade must not have a maxSeverity, or a severe violation has no grade")
		}
	}
	return grades
}

func (r *loader) checks(node *yaml.Node) []Check {
	if n := len(node.Content); node.Kind == yaml.SequenceNode && (n == 0 || n > maxChecks) {
		r.Errorf(node, "checks must have 1 to %d entries, got %d", maxChecks, n)
		return nil
	}
	var checks []Check
	lines := make(map[string]int)
	r.Each(node, "checks", func(i int, entry *yaml.Node) {
		c := r.check(i, entry)
		if line, twice := lines[c.ID]; twice && checkID.MatchString(c.ID) {
			r.ErrorAt(entry, "check "+c.ID, "duplicate id; the first one is in line %d", line)
		}
		lines[c.ID] = entry.Line
		checks = append(checks, c)
	})
	return checks
}

func (r *loader) check(i int, node *yaml.Node) Check {
	c := Check{ID: strictyaml.FieldValue(node, "id"), Severity: Medium}
	r.At = "check " + c.ID
	if !checkID.MatchString(c.ID) {
		r.At = fmt.Sprintf("check %d", i+1)
	}
	defer func() { r.At = "" }()
	forEach := strictyaml.Field(node, "forEach")
	element := forEach != nil && !r.Removed(forEach)
	r.Fields(node, "a check", []string{"id", "weight", "violation"}, map[string]func(*yaml.Node){
		"id": func(node *yaml.Node) {
			if id, ok := r.Text(node, "id"); ok && !checkID.MatchString(id) {
				r.Errorf(node, "id %q must be 1 to 63 lower-case letters, digits and underscores, starting with a letter", id)
			}
		},
		"description": r.TextInto(&c.Description, "description"),
		"remediation": r.TextInto(&c.Remediation, "remediation"),
		"message":     func(node *yaml.Node) { c.message = r.message(node) },
		"category":    func(node *yaml.Node) { c.Category = r.category(node) },
		"severity":    func(node *yaml.Node) { c.Severity = r.severity(node, "severity") },
		"showValue":   func(node *yaml.Node) { c.ShowValue = r.showValue(node) },
		"enforce":     func(node *yaml.Node) { c.Enforce = r.enforce(node) },
		"weight": func(node *yaml.Node) {
			weight, err := strictyaml.ParseScalar(node)
			if err != nil || weight.Kind != strictyaml.IntScalar || weight.Int < 1 || weight.Int > maxWeight {
				r.Errorf(node, "weight must be an integer from 1 to %d, got %s", maxWeight, strictyaml.Describe(node))
				return
			}
			c.Weight = int(weight.Int)
		},
		"forEach":   func(node *yaml.Node) { c.ForEach = r.forEach(node) },
		"when":      func(node *yaml.Node) { c.when = r.condition(node, element) },
		"violation": func(node *yaml.Node) { c.violation = r.condition(node, element) },
	})
	return c
}

func (r *loader) forEach(node *yaml.Node) []string {
	entries := strictyaml.Entries(node)
	if len(entries) == 0 {
		r.Errorf(node, "forEach must not be empty; omit it to check the pod itself")
	}
	var paths []string
	for _, entry := range entries {
		source, ok := r.Text(entry, "forEach")
		if !ok {
			continue
		}
		if _, err := fieldpath.ParseSubjects(source); err != nil {
			r.Errorf(entry, "forEach: path %q %s%s", source, err, fieldpath.Hint(source, true))
		} else if slices.Contains(paths, source) {
			r.Errorf(entry, "forEach: duplicate path %q", source)
		}
		paths = append(paths, source)
	}
	return paths
}

func (r *loader) globs(node *yaml.Node, what string) []string {
	globs := []string{}
	r.Each(node, what, func(_ int, entry *yaml.Node) { globs = append(globs, r.glob(entry, what)) })
	return globs
}

// glob reads one shell glob.
func (r *loader) glob(node *yaml.Node, what string) string {
	text, _ := r.Text(node, what)
	glob, err := ParseGlob(text)
	if err != nil {
		r.Errorf(node, "%s: %q is not a valid shell glob", what, text)
	}
	return glob
}
