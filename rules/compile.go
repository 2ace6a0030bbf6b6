package rules

import "slices"

// compile prepares a table that has loaded without errors: it groups the checks that share their subjects, and gives leaves the
// slots of their answers and budgets.
func (t *Table) compile() {
	for _, s := range t.skips {
		t.assignSlots(s.when, true)
	}
	for i := range t.checks {
		c := &t.checks[i]
		t.assignSlots(c.when, len(c.ForEach) == 0)
		t.assignSlots(c.violation, len(c.ForEach) == 0)
		at := slices.IndexFunc(t.groups, func(g group) bool {
			return slices.Equal(t.checks[g.checks[0]].ForEach, c.ForEach)
		})
		if at < 0 {
			g := group{}
			for _, source := range c.ForEach {
				g.forEach = append(g.forEach, newSubjectPaths(source)...)
			}
			t.lookups += len(g.forEach)
			at = len(t.groups)
			t.groups = append(t.groups, g)
		}
		t.groups[at].checks = append(t.groups[at].checks, i)
	}
}

// assignSlots gives slots and budgets to the leaves of a predicate, whose subject may be the pod itself.
func (t *Table) assignSlots(p predicate, ofPod bool) {
	switch p := p.(type) {
	case allOf:
		for _, q := range p {
			t.assignSlots(q, ofPod)
		}
	case anyOf:
		for _, q := range p {
			t.assignSlots(q, ofPod)
		}
	case notOf:
		t.assignSlots(p.predicate, ofPod)
	case *quantified:
		p.budget = t.budgets
		t.budgets++
		if p.in.Root {
			p.in.slot = t.constants
			t.constants++
		}
		if p.in.Root || ofPod {
			t.lookups++
		}
		t.assignSlots(p.is, false)
	case *leaf:
		if p.from != nil {
			t.assignOperandSlots(p, ofPod)
			return
		}
		if p.test.perByte > 0 {
			p.budget = t.budgets
			t.budgets++
		}
		for i := range p.paths {
			at := &p.paths[i]
			if at.Root {
				at.slot = t.constants
				t.constants++
			}
			if at.Root || ofPod {
				t.lookups++
			}
		}
	}
}
