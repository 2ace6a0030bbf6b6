package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/rules"
)

// DocumentScores writes the cluster and the namespaces of a report, worst first.
func DocumentScores(to io.Writer, doc *Document, o Options) error {
	w := &tableWriter{to: bufio.NewWriter(to), o: o}
	w.documentHead(doc)
	rows := slices.SortedFunc(slices.Values(doc.Namespaces), compareNamespaces)
	others := 0
	if o.Top > 0 && len(rows) > o.Top {
		rows, others = rows[:o.Top], len(rows)-o.Top
	}
	var cells [][]gridCell
	for i := range rows {
		ns := &rows[i]
		cells = append(cells, append([]gridCell{{text: name(ns.Namespace)}, {text: number(ns.Pods)}}, append(scoreCells(ns.DocumentCounts), gridCell{items: byCount(nonzero(ns.Violations))})...))
	}
	if len(cells) > 0 {
		w.grid(append(append(grid{{head: "NAMESPACE", least: 12}, {head: "PODS", right: true}}, scoreColumns...), column{head: "VIOLATIONS", least: 20}), cells)
		w.more(others, "namespace")
	}
	w.documentNotes(doc)
	return w.to.Flush()
}

var scoreColumns = grid{{head: "COMPLIANCE", right: true}, {head: "SCORE", right: true}, {head: "GRADE", least: 8}}

// scoreCells returns the cells for compliance, score and grade.
func scoreCells(c DocumentCounts) []gridCell {
	cells := []gridCell{{text: "no data"}, {text: "-"}, {text: "-"}}
	if c.Compliance != nil {
		cells[0].text = percent(*c.Compliance)
	}
	if c.Score != nil {
		cells[1].text = fmt.Sprintf("%.2f", *c.Score)
	}
	if c.Grade != nil {
		cells[2].text = display(*c.Grade, 40)
	}
	return cells
}

// compareNamespaces compares namespaces for sorting, worst first. Namespaces without data come last.
func compareNamespaces(a, b DocumentNamespace) int {
	return cmp.Or(compareCompliances(a.Compliance, b.Compliance), cmp.Compare(a.Namespace, b.Namespace))
}

func compareCompliances(a, b *float64) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Compare(*a, *b)
}

func nonzero(counts map[string]int) map[string]int {
	counts = maps.Clone(counts)
	maps.DeleteFunc(counts, func(_ string, n int) bool { return n <= 0 })
	return counts
}

func (c *DocumentCounts) violations() int {
	total := 0
	for _, n := range c.Violations {
		total += n
	}
	return total
}

// documentHead writes the result of the cluster and its policy, and a warning if the report is incomplete.
func (w *tableWriter) documentHead(doc *Document) {
	if len(doc.Incomplete) > 0 {
		w.line("%s", w.in(bold+red, "INCOMPLETE: some inputs could not be read, and are not included in the numbers below."))
	}
	c := &doc.Cluster
	text := fmt.Sprintf("Cluster: no data: %s.", english.Plural(c.Pods, "pod", ""))
	if c.Compliance != nil {
		cells := scoreCells(*c)
		text = fmt.Sprintf("Cluster: compliance %s, score %s, %s: %s, %s, %s.", cells[0].text, cells[1].text, cells[2].text,
			english.Plural(c.Count, "namespace", ""), english.Plural(c.Pods, "pod", ""), english.Plural(c.violations(), "violation", ""))
	}
	for _, line := range Wrap(text, w.o.Width, "  ") {
		w.line("%s", w.in(bold, line))
	}
	for _, line := range Wrap("Policy "+doc.Policy.String(), w.o.Width, "  ") {
		w.line("%s", w.in(dim, line))
	}
}

// String returns the name of a policy with a prefix of its hash, because different tables may have the same name.
func (p PolicyName) String() string {
	return name(p.Name) + ", " + printable(head(p.Hash, len("sha256:")+12))
}

