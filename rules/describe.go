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

// Scope describes what the waiver accepts: "namespace shop, container app, check latest_tag".
func (w *Waiver) Scope() string {
	var words []string
	add := func(what, value string) {
		if value != "" {
			words = append(words, what+" "+value)
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
	if len(w.CheckIDs) > 0 {
		add("check", strings.Join(w.CheckIDs, " or "))
	}
	return strings.Join(words, ", ")
}
