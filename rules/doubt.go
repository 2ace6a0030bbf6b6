package rules

import (
	"errors"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// A Doubt is something that a policy may say, and hardly means.
type Doubt Mistake

// String is the doubt in a line: file, line, "warning", and what it is about.
func (d Doubt) String() string {
	at := "warning"
	if d.At != "" {
		at += ": " + d.At
	}
	return Mistake{File: d.File, Line: d.Line, At: at, Msg: d.Msg}.Error()
}

// Knowledge is what Doubts holds a policy against.
type Knowledge struct {
	// Pods is the schema of a Pod; nil where none is known, and then no path is in doubt.
	Pods *Schema
	// Now is the moment for which waivers are judged.
	Now time.Time
	// Recording names the recorded pods in which Accepting are the ids of all waivers that accept a violation (see
	// Table.Accepting); nil where there is no recording to judge waivers by.
	Recording string
	Accepting map[string]bool
}

// Doubts lists what is allowed in a text and hardly meant, in the order of its lines. The text is the one that the table
// was loaded from, or that of a file of waivers that it was loaded with.
func (t *Table) Doubts(file string, text []byte, known Knowledge) []Doubt {
	d := &doubter{reader: reader{reporter: reporter{file: file}}, table: t, Knowledge: known}
	root := d.parse(text)
	if root == nil || root.Kind != yaml.MappingNode {
		return nil
	}
	if fieldValue(root, "kind") == Kind {
		d.doubtNamespaces(field(root, "namespaces"))
		d.doubtSkips(field(field(root, "pods"), "skip"))
		d.doubtChecks(field(root, "checks"))
	}
	d.doubtWaivers(field(root, "waivers"))
	var found Mistakes
	var doubts []Doubt
	_ = errors.As(d.err(), &found) // what was told is collected as mistakes are
	for _, m := range found {
		doubts = append(doubts, Doubt(m))
	}
	return doubts
}

// A doubter reads a policy that is known to load for a second time, with its lines.
type doubter struct {
	reader
	Knowledge
	table *Table
	// skipped are the conditions of pods that are not skipped, as far as there is no doubt about them.
	skipped  []*condition
	skipsAll bool // no pod is left
	effort   int  // how much was tried so far, to find out what is possible
}

// field is a field of a mapping; nil where there is none.
func field(node *yaml.Node, name string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i+1]
		}
	}
	return nil
}

// entries are those of a list, or the one value that stands where a list may be.
func entries(node *yaml.Node) []*yaml.Node {
	switch {
	case node == nil:
		return nil
	case node.Kind == yaml.SequenceNode:
		return node.Content
	}
	return []*yaml.Node{node}
}

func (d *doubter) doubtNamespaces(node *yaml.Node) {
	excluded := entries(field(node, "exclude"))
	for _, glob := range excluded {
		if isForAll(glob.Value) {
			d.wrong(glob, "namespaces.exclude: %q leaves out every namespace", glob.Value)
		}
	}
	for _, glob := range entries(field(node, "include")) {
		if by := d.table.excludedBy(glob.Value); by != "" {
			d.wrong(glob, "namespaces.include: %q is left out all the same, by %q in namespaces.exclude", glob.Value, by)
		}
	}
}

// isForAll tells whether a glob matches every name: a namespace, as a pod, has a name of at least one letter.
func isForAll(glob string) bool {
	return strings.Contains(glob, "*") && strings.Trim(glob, "*?") == "" && strings.Count(glob, "?") <= 1
}

// excludedBy is the glob by which the table leaves out all that another glob matches; empty where none is known to.
func (t *Table) excludedBy(glob string) string {
	for _, by := range t.exclude {
		if by == glob || isForAll(by) || isLiteral(glob) && matches(by, glob) {
			return by
		}
	}
	return ""
}