// documentNotes writes the namespaces that the agent watches, and the warnings.
func (w *tableWriter) documentNotes(doc *Document) {
	var notes []string
	if doc.Scope != nil {
		notes = append(notes, "The agent watches only "+listed(names(doc.Scope.Namespaces), 10)+".")
		if len(doc.Scope.Forbidden) > 0 {
			notes = append(notes, "It may not list the pods of "+listed(names(doc.Scope.Forbidden), 10)+".")
		}
	}
	for i, warning := range doc.Warnings {
		if i == waiverNames {
			notes = append(notes, moreText(len(doc.Warnings)-i, "warning")+".")
			break
		}
		notes = append(notes, prose(warning, 400))
	}
	if len(notes) > 0 {
		w.line("")
	}
	for _, note := range notes {
		w.wrapped(note, "  ")
	}
}

func names(texts []string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = name(text)
	}
	return out
}

// A documentFinding is the same violation in one or more pods.
type documentFinding struct {
	DocumentViolation
	pods   []string
	points int
}

// documentFindings groups violations by finding, most severe and most points first.
func documentFindings(violations []DocumentViolation) []*documentFinding {
	type key struct{ workload, check, container, subject, message string }
	at := make(map[key]*documentFinding)
	var found []*documentFinding
	for _, v := range violations {
		k := key{v.Workload, v.Check, v.Container, cmp.Or(v.Subject, v.Path), v.Message}
		if v.Container != "" && v.Subject == "" {
			k.subject = ""
		}
		f := at[k]
		if f == nil {
			f = &documentFinding{DocumentViolation: v}
			at[k] = f
			found = append(found, f)
		}
		f.points += v.Weight
		if !slices.Contains(f.pods[max(0, len(f.pods)-1):], v.Pod) { // those of one pod follow one another
			f.pods = append(f.pods, v.Pod)
		}
	}
	slices.SortStableFunc(found, func(a, b *documentFinding) int {
		return cmp.Or(cmp.Compare(severityOrder(a.Severity), severityOrder(b.Severity)), cmp.Compare(b.points, a.points), cmp.Compare(a.Check, b.Check))
	})
	return found
}

// severityOrder returns the rank of a severity. A severity that this version does not know comes last.
func severityOrder(s rules.Severity) int {
	if rank := s.Rank(); rank >= 0 {
		return rank
	}
	return len(rules.Severities())
}

func (f *documentFinding) place() string {
	text := name(cmp.Or(f.Workload, f.Pod))
	if more := len(f.pods) - 1; more > 0 {
		if f.Workload != "" {
			return text + " (" + english.Plural(more+1, "pod", "") + ")"
		}
		text += " and " + english.Plural(more, "more pod", "")
	}
	return text
}

func (f *documentFinding) id() string {
	if f.Unknown {
		return name(f.Check) + " (unknown)"
	}
	return name(f.Check)
}

// NamespaceNotFound returns the error for a namespace that the report does not have.
func (doc *Document) NamespaceNotFound(namespace string) error {
	all := make([]string, len(doc.Namespaces))
	for i := range all {
		all[i] = doc.Namespaces[i].Namespace
	}
	near := nearest(namespace, all, 3)
	for i := range near {
		near[i] = strconv.Quote(head(near[i], 100))
	}
	if len(near) > 0 {
		return fmt.Errorf("no pods in namespace %q; did you mean %s?", head(namespace, 100), strings.Join(near, " or "))
	}
	return fmt.Errorf("no pods in namespace %q (of %s), or the policy excludes it", head(namespace, 100), english.Plural(len(all), "namespace", ""))
}

// find returns a namespace; nil if there is none.
func (doc *Document) find(namespace string) *DocumentNamespace {
	for i := range doc.Namespaces {
		if doc.Namespaces[i].Namespace == namespace {
			return &doc.Namespaces[i]
		}
	}
	return nil
}

