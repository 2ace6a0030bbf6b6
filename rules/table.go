package rules

import (
	"path"
	"slices"
	"time"
)

// APIVersion and Kind are those of every policy table.
const (
	APIVersion = "kube-devops.io/v1"
	Kind       = "PolicyTable"
)

// Severity says how much a violation matters to a reader. It does not affect the score.
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
	lists   lists
	checks  []Check
	grades  []Grade
	waivers []*Waiver
	// annotations is nil if the table does not read them; now is the moment from which those without a creation time count.
	annotations *AnnotationWaivers
	now         time.Time

	// Ids of checks that are not in the table, but may still be named: the present ids by the former ones, those that a built-in table no
	// longer has, and those that the table disables.
	renamed           map[string]string
	retired, disabled []string
	warnings          LoadErrors

	groups    []group
	constants int // leaves on the pod's root, which have the same answer for all subjects
	budgets   int // leaves with expensive tests
	found     int // paths on the pod's root in leaves whose operand is in the pod
	lookups   int // paths that start at the pod
}

// Check is one row of the table.
type Check struct {
	// ID names the check in metrics, logs and reports: [a-z][a-z0-9_]*.
	ID string
	// Description says what is wrong when the check fails, and Remediation what to do about it. Both may be empty.
	Description, Remediation string
	Category                 Category // empty: none
	Severity                 Severity
	// Weight is the penalty of one violation in points, 1 to 1000.
	Weight int
	// ForEach are the paths of the arrays whose elements are the subjects; none: the pod itself is the subject.
	ForEach []string
	// ShowValue says whether reports may show the values of the check. Nil: for kinds with a built-in schema. What may be a secret is never
	// shown.
	ShowValue *bool
	Enforce   Enforce // empty: the check is scored only

	message   messageText
	when      predicate // nil: always
	violation predicate
}

// A skip excludes the pods for which its condition is true.
type skip struct {
	reason string
	when   predicate
}

// messageListed is how many values of a list a message has.
const messageListed = 8

// Message says what is wrong with any violation of the check: its description, or else its predicate in English.
func (c *Check) Message() string {
	if c.Description != "" {
		return c.Description
	}
	return speller{messageListed}.sentence(c.violation, false)
}

// Name is the table's metadata.name.
func (t *Table) Name() string { return t.name }

// Hash identifies the table's text: "sha256:" and 64 hexadecimal digits.
func (t *Table) Hash() string { return t.hash }

// Checks returns the checks in the order of the table. The caller must not change them.
func (t *Table) Checks() []Check { return t.checks }

// SkipReasons returns the reasons for which the table skips pods, sorted, each once.
func (t *Table) SkipReasons() []string {
	reasons := make([]string, len(t.skips))
	for i, s := range t.skips {
		reasons[i] = s.reason
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

// Waivers returns the waivers of the table, including expired ones. The caller must not change them.
func (t *Table) Waivers() []*Waiver { return t.waivers }

// Includes reports whether the table evaluates the pods of a namespace. Exclusion takes precedence over inclusion.
func (t *Table) Includes(namespace string) bool {
	_, excluded := t.ExcludedBy(namespace)
	return !excluded
}

// ExcludedBy reports whether the table excludes a namespace, and the pattern that excludes it. The pattern is empty when the namespace is
// not included.
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

// matches reports whether a shell glob matches the whole name. There is no error because globs are validated when the table is loaded.
func matches(glob, name string) bool {
	match, _ := path.Match(glob, name)
	return match
}

func defaultExclude() []string {
	return []string{"kube-*", "*-system", "cert-manager", "monitoring", "observability", "argocd"}
}
