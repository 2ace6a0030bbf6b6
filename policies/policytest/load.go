package policytest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// Kind is the kind of a file of test cases for a policy table.
const Kind = "PolicyTest"

const maxCases = 10_000

// NamespaceReason is the reason for which a pod is skipped whose namespace the table excludes.
const NamespaceReason = "namespace"

// A Test says which violations a policy should find in pods.
type Test struct {
	// Policy is the name of a built-in table or a file, and Waivers a file or empty. Files are relative to the test's own.
	Policy, Waivers string
	// At is the time at which waivers may have expired; zero for now.
	At time.Time
	// Checks are the ids of the checks that are compared; none: all.
	Checks []string
	Cases  []Case

	file                    string
	references              []reference
	policyLine, waiversLine int
}

// A Case is a pod and the violations that are expected in it.
type Case struct {
	// Name is unique in the file.
	Name string
	// Pod is a file, relative to the test's.
	Pod string
	// Line is the line of the case in its file.
	Line int
	// Skipped is the reason for which the table skips the pod, or NamespaceReason; empty for a pod that is evaluated.
	Skipped string
	// Violations are all violations of the pod, including unknown and waived ones.
	Violations []ExpectedViolation

	waived bool // the waived violations are compared too
}

// An ExpectedViolation is one violation. Empty fields match everything.
type ExpectedViolation struct {
	Check string
	// Container is the name of the container, or of the subject.
	Container     string
	Subject, Path string
	// Unknown: the check could not be evaluated.
	Unknown bool
	// Waiver is the id of the waiver that accepts the violation; empty for one that counts.
	Waiver string
}

// A reference names something in the table: a check, a reason to skip pods, or a waiver.
type reference struct {
	name, at string
	line     int
	isReason bool
	isWaiver bool
}

type loader struct{ *strictyaml.Reader }

