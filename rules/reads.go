package rules

// SkipReads reports whether the condition of an entry of Skips looks at the field of a pod at a path of keys, or at a field of it.
func (t *Table) SkipReads(i int, keys ...string) bool {
	root := new(wanted)
	root.add(t.skips[i].when, root, notShown)
	return root.reads(keys)
}

// Reads reports whether the check looks at the field of a pod at a path of keys, or at a field of it, for its subjects or its conditions.
func (c *Check) Reads(keys ...string) bool {
	var g group
	for _, source := range c.ForEach {
		g.forEach = append(g.forEach, newSubjectPaths(source)...)
	}
	root := new(wanted)
	for _, subject := range root.subjects(&g) {
		root.add(c.when, subject, notShown)
		root.add(c.violation, subject, notShown)
	}
	return root.reads(keys)
}

// reads reports whether something at a path of keys is wanted. What wants all entries of an object, or their number, wants each of its fields.
func (w *wanted) reads(keys []string) bool {
	for _, key := range keys {
		if w.whole || w.counted || w.entries != nil {
			return true
		}
		if w = w.find([]byte(key)); w == nil {
			return false
		}
	}
	return true
}

// Selectors are the names of the fields by which the waiver selects violations, in the order of the documentation.
func (w *Waiver) Selectors() []string {
	var names []string
	add := func(name string, is bool) {
		if is {
			names = append(names, name)
		}
	}
	add("check", len(w.CheckIDs) > 0)
	add("namespace", len(w.Namespaces) > 0)
	add("workload", w.workload != nil)
	add("pod", w.Pod != "")
	add("container", w.Container != "")
	add("subject", w.Subject != "")
	add("labels", len(w.labels) > 0)
	add("owner", w.owner != nil)
	return names
}

// Keeping returns a copy of the table with only the skips, by their index in Skips, and the waivers for which the functions return true, and
// without the waivers of annotations unless annotations is true.
func (t *Table) Keeping(skips func(int) bool, waivers func(*Waiver) bool, annotations bool) *Table {
	kept := *t
	kept.skips, kept.waivers = nil, nil
	hash := t.hash + " keeping"
	for i, s := range t.skips {
		if skips(i) {
			kept.skips = append(kept.skips, s)
			hash += " " + s.reason
		}
	}
	for _, w := range t.waivers {
		if waivers(w) {
			kept.waivers = append(kept.waivers, w)
			hash += " " + w.ID
		}
	}
	if !annotations {
		kept.annotations = nil
		hash += " no annotations"
	}
	if len(kept.skips) < len(t.skips) || len(kept.waivers) < len(t.waivers) || kept.annotations != t.annotations {
		kept.hash = hashOf([]byte(hash))
	}
	return &kept
}
