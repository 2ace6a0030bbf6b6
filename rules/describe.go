package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Namespaces are the shell globs of the namespaces that the table looks at, none for all, and of those that it leaves
// out. The caller must not change them.
func (t *Table) Namespaces() (include, exclude []string) { return t.include, t.exclude }

// A Skip says in words which pods are left out, and under which reason they are counted.
type Skip struct{ Reason, When string }

// Skips are the conditions by which the table leaves out pods, in its order: the first one that a pod fulfils counts.
func (t *Table) Skips() []Skip {
	skips := make([]Skip, len(t.skips))
	for i, s := range t.skips {
		skips[i] = Skip{s.reason, s.when.String()}
	}
	return skips
}

// Grades are the names for compliance, best first. The caller must not change them.
func (t *Table) Grades() []Grade { return t.grades }

// When says in words which subjects the check looks at; empty where it looks at all of them.
func (c *Check) When() string {
	if c.when == nil {
		return ""
	}
	return c.when.String()
}

// Violation says in words what is a violation.
func (c *Check) Violation() string { return c.violation.String() }

// Scope says in words what the waiver accepts: "namespace shop, container app, check latest_tag".
func (w *Waiver) Scope() string {
	var words []string
	add := func(what, value string) {
		if value != "" {
			words = append(words, what+" "+value)
		}
	}
	add("namespace", w.Namespace)
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
