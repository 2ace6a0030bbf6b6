package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// Only returns the table as though it had the checks of these ids alone, in the order of the table. The table itself
// stays as it is. An id that no check has is an error, which names the one that is spelled most alike.
func (t *Table) Only(ids ...string) (*Table, error) {
	for _, id := range ids {
		if err := t.knows(id); err != nil {
			return nil, err
		}
	}
	only := *t
	only.checks, only.groups = nil, nil
	position := make(map[int]int) // of the checks that stay: from the old index to the new
	for i, c := range t.checks {
		if slices.Contains(ids, c.ID) {
			position[i] = len(only.checks)
			only.checks = append(only.checks, c)
		}
	}
	hash := t.hash
	for _, c := range only.checks {
		hash += " " + c.ID
	}
	only.hash = hashOf([]byte(hash))
	for _, g := range t.groups {
		var checks []int
		for _, i := range g.checks {
			if at, stays := position[i]; stays {
				checks = append(checks, at)
			}
		}
		if len(checks) > 0 {
			only.groups = append(only.groups, group{g.forEach, checks})
		}
	}
	only.waivers = nil
	for _, w := range t.waivers {
		if w := w.only(position, only.checks); w != nil {
			only.waivers = append(only.waivers, w)
		}
	}
	return &only, nil
}

// only returns the waiver as it is about the checks that stay; nil where it is about none of them.
func (w *Waiver) only(position map[int]int, checks []Check) *Waiver {
	if len(w.checks) == 0 {
		return w // about all checks, whatever they are
	}
	about := *w
	about.checks, about.checkIDs = nil, nil
	for _, i := range w.checks {
		if at, stays := position[i]; stays {
			about.checks = append(about.checks, at)
			about.checkIDs = append(about.checkIDs, checks[at].ID)
		}
	}
	if len(about.checks) == 0 {
		return nil
	}
	return &about
}

// knows returns an error for an id that no check has.
func (t *Table) knows(id string) error {
	var ids []string
	for _, c := range t.checks {
		if c.ID == id {
			return nil
		}
		ids = append(ids, c.ID)
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
