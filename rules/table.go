package rules

import (
	"path"
	"slices"
)

// APIVersion and Kind open every policy table.
const (
	APIVersion = "kube-devops.io/v1"
	Kind       = "PolicyTable"
)

// Severity says how much a violation matters to a reader; it has no part in the score.
type Severity string

// The severities, worst first.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
)

var severities = [...]Severity{Critical, High, Medium, Low}

// Severities returns all severities, worst first.
func Severities() []Severity { return slices.Clone(severities[:]) }

// Rank is the index of s in Severities: 0 for the worst. It is -1 for a text that is not a severity.
func (s Severity) Rank() int { return slices.Index(severities[:], s) }

// Table is a compiled policy table. It is immutable.
type Table struct {
	name    string
	hash    string
	include []string // none: all namespaces
	exclude []string
	skips   []skip
	checks  []Check
	grades  []Grade
	waivers []*Waiver

	groups    []group
	constants int // how many leaves look at the pod's root, whatever the subject
	budgets   int // how many leaves have tests that are not cheap
	lookups   int // how many paths begin at the pod
}

// Check is one row of the table.
type Check struct {
	// ID names the check in metrics, logs and reports: [a-z][a-z0-9_]*.
	ID string
	// Description says what is wrong when the check fails; Remediation what to do about it. Both may be empty.
	Description, Remediation string
	Severity                 Severity
	// Weight is the penalty of one violation in points, 1 to 1000.
	Weight int
	// ForEach are the paths of the arrays whose elements are the subjects; none means the pod itself.
	ForEach []string

	when      predicate // nil: always
	violation predicate
}

// A skip leaves out the pods for which its condition holds.
type skip struct {
	reason string
	when   predicate
}

// Message says in a sentence what a violation of the check means.
func (c *Check) Message() string {
	if c.Description != "" {
		return c.Description
	}
	return c.violation.String()
}

// Grade is a name for a range of compliance: from Min percent up to the next grade above.
type Grade struct {
	Name string
	Min  float64
}

// Name is the table's metadata.name.
func (t *Table) Name() string { return t.name }

// Hash identifies the table's text: "sha256:" and 64 hexadecimal digits.
func (t *Table) Hash() string { return t.hash }

// Checks are the rows in the order of the table. The caller must not change them.
func (t *Table) Checks() []Check { return t.checks }

// Grade names the grade of a compliance in percent, 0 to 100.
func (t *Table) Grade(compliance float64) string {
	for _, g := range t.grades {
		if compliance >= g.Min {
			return g.Name
		}
	}
	// Rounding may leave a compliance a hair below the last bound, which is 0.
	return t.grades[len(t.grades)-1].Name
}

// GradeIndex is the position of a grade among those of the table, 0 for the best; -1 where the table has no such grade.
func (t *Table) GradeIndex(name string) int {
	return slices.IndexFunc(t.grades, func(g Grade) bool { return g.Name == name })
}

// SkipReasons are the reasons for which the table leaves out pods, each once, sorted.
func (t *Table) SkipReasons() []string {
	reasons := make([]string, len(t.skips))
	for i, s := range t.skips {
		reasons[i] = s.reason
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

// Waivers are the waivers of the table, expired ones among them. The caller must not change them.
func (t *Table) Waivers() []*Waiver { return t.waivers }

// Includes tells whether the pods of a namespace are looked at, or left out by the table: what is excluded is out,
// included or not.
func (t *Table) Includes(namespace string) bool {
	_, excluded := t.ExcludedBy(namespace)
	return !excluded
}

// ExcludedBy reports whether the table leaves out the pods of a namespace, and the pattern that excludes it; the pattern is
// empty where the namespace is not among those that the table includes.
func (t *Table) ExcludedBy(namespace string) (pattern string, excluded bool) {
	for _, glob := range t.exclude {
		if matches(glob, namespace) {
			return glob, true
		}
	}
	for _, glob := range t.include {
		if matches(glob, namespace) {
			return "", false
		}
	}
	return "", len(t.include) > 0
}

// matches tells whether a shell glob matches the whole name. The glob was checked when the table was loaded, so that the
// one possible error cannot come.
func matches(glob, name string) bool {
	match, _ := path.Match(glob, name)
	return match
}

func defaultExclude() []string {
	return []string{"kube-*", "*-system", "cert-manager", "monitoring", "observability", "argocd"}
}

func defaultGrades() []Grade {
	return []Grade{{"Healthy", 80}, {"Stable", 60}, {"Degraded", 40}, {"Critical", 0}}
}
