package rules

import (
	"slices"
	"strings"
)

// SupersededBy returns a waiver of the table that accepts all that w accepts, until later, so that w has no effect; nil when none is known
// to.
func (t *Table) SupersededBy(w *Waiver) *Waiver {
	before := true // of two that expire at the same moment, the first one governs
	for _, other := range t.waivers {
		if other == w {
			before = false
			continue
		}
		if (other.Expires.After(w.Expires) || before && other.Expires.Equal(w.Expires)) && other.covers(w) {
			return other
		}
	}
	return nil
}

// covers reports whether w is known to match everything that another waiver matches.
func (w *Waiver) covers(other *Waiver) bool {
	for name, value := range w.labels {
		if wanted, ok := other.labels[name]; !ok || wanted != value {
			return false
		}
	}
	return coversNames(w.Namespaces, other.Namespaces) && coversName(w.Pod, other.Pod) && coversName(w.Container, other.Container) &&
		coversName(w.Subject, other.Subject) && w.owner.covers(other.owner) && w.workload.covers(other.workload) && w.coversChecks(other)
}

func (w *Waiver) coversChecks(other *Waiver) bool {
	if len(w.checks) == 0 {
		return true
	}
	for _, check := range other.checks {
		if !slices.Contains(w.checks, check) {
			return false
		}
	}
	return len(other.checks) > 0
}

func (m *ownerMatch) covers(other *ownerMatch) bool {
	return m == nil || other != nil && (m.kind == "" || m.kind == other.kind) && coversName(m.name, other.name)
}

// coversNames reports whether each glob of other is covered by one of the globs; none match everything.
func coversNames(globs, other []string) bool {
	if len(globs) == 0 {
		return true
	}
	for _, glob := range other {
		covered := false
		for _, by := range globs {
			covered = covered || coversName(by, glob)
		}
		if !covered {
			return false
		}
	}
	return len(other) > 0
}

// coversName reports whether one glob is known to match each name that the other matches; an empty one matches everything.
func coversName(glob, other string) bool {
	literal := other != "" && !strings.ContainsAny(other, `*?[\`)
	return glob == "" || glob == other || literal && matches(glob, other)
}
