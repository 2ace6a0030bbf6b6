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

// Kind is the kind of a file of cases for a policy table.
const Kind = "PolicyTest"

const maxCases = 10_000

// NamespaceReason is the reason, for a policy test, by which a pod is skipped whose namespace the table leaves out.
const NamespaceReason = "namespace"

// A Test says what a policy finds in pods.
type Test struct {
	// Policy is the name of a table that ships, or a file, and Waivers a file or empty; both relative to the test's own.
	Policy, Waivers string
	// At is the moment for which waivers are judged; zero for the present one.
	At time.Time
	// Checks are the ids of the checks that are compared; none: all.
	Checks []string
	Cases  []Case

	file  string
	named []namedWord
}

// A Case is a pod and the violations that are expected in it.
type Case struct {
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

type loader struct{ *strictyaml.Reader }

// Load reads a file of cases. Where anything is wrong the error is strictyaml.Errors: all of them.
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
		"policy":     func(node *yaml.Node) { p.Policy = r.NonEmptyText(node, "policy") },
		"waivers":    func(node *yaml.Node) { p.Waivers = r.NonEmptyText(node, "waivers") },
		"at":         func(node *yaml.Node) { p.At = r.Time(node, "at") },
		"checks": func(node *yaml.Node) {
			r.Each(node, "checks", func(_ int, entry *yaml.Node) { p.Checks = append(p.Checks, r.checkName(entry, p)) })
			if node.Kind == yaml.SequenceNode && len(p.Checks) == 0 {
				r.Errorf(node, "checks is an empty list; leave it out to compare all checks")
			}
		},
		"cases": func(node *yaml.Node) { r.cases(node, p) },
	})
	if err := r.Err(); err != nil {
		return nil, err
	}
	return p, nil
}

// checkName reads the id of a check of a table that is not known yet.
func (r *loader) checkName(node *yaml.Node, p *Test) string {
	id := r.NonEmptyText(node, "check")
	p.named = append(p.named, namedWord{word: id, at: r.At, line: node.Line})
	return id
}

func (r *loader) cases(node *yaml.Node, p *Test) {
	lines := make(map[string]int)
	r.Each(node, "cases", func(i int, entry *yaml.Node) {
		c := r.policyCase(i, entry, p)
		if line, twice := lines[c.Name]; twice && c.Name != "" {
			r.Errorf(entry, "case %q: the case in line %d has this name", c.Name, line)
		}
		lines[c.Name] = entry.Line
		p.Cases = append(p.Cases, c)
	})
	if n := len(p.Cases); node.Kind == yaml.SequenceNode && (n == 0 || n > maxCases) {
		r.Errorf(node, "a policy test has 1 to %d cases; this one has %d", maxCases, n)
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
			p.named = append(p.named, namedWord{word: c.Skipped, at: r.At, line: node.Line, isReason: true})
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
	})
	switch {
	case node.Kind != yaml.MappingNode:
	case violations == nil && !skipped:
		r.Errorf(node, "a case lacks the field %q; [] expects none", "violations")
	case len(c.Violations) > 0 && c.Skipped != "":
		r.Errorf(cmp.Or(violations, node), "a pod that is skipped has no violations")
	}
	return c
}

func (r *loader) expectedViolation(node *yaml.Node, p *Test) ExpectedViolation {
	var v ExpectedViolation
	r.Fields(node, "an expected violation", []string{"check"}, map[string]func(*yaml.Node){
		"check": func(node *yaml.Node) {
			if v.Check = r.checkName(node, p); len(p.Checks) > 0 && !slices.Contains(p.Checks, v.Check) {
				r.Errorf(node, "check %q is not among the checks that are compared", v.Check)
			}
		},
		"container": func(node *yaml.Node) { v.Container = r.NonEmptyText(node, "container") },
		"subject":   func(node *yaml.Node) { v.Subject = r.NonEmptyText(node, "subject") },
		"path":      func(node *yaml.Node) { v.Path = r.NonEmptyText(node, "path") },
	})
	return v
}

// Against makes sure that the table has the checks and the reasons that the test names. Where it has not the error is
// strictyaml.Errors.
func (p *Test) Against(t *rules.Table) error {
	r := strictyaml.NewReader(p.file)
	ids := make([]string, len(t.Checks()))
	for i := range t.Checks() {
		ids[i] = t.Checks()[i].ID
	}
	reasons := append(t.SkipReasons(), NamespaceReason)
	for _, n := range p.named {
		at := &yaml.Node{Line: n.line}
		switch {
		case n.isReason && !slices.Contains(reasons, n.word):
			r.ErrorAt(at, n.at, "table %s skips no pods for the reason %q%s", t.Name(), n.word, r.DidYouMean(n.word, reasons))
		case !n.isReason && !slices.Contains(ids, n.word):
			r.ErrorAt(at, n.at, "table %s has no check %q%s", t.Name(), n.word, r.DidYouMean(n.word, ids))
		}
	}
	return r.Err()
}

// ErrNoSubject is the reason why a case says nothing: no check that is compared looks at anything in the pod.
var ErrNoSubject = errors.New("the pod has nothing that a check looks at, such as a container: the case would pass whatever the checks say")

// Looks makes sure that a case can fail: that a check which is compared looks at something in the pod. A pod may be outside
// of what a check looks at by a when.
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
		id := t.Checks()[violation.Check].ID
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