func isLiteral(glob string) bool { return !strings.ContainsAny(glob, `*?[\`) }

func (d *doubter) doubtSkips(node *yaml.Node) {
	pod := scope{pod: true}
	if d.Pods != nil {
		pod.subjects = []*schemaType{d.Pods.root}
	}
	for i, entry := range entries(node) {
		d.at = "skip " + fieldValue(entry, "reason")
		c := d.doubtCondition(field(entry, "when"), pod)
		if !c.doubtful {
			c.doubtful = d.doubtConstant(c, "when can never be true: it leaves out no pod", "when is always true: it leaves out every pod")
		}
		for _, earlier := range entries(node)[:i] {
			if equal(field(earlier, "when"), field(entry, "when")) {
				d.wrong(entry, "the skip in line %d has the same when", earlier.Line)
				break
			}
		}
		if !c.doubtful {
			d.skipped = append(d.skipped, &condition{kind: isNot, of: []*condition{c}})
		}
	}
	d.at = ""
	if d.skipsAll = !d.possible(&condition{kind: isAll, of: d.skipped}, true); d.skipsAll {
		d.wrong(node, "pods.skip leaves out every pod")
	}
}

func (d *doubter) doubtChecks(node *yaml.Node) {
	for i, entry := range entries(node) {
		d.at = "check " + fieldValue(entry, "id")
		if i >= maxChecks {
			break
		}
		for _, earlier := range entries(node)[:i] {
			if sameCheck(earlier, entry) {
				d.wrong(entry, "it looks for the same as check %s in line %d", fieldValue(earlier, "id"), earlier.Line)
				break
			}
		}
		d.doubtCheck(entry)
	}
	d.at = ""
}

// sameCheck tells whether two checks find the same violations.
func sameCheck(a, b *yaml.Node) bool {
	return equal(field(a, "violation"), field(b, "violation")) && equal(field(a, "when"), field(b, "when")) &&
		slices.Equal(sortedPaths(a), sortedPaths(b))
}

func sortedPaths(check *yaml.Node) []string {
	var paths []string
	for _, entry := range entries(field(check, "forEach")) {
		paths = append(paths, entry.Value)
	}
	slices.Sort(paths)
	return paths
}

// equal tells whether two nodes say the same, in whatever style and order of fields.
func equal(a, b *yaml.Node) bool {
	if a == nil || b == nil {
		return a == b
	}
	if a.Kind != b.Kind || len(a.Content) != len(b.Content) {
		return false
	}
	if a.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(a.Content); i += 2 {
			if !equal(a.Content[i+1], field(b, a.Content[i].Value)) {
				return false
			}
		}
		return true
	}
	return a.Value == b.Value && a.ShortTag() == b.ShortTag() && slices.EqualFunc(a.Content, b.Content, equal)
}

func (d *doubter) doubtCheck(node *yaml.Node) {
	d.doubtOverlaps(entries(field(node, "forEach")))
	subject := d.scope(field(node, "forEach"))
	if subject.nothing {
		return
	}
	violation := d.doubtCondition(field(node, "violation"), subject)
	if !violation.doubtful && onlyContainers(entries(field(node, "forEach"))) {
		d.doubtOverride(violation)
	}
	when := &condition{kind: isAll} // of nothing: true
	if w := field(node, "when"); w != nil {
		when = d.doubtCondition(w, subject)
		if !when.doubtful {
			when.doubtful = d.doubtConstant(when, "when can never be true: the check looks at nothing", "when is always true: leave it out")
		}
	}
	if !violation.doubtful {
		violation.doubtful = d.doubtConstant(violation, "the violation can never be true: the check never fails", "the violation is always true: every subject fails")
	}
	if violation.doubtful || when.doubtful || d.skipsAll {
		return
	}
	let := &condition{kind: isAll, of: append([]*condition{when}, d.skipped...)}
	if !d.possible(let, true) {
		d.wrong(field(node, "when"), "pods.skip leaves out every pod for which when is true: the check looks at nothing")
		return
	}
	var where []string
	if len(when.of) > 0 || when.kind == isLeaf {
		where = append(where, " where its when is true")
	}
	if len(d.skipped) > 0 {
		where = append(where, " in a pod that is not skipped")
	}
	if fails := d.possible(&condition{kind: isAll, of: []*condition{let, violation}}, true); !fails {
		d.wrong(violation.node, "the violation can never be true%s: the check never fails", strings.Join(where, ","))
	}
	not := &condition{kind: isNot, of: []*condition{violation}}
	if passes := d.possible(&condition{kind: isAll, of: []*condition{let, not}}, true); !passes {
		d.wrong(violation.node, "the violation is always true%s: every subject fails", strings.Join(where, ","))
	}
}

// onlyContainers tells whether all subjects of the paths are containers.
func onlyContainers(forEach []*yaml.Node) bool {
	for _, entry := range forEach {
		p, err := parseSubjectPath(entry.Value)
		if err != nil || p.container != len(p.steps) {
			return false
		}
	}
	return len(forEach) > 0
}

// doubtOverlaps tells of paths that may lead to the same subject, which then counts once for each of them.
func (d *doubter) doubtOverlaps(forEach []*yaml.Node) {
	paths := make([]*subjectPath, len(forEach))
	for i, entry := range forEach {
		paths[i], _ = parseSubjectPath(entry.Value) // it was read without a mistake
		for _, earlier := range paths[:i] {
			if paths[i].overlaps(earlier) {
				d.wrong(entry, "forEach: path %q may lead to what %q leads to: it counts twice then", entry.Value, earlier.source)
				break
			}
		}
	}
}

// A scope is what a condition is about.
type scope struct {
	subjects []*schemaType // the types that a subject may have; none where the schema does not know
	pod      bool          // the subject is the pod
	nothing  bool          // there is no subject
}

// scope finds out what the subjects of a check are.
func (d *doubter) scope(forEach *yaml.Node) scope {
	if d.Pods == nil {
		return scope{pod: forEach == nil}
	}
	if forEach == nil {
		return scope{pod: true, subjects: []*schemaType{d.Pods.root}}
	}
	s := scope{nothing: true}
	for _, entry := range entries(forEach) {
		p, err := parsePath(entry.Value)
		if err != nil {
			continue
		}
		to, wrong := d.Pods.root.find(p.steps)
		selects := p.steps[len(p.steps)-1].kind == stepAll
		switch {
		case wrong != nil:
			d.nowhere(entry, "forEach: path", d.Pods.root, p, wrong)
			continue
		case !selects && to.kinds&anArray == 0:
			d.wrong(entry, "forEach: path %q leads to %s, and not to a list", entry.Value, to.words())
			continue
		}
		element := to.schemaType
		if !selects && to.of != nil {
			element = to.of
		}
		if element.kinds&anObject == 0 {
			d.wrong(entry, "forEach: the elements of %q are no objects, and so no subjects: each is %s", entry.Value, element.words())
			continue
		}
		s.nothing = false
		s.subjects = append(s.subjects, element)
	}
	return s
}

// nowhere tells of a path that leads nowhere.
func (d *doubter) nowhere(node *yaml.Node, what string, from *schemaType, p *valuePath, wrong *misstep) {
	hint := ""
	if nearest := d.Pods.nearest(from, p, wrong); nearest != "" {
		hint = " (the nearest is " + nearest + ")"
	}
	d.wrong(node, "%s %q is nowhere in a Pod: %s%s", what, p.source, wrong.reason, hint)
}

func (d *doubter) doubtWaivers(node *yaml.Node) {
	for _, entry := range entries(node) {
		d.at = "waiver " + fieldValue(entry, "id")
		i := slices.IndexFunc(d.table.waivers, func(w *Waiver) bool { return w.ID == fieldValue(entry, "id") })
		if i < 0 {
			continue
		}
		w := d.table.waivers[i]
		switch {
		case !w.Active(d.Now):
			d.wrong(orElse(field(entry, "expires"), entry), "it has expired: its violations count")
		case w.namespace != "" && d.table.excludedBy(w.namespace) != "":
			d.wrong(field(entry, "namespace"), "it accepts nothing: the table leaves out the namespace %q", w.namespace)
		case isLiteral(w.namespace) && w.namespace != "" && !d.table.Includes(w.namespace):
			d.wrong(field(entry, "namespace"), "it accepts nothing: the table does not include the namespace %q", w.namespace)
		case w.container != "" && d.table.withoutContainer(w):
			d.wrong(field(entry, "container"), "it accepts nothing: its checks look at the pod, and not at containers")
		case w.container != "" && d.table.withoutSubjectsIn(w, true):
			d.wrong(field(entry, "container"), "container matches the subjects of its checks, which are not in containers; use subject: %s", w.container)
		case w.subject != "" && d.table.withoutSubjectsIn(w, false):
			d.wrong(field(entry, "subject"), "it accepts nothing: its checks look at pods or at whole containers; use container")
		case d.Accepting != nil && !d.Accepting[w.ID]:
			d.wrong(entry, "it accepts nothing in %s", d.Recording)
		}
	}
	d.at = ""
}

func orElse(node, otherwise *yaml.Node) *yaml.Node {
	if node == nil {
		return otherwise
	}
	return node
}

// withoutContainer tells whether all checks that a waiver is about look at the pod itself.
func (t *Table) withoutContainer(w *Waiver) bool {
	for i := range t.checks {
		if len(t.checks[i].ForEach) > 0 && (len(w.checks) == 0 || slices.Contains(w.checks, i)) {
			return false
		}
	}
	return true
}

// withoutSubjectsIn tells whether no check that a waiver is about looks at anything in a container, or at anything that is
// neither a container nor the pod.
func (t *Table) withoutSubjectsIn(w *Waiver, inContainer bool) bool {
	for _, g := range t.groups {
		for i := range g.forEach {
			where := &g.forEach[i]
			is := where.container > 0
			if !inContainer {
				is = where.container < len(where.steps)
			}
			if is && slices.ContainsFunc(g.checks, func(c int) bool { return len(w.checks) == 0 || slices.Contains(w.checks, c) }) {
				return false
			}
		}
	}
	return true
}

// Accepting lists the waivers that accept a violation of a pod, expired ones and those behind another one among them. The
// verdict is the table's own of the pod.
func (t *Table) Accepting(pod []byte, verdict Verdict) []*Waiver {
	if len(t.waivers) == 0 || len(verdict.Violations) == 0 {
		return nil
	}
	id := identify(parsed(pod))
	var accepting []*Waiver
	for _, w := range t.waivers {
		if w.isAbout(&id) && slices.ContainsFunc(verdict.Violations, w.concerns) {
			accepting = append(accepting, w)
		}
	}
	return accepting
}