// Load reads a file of test cases. The error is strictyaml.Errors: all errors of the file, each with its line.
func Load(file string, text []byte) (*Test, error) {
	r := &loader{strictyaml.NewReader(file)}
	root := r.Parse(text)
	if root == nil {
		return nil, r.Err()
	}
	p := &Test{file: file}
	r.Fields(root, "a policy test", []string{"apiVersion", "kind", "policy", "cases"}, map[string]func(*yaml.Node){
		"apiVersion": r.Constant("apiVersion", rules.APIVersion),
		"kind":       r.Constant("kind", Kind),
		"policy":     func(node *yaml.Node) { p.Policy, p.policyLine = r.NonEmptyText(node, "policy"), node.Line },
		"waivers":    func(node *yaml.Node) { p.Waivers, p.waiversLine = r.NonEmptyText(node, "waivers"), node.Line },
		"at":         func(node *yaml.Node) { p.At = r.Time(node, "at") },
		"checks": func(node *yaml.Node) {
			r.Each(node, "checks", func(_ int, entry *yaml.Node) { p.Checks = append(p.Checks, r.checkName(entry, p)) })
			if node.Kind == yaml.SequenceNode && len(p.Checks) == 0 {
				r.Errorf(node, "checks must not be empty; omit it to compare all checks")
			}
		},
		"cases": func(node *yaml.Node) { r.cases(node, p) },
	})
	if err := r.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

// checkName reads the id of a check. Against compares it with the table later.
func (r *loader) checkName(node *yaml.Node, p *Test) string {
	id := r.NonEmptyText(node, "check")
	p.references = append(p.references, reference{name: id, at: r.At, line: node.Line})
	return id
}

func (r *loader) cases(node *yaml.Node, p *Test) {
	lines := make(map[string]int)
	r.Each(node, "cases", func(i int, entry *yaml.Node) {
		c := r.policyCase(i, entry, p)
		if line, twice := lines[c.Name]; twice && c.Name != "" {
			r.Errorf(entry, "duplicate case %q; the first one is in line %d", c.Name, line)
		}
		lines[c.Name] = entry.Line
		p.Cases = append(p.Cases, c)
	})
	if n := len(p.Cases); node.Kind == yaml.SequenceNode && (n == 0 || n > maxCases) {
		r.Errorf(node, "cases must have 1 to %d entries, got %d", maxCases, n)
	}
}

func (r *loader) policyCase(i int, node *yaml.Node, p *Test) Case {
	c := Case{Line: node.Line}
	r.At = fmt.Sprintf("case %d", i+1)
	defer func() { r.At = "" }()
	if name := strictyaml.FieldValue(node, "name"); name != "" {
		r.At = fmt.Sprintf("case %q", name)
	}
	var violations *yaml.Node
	skipped := false
	r.Fields(node, "a case", []string{"name", "pod"}, map[string]func(*yaml.Node){
		"name": func(node *yaml.Node) { c.Name = r.NonEmptyText(node, "name") },
		"pod":  func(node *yaml.Node) { c.Pod = r.NonEmptyText(node, "pod") },
		"skipped": func(node *yaml.Node) {
			c.Skipped, skipped = r.NonEmptyText(node, "skipped"), true
			p.references = append(p.references, reference{name: c.Skipped, at: r.At, line: node.Line, isReason: true})
		},
		"violations": func(node *yaml.Node) {
			violations = node
			r.Each(node, "violations", func(_ int, entry *yaml.Node) { c.Violations = append(c.Violations, r.expectedViolation(entry, p)) })
		},
		"unknown": func(node *yaml.Node) {
			r.Each(node, "unknown", func(_ int, entry *yaml.Node) {
				v := r.expectedViolation(entry, p)
				v.Unknown = true
				c.Violations = append(c.Violations, v)
			})
		},
		"waived": func(node *yaml.Node) {
			c.waived = true
			r.Each(node, "waived", func(_ int, entry *yaml.Node) { c.Violations = append(c.Violations, r.waivedViolation(entry, p)) })
		},
	})
	switch {
	case node.Kind != yaml.MappingNode:
	case violations == nil && !skipped:
		r.Errorf(node, "missing field %q in a case; use [] to expect none", "violations")
	case len(c.Violations) > 0 && c.Skipped != "":
		r.Errorf(cmp.Or(violations, node), "a skipped pod has no violations")
	}
	return c
}

func (r *loader) expectedViolation(node *yaml.Node, p *Test) ExpectedViolation {
	var v ExpectedViolation
	r.Fields(node, "an expected violation", []string{"check"}, r.violationFields(&v, p))
	return v
}

// waivedViolation reads an expected violation that a waiver accepts.
func (r *loader) waivedViolation(node *yaml.Node, p *Test) ExpectedViolation {
	var v ExpectedViolation
	fields := r.violationFields(&v, p)
	fields["waiver"] = func(node *yaml.Node) {
		v.Waiver = r.NonEmptyText(node, "waiver")
		p.references = append(p.references, reference{name: v.Waiver, at: r.At, line: node.Line, isWaiver: true})
	}
	r.Fields(node, "a waived violation", []string{"check", "waiver"}, fields)
	return v
}

func (r *loader) violationFields(v *ExpectedViolation, p *Test) map[string]func(*yaml.Node) {
	return map[string]func(*yaml.Node){
		"check": func(node *yaml.Node) {
			if v.Check = r.checkName(node, p); len(p.Checks) > 0 && !slices.Contains(p.Checks, v.Check) {
				r.Errorf(node, "check %q is not in checks, the list of checks to compare", v.Check)
			}
		},
		"container": func(node *yaml.Node) { v.Container = r.NonEmptyText(node, "container") },
		"subject":   func(node *yaml.Node) { v.Subject = r.NonEmptyText(node, "subject") },
		"path":      func(node *yaml.Node) { v.Path = r.NonEmptyText(node, "path") },
	}
}

// Against returns strictyaml.Errors when the table does not have the checks and the reasons that the test names.
func (p *Test) Against(t *rules.Table) error {
	r := strictyaml.NewReader(p.file)
	ids := make([]string, len(t.Checks()))
	for i := range t.Checks() {
		ids[i] = t.Checks()[i].ID
	}
	reasons := append(t.SkipReasons(), NamespaceReason)
	p.resolve(t)
	var waivers []string
	for _, w := range t.Waivers() {
		waivers = append(waivers, w.ID)
	}
	if t.AnnotationWaivers() != nil {
		waivers = append(waivers, rules.WaiveAnnotation)
	}
	for _, n := range p.references {
		at := &yaml.Node{Line: n.line}
		switch {
		case n.isReason && !slices.Contains(reasons, n.name):
			r.ErrorAt(at, n.at, "table %s has no skip with the reason %q%s", t.Name(), n.name, r.DidYouMean(n.name, reasons))
		case n.isWaiver && !slices.Contains(waivers, n.name):
			r.ErrorAt(at, n.at, "table %s has no waiver %q%s", t.Name(), n.name, r.DidYouMean(n.name, waivers))
		case !n.isReason && !n.isWaiver && !slices.Contains(ids, n.name):
			r.ErrorAt(at, n.at, "table %s has no check %q%s", t.Name(), n.name, r.DidYouMean(n.name, ids))
		}
	}
	return r.Err()
}

// resolve replaces the ids of checks that a built-in table has renamed.
func (p *Test) resolve(t *rules.Table) {
	for i := range p.references {
		if n := &p.references[i]; !n.isReason && !n.isWaiver {
			n.name = t.Resolve(n.name)
		}
	}
	for i := range p.Checks {
		p.Checks[i] = t.Resolve(p.Checks[i])
	}
	for _, c := range p.Cases {
		for i := range c.Violations {
			c.Violations[i].Check = t.Resolve(c.Violations[i].Check)
		}
	}
}

// ErrNoSubject is the error of a case in whose pod no compared check has a subject.
var ErrNoSubject = errors.New("no check has a subject in the pod, such as a container, so the case would pass with any checks")

// Looks returns ErrNoSubject when a case cannot fail because no compared check has a subject in the pod. A when may exclude all subjects.
func (p *Test) Looks(t *rules.Table, v rules.Verdict) error {
	if v.SkipReason != "" {
		return nil
	}
	for i := range t.Checks() {
		compared := len(p.Checks) == 0 || slices.Contains(p.Checks, t.Checks()[i].ID)
		if compared && (v.Subjects[i] > 0 || t.Checks()[i].When() != "") {
			return nil
		}
	}
	return ErrNoSubject
}

// A Difference is an unexpected or a missing violation.
type Difference struct {
	// Unexpected: the pod has the violation; otherwise it is missing.
	Unexpected bool
	// Skipped is the reason when the difference is about skipping the pod instead of a violation.
	Skipped string
	ExpectedViolation
}

// Compare lists the differences between the verdict of a case's pod and what the case expects. Violations that a waiver accepts at that
// time do not count. Missing violations come first, in the order of the case; unexpected ones follow in the order of the verdict.
func (p *Test) Compare(c *Case, t *rules.Table, v rules.Verdict, now time.Time) []Difference {
	if v.SkipReason != c.Skipped {
		var differences []Difference
		if c.Skipped != "" {
			differences = append(differences, Difference{Skipped: c.Skipped})
		}
		if v.SkipReason != "" {
			return append(differences, Difference{Unexpected: true, Skipped: v.SkipReason})
		}
		return append(differences, p.compareViolations(c, t, v, now)...)
	}
	return p.compareViolations(c, t, v, now)
}

func (p *Test) compareViolations(c *Case, t *rules.Table, v rules.Verdict, now time.Time) []Difference {
	var found []ExpectedViolation
	for _, violation := range v.Violations {
		v := ExpectedViolation{t.Checks()[violation.Check].ID, violation.Container, violation.Subject, violation.Path, violation.Unknown, ""}
		if w := violation.Waiver; w != nil && w.Active(now) {
			v.Waiver, v.Unknown = w.ID, false // what is accepted is accepted whether it is known or not
		}
		if v.Waiver != "" && !c.waived || len(p.Checks) > 0 && !slices.Contains(p.Checks, v.Check) {
			continue
		}
		found = append(found, v)
	}
	met := make([]bool, len(c.Violations))
	taken := make([]bool, len(found))
	// More specific expectations match first: a path identifies one violation, a container any of its violations.
	for _, says := range []func(ExpectedViolation) bool{
		func(e ExpectedViolation) bool { return e.Path != "" },
		func(e ExpectedViolation) bool { return e.Path == "" && e.Subject != "" },
		func(e ExpectedViolation) bool { return e.Path == "" && e.Subject == "" && e.Container != "" },
		func(e ExpectedViolation) bool { return e.Path == "" && e.Subject == "" && e.Container == "" },
	} {
		for i, expected := range c.Violations {
			if !says(expected) {
				continue
			}
			for j := range found {
				if !taken[j] && expected.isMetBy(found[j]) {
					met[i], taken[j] = true, true
					break
				}
			}
		}
	}
	var differences []Difference
	for i, expected := range c.Violations {
		if !met[i] {
			differences = append(differences, Difference{ExpectedViolation: expected})
		}
	}
	for j, violation := range found {
		if !taken[j] {
			differences = append(differences, Difference{Unexpected: true, ExpectedViolation: violation})
		}
	}
	return differences
}

func (e ExpectedViolation) isMetBy(found ExpectedViolation) bool {
	return e.Check == found.Check && e.Unknown == found.Unknown && e.Waiver == found.Waiver && (e.Path == "" || e.Path == found.Path) &&
		(e.Container == "" || e.Container == found.Container || e.Container == found.Subject) && (e.Subject == "" || e.Subject == found.Subject)
}

// String describes the difference.
func (d Difference) String() string {
	words := []string{"missing"}
	if d.Unexpected {
		words[0] = "unexpected"
	}
	if d.Skipped != "" {
		return words[0] + ": skipped for the reason " + d.Skipped
	}
	words[0] += ": " + d.Check
	if d.Container != "" {
		words = append(words, fmt.Sprintf("container %q", d.Container))
	}
	if d.Subject != "" {
		words = append(words, fmt.Sprintf("subject %q", d.Subject))
	}
	if d.Path != "" {
		words = append(words, d.Path)
	}
	if d.Unknown {
		words = append(words, "unknown")
	}
	if d.Waiver != "" {
		words = append(words, "waived by "+d.Waiver)
	}
	return strings.Join(words, ", ")
}