// DocumentExplain writes the findings of a namespace, with their points, messages and remediations.
func DocumentExplain(to io.Writer, doc *Document, namespace string, o Options) error {
	ns := doc.find(namespace)
	if ns == nil {
		return doc.NamespaceNotFound(namespace)
	}
	w := &tableWriter{to: bufio.NewWriter(to), o: o}
	cells := scoreCells(ns.DocumentCounts)
	for _, line := range Wrap(fmt.Sprintf("Namespace %s: compliance %s, score %s, %s: %s, %s.", name(ns.Namespace), cells[0].text, cells[1].text, cells[2].text,
		english.Plural(ns.Pods, "pod", ""), english.Plural(ns.violations(), "violation", "")), o.Width, "  ") {
		w.line("%s", w.in(bold, line))
	}
	found := documentFindings(doc.Violations)
	if len(found) == 0 {
		w.line("No penalty points.")
	}
	w.documentChecks(ns, found)
	w.documentFindings(found)
	w.documentFixes(found)
	if n := len(doc.Waived); n > 0 {
		w.line("")
		w.wrapped(english.Plural(n, "violation", "")+" waived: excluded from all scores.", "  ")
	}
	return w.to.Flush()
}

// documentChecks writes the points of each check, and how much a fix raises the compliance.
func (w *tableWriter) documentChecks(ns *DocumentNamespace, found []*documentFinding) {
	points, violations := make(map[string]int), make(map[string]int)
	total := 0
	for _, f := range found {
		points[f.Check] += f.points
		violations[f.Check] += f.points / max(1, f.Weight)
		total += f.points
	}
	order := slices.SortedFunc(maps.Keys(points), func(a, b string) int { return cmp.Or(cmp.Compare(points[b], points[a]), cmp.Compare(a, b)) })
	var cells [][]gridCell
	for _, check := range order {
		gain := "-"
		if ns.Compliance != nil && total > 0 {
			gain = fmt.Sprintf("%+.1f", (100-*ns.Compliance)*float64(points[check])/float64(total))
		}
		cells = append(cells, []gridCell{{text: name(check)}, {text: number(violations[check])}, {text: number(points[check])}, {text: gain}})
	}
	if len(cells) > 0 {
		w.grid(grid{{head: "CHECK", least: 12}, {head: "VIOLATIONS", right: true}, {head: "POINTS", right: true}, {head: "GAIN", right: true}}, cells)
	}
}

func (w *tableWriter) documentFindings(found []*documentFinding) {
	if len(found) == 0 {
		return
	}
	others := 0
	if w.o.Findings > 0 && len(found) > w.o.Findings {
		found, others = found[:w.o.Findings], len(found)-w.o.Findings
	}
	w.line("")
	w.line("%s", w.in(bold, "FINDINGS, WORST FIRST"))
	for _, f := range found {
		parts := []string{f.place()}
		if label := subjectLabel(f.Container, f.Subject); label != "" {
			parts = append(parts, name(label))
		}
		place := strings.Join(parts, "  ")
		lines := Wrap(place+"  "+f.id()+": "+prose(f.Message, 600), w.o.Width, "    ")
		if after, ok := strings.CutPrefix(lines[0], place+"  "+f.id()); ok {
			lines[0] = place + "  " + w.in(severityColor(f.Severity), f.id()) + after
		}
		for _, line := range lines {
			w.line("%s", line)
		}
	}
	w.more(others, "finding")
}

// documentFixes writes the remediation of each check.
func (w *tableWriter) documentFixes(found []*documentFinding) {
	seen := make(map[string]bool)
	for _, f := range found {
		if seen[f.Check] || f.Remediation == "" {
			continue
		}
		if len(seen) == 0 {
			w.line("")
			w.line("%s", w.in(bold, "HOW TO FIX"))
		}
		seen[f.Check] = true
		id := name(f.Check)
		lines := Wrap(fmt.Sprintf("%s (%s): %s", id, prose(string(f.Severity), 20), prose(f.Remediation, 600)), w.o.Width, "    ")
		lines[0] = w.in(severityColor(f.Severity), id) + strings.TrimPrefix(lines[0], id)
		for _, line := range lines {
			w.line("%s", line)
		}
	}
}
