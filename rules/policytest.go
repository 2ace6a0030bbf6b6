package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// PolicyTestKind is the kind of a file of cases for a policy table.
const PolicyTestKind = "PolicyTest"

const maxCases = 10_000

// NamespaceReason is the reason, for a policy test, by which a pod is skipped whose namespace the table leaves out.
const NamespaceReason = "namespace"

// A PolicyTest says what a policy finds in pods.
type PolicyTest struct {
	// Policy is the name of a table that ships, or a file, and Waivers a file or empty; both relative to the test's own.
	Policy, Waivers string
	// At is the moment for which waivers are judged; zero for the present one.
	At time.Time
	// Checks are the ids of the checks that are compared; none: all.
	Checks []string
	Cases  []PolicyCase

	file  string
	named []namedWord
}

// A PolicyCase is a pod and the violations that are expected in it.
type PolicyCase struct {
	// Name is unlike that of all other cases of the file.
	Name string
	// Pod is a file, relative to the test's.
	Pod string
	// Line is where the case stands in its file.
	Line int
	// Skipped is the reason for which the table leaves out the pod, or NamespaceReason; empty for a pod that counts.
	Skipped string
	// Violations are all that the pod has, unknown ones among them.
	Violations []ExpectedViolation
}

// An ExpectedViolation is one violation. What is empty is not compared.
type ExpectedViolation struct {
	Check string
	// Container is the name of the container, or of the subject.
	Container     string
	Subject, Path string
	// Unknown says that the check could not be answered.
	Unknown bool
}

// A namedWord is what a test takes from its table: the id of a check, or a reason to skip.
type namedWord struct {
	word, at string
	line     int
	isReason bool
}

// LoadPolicyTest reads a file of cases. Where anything is wrong the error is Mistakes: all of them.
func LoadPolicyTest(file string, text []byte) (*PolicyTest, error) {
	r := &reader{reporter: reporter{file: file}}
	root := r.parse(text)
	if root == nil {
		return nil, r.err()
	}
	p := &PolicyTest{file: file}
	r.fields(root, "a policy test", []string{"apiVersion", "kind", "policy", "cases"}, map[string]func(*yaml.Node){
		"apiVersion": r.literally("apiVersion", APIVersion),
		"kind":       r.literally("kind", PolicyTestKind),
		"policy":     func(node *yaml.Node) { p.Policy = r.notEmpty(node, "policy") },
		"waivers":    func(node *yaml.Node) { p.Waivers = r.notEmpty(node, "waivers") },
		"at":         func(node *yaml.Node) { p.At = r.date(node, "at") },
		"checks": func(node *yaml.Node) {
			r.each(node, "checks", func(_ int, entry *yaml.Node) { p.Checks = append(p.Checks, r.checkName(entry, p)) })
			if node.Kind == yaml.SequenceNode && len(p.Checks) == 0 {
				r.wrong(node, "checks is an empty list; leave it out to compare all checks")
			}
		},
		"cases": func(node *yaml.Node) { r.cases(node, p) },
	})
	if err := r.err(); err != nil {
		return nil, err
	}
	return p, nil
}

// notEmpty reads a string of at least one letter.
func (r *reader) notEmpty(node *yaml.Node, what string) string {
	text, ok := r.text(node, what)
	if ok && text == "" {
		r.wrong(node, "%s is empty", what)
	}
	return text
}

// checkName reads the id of a check of a table that is not known yet.
func (r *reader) checkName(node *yaml.Node, p *PolicyTest) string {
	id := r.notEmpty(node, "check")
	p.named = append(p.named, namedWord{word: id, at: r.at, line: node.Line})
	return id
}

func (r *reader) cases(node *yaml.Node, p *PolicyTest) {
	lines := make(map[string]int)
	r.each(node, "cases", func(i int, entry *yaml.Node) {
		c := r.policyCase(i, entry, p)
		if line, twice := lines[c.Name]; twice && c.Name != "" {
			r.wrong(entry, "case %q: the case in line %d has this name", c.Name, line)
		}
		lines[c.Name] = entry.Line
		p.Cases = append(p.Cases, c)
	})
	if n := len(p.Cases); node.Kind == yaml.SequenceNode && (n == 0 || n > maxCases) {
		r.wrong(node, "a policy test has 1 to %d cases; this one has %d", maxCases, n)
	}
}

