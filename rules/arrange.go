package rules

import "slices"

// arrange prepares a table that is read without mistakes for evaluation: checks that share their subjects are put
// together, and leaves on the pod's root get the slots of their answers.
func (t *Table) arrange() {
	for _, s := range t.skips {
		t.assignSlots(s.when)
	}
	for i := range t.checks {
		c := &t.checks[i]
		t.assignSlots(c.when)
		t.assignSlots(c.violation)
		at := slices.IndexFunc(t.groups, func(g group) bool {
			return slices.Equal(t.checks[g.checks[0]].ForEach, c.ForEach)
		})
		if at < 0 {
			g := group{}
			for _, source := range c.ForEach {
				where, err := parseSubjectPath(source)
				if err != nil {
					panic("a path that was read without a mistake: " + err.Error())
				}
				g.forEach = append(g.forEach, *where)
			}
			at = len(t.groups)
			t.groups = append(t.groups, g)
		}
		t.groups[at].checks = append(t.groups[at].checks, i)
	}
}

func (t *Table) assignSlots(p predicate) {
	switch p := p.(type) {
	case allOf:
		for _, q := range p {
			t.assignSlots(q)
		}
	case anyOf:
		for _, q := range p {
			t.assignSlots(q)
		}
	case notOf:
		t.assignSlots(p.of)
	case *leaf:
		if p.path.root {
			p.slot = t.constants
			t.constants++
		}
	}
}
