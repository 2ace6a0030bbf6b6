package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Namespaces returns the shell globs of the namespaces that the table includes (none: all) and excludes. The caller must not change
// them.
func (t *Table) Namespaces() (include, exclude []string) { return t.include, t.exclude }

// A Skip describes which pods are skipped, and the reason under which they are counted.
type Skip struct{ Reason, When string }

// Skips returns the conditions by which the table skips pods. The first one that is true counts.
func (t *Table) Skips() []Skip {
	skips := make([]Skip, len(t.skips))
	for i, s := range t.skips {
		skips[i] = Skip{s.reason, speller{}.sentence(s.when, false)}
	}
	return skips
}

// Grades returns the names for compliance, best first. The caller must not change them.
func (t *Table) Grades() []Grade { return t.grades }

// When says in English which subjects the check applies to; empty when it applies to all.
func (c *Check) When() string {
	if c.when == nil {
		return ""
	}
	return speller{}.sentence(c.when, false)
}

// Violation says in English what a violation is.
func (c *Check) Violation() string { return speller{}.sentence(c.violation, false) }

// A WaiverCondition is a field of a waiver, and what it matches.
type WaiverCondition struct{ Field, Value string }

// Conditions returns what a violation must match, all of it.
func (w *Waiver) Conditions() []WaiverCondition {
	var conditions []WaiverCondition
	add := func(field, value string) {
		if value != "" {
			conditions = append(conditions, WaiverCondition{field, value})
		}
	}
	add("namespace", strings.Join(w.Namespaces, " or "))
	if w.workload != nil {
		add("workload", w.workload.kind+"/"+w.workload.name)
	}
	add("pod", w.Pod)
	add("container", w.Container)
	add("subject", w.Subject)
	for _, name := range slices.Sorted(maps.Keys(w.labels)) {
		add("label", fmt.Sprintf("%s=%s", name, w.labels[name]))
	}
	if w.owner != nil {
		add("owner", strings.Trim(w.owner.kind+" "+w.owner.name, " "))
	}
	add("check", strings.Join(w.CheckIDs, " or "))
	return conditions
}

// Scope describes what the waiver accepts: "namespace shop, container app, check latest_tag".
func (w *Waiver) Scope() string {
	var words []string
	for _, c := range w.Conditions() {
		words = append(words, c.Field+" "+c.Value)
	}
	return strings.Join(words, ", ")
}

// IsAboutNamespace reports whether the waiver may match violations in a namespace.
func (w *Waiver) IsAboutNamespace(name string) bool {
	return len(w.Namespaces) == 0 || slices.ContainsFunc(w.Namespaces, func(glob string) bool { return isNamed(name, glob) })
}