func (r *reader) policyCase(i int, node *yaml.Node, p *PolicyTest) PolicyCase {
	c := PolicyCase{Line: node.Line}
	r.at = fmt.Sprintf("case %d", i+1)
	defer func() { r.at = "" }()
	if name := fieldValue(node, "name"); name != "" {
		r.at = fmt.Sprintf("case %q", name)
	}
	var violations *yaml.Node
	skipped := false
	r.fields(node, "a case", []string{"name", "pod"}, map[string]func(*yaml.Node){
		"name": func(node *yaml.Node) { c.Name = r.notEmpty(node, "name") },
		"pod":  func(node *yaml.Node) { c.Pod = r.notEmpty(node, "pod") },
		"skipped": func(node *yaml.Node) {
			c.Skipped, skipped = r.notEmpty(node, "skipped"), true
			p.named = append(p.named, namedWord{word: c.Skipped, at: r.at, line: node.Line, isReason: true})
		},
		"violations": func(node *yaml.Node) {
			violations = node
			r.each(node, "violations", func(_ int, entry *yaml.Node) { c.Violations = append(c.Violations, r.expectedViolation(entry, p)) })
		},
		"unknown": func(node *yaml.Node) {
			r.each(node, "unknown", func(_ int, entry *yaml.Node) {
				v := r.expectedViolation(entry, p)
				v.Unknown = true
				c.Violations = append(c.Violations, v)
			})
		},
	})
	switch {
	case node.Kind != yaml.MappingNode:
	case violations == nil && !skipped:
		r.wrong(node, "a case lacks the field %q; [] expects none", "violations")
	case len(c.Violations) > 0 && c.Skipped != "":
		r.wrong(orElse(violations, node), "a pod that is skipped has no violations")
	}
	return c
}

func (r *reader) expectedViolation(node *yaml.Node, p *PolicyTest) ExpectedViolation {
	var v ExpectedViolation
	r.fields(node, "an expected violation", []string{"check"}, map[string]func(*yaml.Node){
		"check": func(node *yaml.Node) {
			if v.Check = r.checkName(node, p); len(p.Checks) > 0 && !slices.Contains(p.Checks, v.Check) {
				r.wrong(node, "check %q is not among the checks that are compared", v.Check)
			}
		},
		"container": func(node *yaml.Node) { v.Container = r.notEmpty(node, "container") },
		"subject":   func(node *yaml.Node) { v.Subject = r.notEmpty(node, "subject") },
		"path":      func(node *yaml.Node) { v.Path = r.notEmpty(node, "path") },
	})
	return v
}

// Against makes sure that the table has the checks and the reasons that the test names. Where it has not the error is
// Mistakes.
func (p *PolicyTest) Against(t *Table) error {
	r := &reporter{file: p.file}
	ids := make([]string, len(t.checks))
	for i := range t.checks {
		ids[i] = t.checks[i].ID
	}
	reasons := append(t.SkipReasons(), NamespaceReason)
	for _, n := range p.named {
		at := &yaml.Node{Line: n.line}
		switch {
		case n.isReason && !slices.Contains(reasons, n.word):
			r.add(at, n.at, "table %s skips no pods for the reason %q%s", t.name, n.word, r.didYouMean(n.word, reasons))
		case !n.isReason && !slices.Contains(ids, n.word):
			r.add(at, n.at, "table %s has no check %q%s", t.name, n.word, r.didYouMean(n.word, ids))
		}
	}
	return r.err()
}

// ErrNoSubject is the reason why a case says nothing: no check that is compared looks at anything in the pod.
var ErrNoSubject = errors.New("the pod has nothing that a check looks at, such as a container: the case would pass whatever the checks say")

// Looks makes sure that a case can fail: that a check which is compared looks at something in the pod. A pod may be outside
// of what a check looks at by a when.
func (p *PolicyTest) Looks(t *Table, v Verdict) error {
	if v.SkipReason != "" {
		return nil
	}
	for i := range t.checks {
		compared := len(p.Checks) == 0 || slices.Contains(p.Checks, t.checks[i].ID)
		if compared && (v.Subjects[i] > 0 || t.checks[i].when != nil) {
			return nil
		}
	}
	return ErrNoSubject
}

// A Difference is what a pod has and was not expected to have, or the other way round.
type Difference struct {
	// Unexpected says that the pod has it; otherwise it lacks it.
	Unexpected bool
	// Skipped is a reason, and then there is no violation.
	Skipped string
	ExpectedViolation
}

// Compare lists in what the verdict of a case's pod differs from what the case expects, at a moment. Violations that
// a waiver accepts then are none. All differences are in the order of the case, and then of the verdict.
func (p *PolicyTest) Compare(c *PolicyCase, t *Table, v Verdict, now time.Time) []Difference {
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

func (p *PolicyTest) compareViolations(c *PolicyCase, t *Table, v Verdict, now time.Time) []Difference {
	var found []ExpectedViolation
	for _, violation := range v.Violations {
		id := t.checks[violation.Check].ID
		if violation.Waiver != nil && violation.Waiver.Active(now) || len(p.Checks) > 0 && !slices.Contains(p.Checks, id) {
			continue
		}
		found = append(found, ExpectedViolation{id, violation.Container, violation.Subject, violation.Path, violation.Unknown})
	}
	met := make([]bool, len(c.Violations))
	taken := make([]bool, len(found))
	// Who says more chooses first: a path names one violation, and of one container each is as good as another.
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
	return e.Check == found.Check && e.Unknown == found.Unknown && (e.Path == "" || e.Path == found.Path) &&
		(e.Container == "" || e.Container == found.Container || e.Container == found.Subject) && (e.Subject == "" || e.Subject == found.Subject)
}

// String is the difference in words.
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
	return strings.Join(words, ", ")
}
