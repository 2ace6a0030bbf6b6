package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// Subset returns a copy of the table with only the checks of these ids, in the order of the table. An unknown id is an error that
// suggests similar ones.
func (t *Table) Subset(ids ...string) (*Table, error) {
	ids = slices.Clone(ids)
	for i, id := range ids {
		ids[i] = t.Resolve(id)
		if err := t.knows(ids[i]); err != nil {
			return nil, err
		}
	}
	subset := *t
	subset.checks, subset.groups = nil, nil
	position := make(map[int]int) // the new indexes of the remaining checks, by their old ones
	for i, c := range t.checks {
		if slices.Contains(ids, c.ID) {
			position[i] = len(subset.checks)
			subset.checks = append(subset.checks, c)
		}
	}
	hash := t.hash
	for _, c := range subset.checks {
		hash += " " + c.ID
	}
	subset.hash = hashOf([]byte(hash))
	for _, g := range t.groups {
		var checks []int
		for _, i := range g.checks {
			if at, stays := position[i]; stays {
				checks = append(checks, at)
			}
		}
		if len(checks) > 0 {
			subset.groups = append(subset.groups, group{g.forEach, checks})
		}
	}
	subset.waivers, subset.annotations = nil, t.annotations.subset(position)
	for _, w := range t.waivers {
		if w := w.subset(position, subset.checks); w != nil {
			subset.waivers = append(subset.waivers, w)
		}
	}
	return &subset, nil
}

// subset returns the waiver for the remaining checks; nil when it is about none of them.
func (w *Waiver) subset(position map[int]int, checks []Check) *Waiver {
	if len(w.checks) == 0 {
		return w // about all checks
	}
	about := *w
	about.checks, about.CheckIDs = nil, nil
	for _, i := range w.checks {
		if at, stays := position[i]; stays {
			about.checks = append(about.checks, at)
			about.CheckIDs = append(about.CheckIDs, checks[at].ID)
		}
	}
	if len(about.checks) == 0 {
		return nil
	}
	return &about
}

// knows returns an error for an unknown id.
func (t *Table) knows(id string) error {
	var ids []string
	for _, c := range t.checks {
		if c.ID == id {
			return nil
		}
		ids = append(ids, c.ID)
	}
	switch {
	case slices.Contains(t.disabled, id):
		return fmt.Errorf("policy %s disables check %q", t.name, id)
	case slices.Contains(t.retired, id):
		return fmt.Errorf("policy %s no longer has check %q", t.name, id)
	}
	var near []string
	for _, known := range ids {
		if suggest.Similar(id, known) || strings.Contains(known, id) && id != "" {
			near = append(near, known)
		}
	}
	if len(near) > 0 {
		return fmt.Errorf("policy %s has no check %q; did you mean %s?", t.name, id, strings.Join(near, " or "))
	}
	const most = 10
	more := ""
	if len(ids) > most {
		ids, more = ids[:most], ", ..."
	}
	return fmt.Errorf("policy %s has no check %q; it has %s%s", t.name, id, strings.Join(ids, ", "), more)
}
