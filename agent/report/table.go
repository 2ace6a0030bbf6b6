package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// Table writes the report for people: the cluster, the namespaces and the workloads, worst first, what is waived, what is
// new, and what was read.
func Table(to io.Writer, scan *Scan, o Options) error {
	w := &tableWriter{to: bufio.NewWriter(to), scan: scan, o: o}
	w.incomplete()
	w.cluster()
	w.namespaces()
	w.workloads()
	w.waived()
	w.changes()
	if notes := scan.notes(); len(notes) > 0 {
		w.line("")
		for _, note := range notes {
			w.line("%s", note)
		}
	}
	return w.to.Flush() // which has the first error of all writes
}

type tableWriter struct {
	to   *bufio.Writer
	scan *Scan
	o    Options
}

func (w *tableWriter) line(format string, args ...any) {
	_, _ = fmt.Fprintf(w.to, format+"\n", args...) // the buffer keeps the error
}

// The colours, as a terminal knows them.
const (
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
)

func (w *tableWriter) in(color, text string) string {
	if !w.o.Color || color == "" {
		return text
	}
	return color + text + "\x1b[0m"
}

// gradeColor is green for the best grade of the table, red for the worst, yellow between them.
func gradeColor(table *rules.Table, grade string) string {
	grades := table.Grades()
	switch grade {
	case grades[0].Name:
		return green
	case grades[len(grades)-1].Name:
		return red
	}
	return yellow
}

func (w *tableWriter) incomplete() {
	left := w.scan.Inputs.LeftOut
	if len(left) == 0 {
		return
	}
	w.line("%s", w.in(bold+red, "INCOMPLETE: this report is on a part of the data. Left out:"))
	for i, text := range left {
		if w.o.Top > 0 && i == w.o.Top {
			w.line("  and %s more", number(len(left)-i))
			break
		}
		w.line("  %s", prose(text, 400))
	}
	w.line("")
}

func (w *tableWriter) cluster() {
	headline := w.scan.headline()
	if scores, ok := w.scan.Snapshot.Cluster(); ok {
		grade := shown(scores.Grade, 40)
		before, after, _ := strings.Cut(headline, ", "+grade+": ")
		headline = before + ", " + w.in(bold+gradeColor(w.scan.Snapshot.Table, scores.Grade), grade) + ": " + after
	}
	w.line("%s", headline)
	w.line("%s", w.in(dim, "Policy "+name(w.scan.Snapshot.Table.Name())+", "+shortHash(w.scan.Snapshot.Table)))
}

// shortHash is enough of the hash to tell two tables apart.
func shortHash(table *rules.Table) string { return head(table.Hash(), len("sha256:")+12) }

func (w *tableWriter) namespaces() {
	rows, others := w.scan.worstNamespaces(w.o.Top)
	if len(rows) == 0 {
		return
	}
	g := grid{
		{head: "NAMESPACE", least: 12}, {head: "PODS", right: true}, {head: "COMPLIANCE", right: true}, {head: "SCORE", right: true},
		{head: "GRADE", least: 8}, {head: "VIOLATIONS", least: 20},
	}
	var cells [][]gridCell
	for _, ns := range rows {
		row := []gridCell{{text: name(ns.Name)}, {text: number(ns.TotalPods)}, {text: "no data"}, {text: "-"}, {text: "-"}, {}}
		if ns.hasScores {
			color := gradeColor(w.scan.Snapshot.Table, ns.Grade)
			row[2], row[3] = gridCell{text: percent(ns.Compliance), color: color}, gridCell{text: fmt.Sprintf("%.2f", ns.Score)}
			row[4], row[5] = gridCell{text: shown(ns.Grade, 40), color: color}, gridCell{items: w.scan.checkCounts(ns.Violations)}
		}
		cells = append(cells, row)
	}
	w.grid(g, cells)
	w.more(others, "namespace")
}

func (w *tableWriter) workloads() {
	rows, others := w.scan.worstWorkloads(w.o.Top, nil)
	if len(rows) == 0 {
		return
	}
	g := grid{
		{head: "NAMESPACE", least: 12}, {head: "WORKLOAD", least: 18}, {head: "PODS", right: true}, {head: "POINTS", right: true},
		{head: "VIOLATIONS", least: 20},
	}
	var cells [][]gridCell
	for _, of := range rows {
		cells = append(cells, []gridCell{
			{text: name(of.namespace)}, {text: name(of.workload.String())}, {text: number(of.pods)}, {text: number(of.points)},
			{items: w.scan.checkCounts(of.violations)},
		})
	}
	w.grid(g, cells)
	w.more(others, "workload")
}

func (w *tableWriter) waived() {
	rows := w.scan.waivers()
	if len(rows) == 0 {
		return
	}
	others := 0
	if w.o.Top > 0 && len(rows) > w.o.Top {
		rows, others = rows[:w.o.Top], len(rows)-w.o.Top
	}
	var cells [][]gridCell
	for _, row := range rows {
		cells = append(cells, []gridCell{
			{text: name(row.waiver.ID)}, {text: expiry(row.waiver)}, {text: name(row.namespace)}, {items: w.scan.checkCounts(row.violations)},
		})
	}
	w.grid(grid{{head: "WAIVED BY", least: 12}, {head: "UNTIL"}, {head: "NAMESPACE", least: 12}, {head: "IN NO SCORE", least: 20}}, cells)
	w.more(others, "waiver")
}

// changes are what is new and what is resolved.
func (w *tableWriter) changes() {
	b := w.o.Baseline
	if b == nil {
		return
	}
	w.line("")
	w.line("%s", w.in(bold, b.headline()))
	if text := b.otherPolicy(w.scan); text != "" {
		w.line("%s", text)
	}
	first, others := b.New, 0
	if w.o.Top > 0 && len(first) > w.o.Top {
		first, others = first[:w.o.Top], len(first)-w.o.Top
	}
	if len(first) > 0 {
		var cells [][]gridCell
		for i := range first {
			f := &first[i]
			cells = append(cells, []gridCell{
				{text: f.Check.ID, color: red}, {text: name(f.Namespace)}, {text: name(f.Workload.String())}, {text: subjectName(f.Subject())},
				{text: number(f.Violations)},
			})
		}
		w.grid(grid{{head: "NEW", least: 12}, {head: "NAMESPACE", least: 12}, {head: "WORKLOAD", least: 18}, {head: "SUBJECT", least: 8}, {head: "VIOLATIONS", right: true}}, cells)
		w.more(others, "new finding")
	}
	resolved := b.Resolved
	if w.o.Top > 0 && len(resolved) > w.o.Top {
		resolved = resolved[:w.o.Top]
	}
	if len(resolved) > 0 {
		var cells [][]gridCell
		for _, k := range resolved {
			cells = append(cells, []gridCell{{text: name(k.Check), color: green}, {text: name(k.Namespace)}, {text: name(k.owner())}, {text: subjectName(k.Subject)}})
		}
		w.grid(grid{{head: "RESOLVED", least: 12}, {head: "NAMESPACE", least: 12}, {head: "WORKLOAD", least: 18}, {head: "SUBJECT", least: 8}}, cells)
		w.more(len(b.Resolved)-len(resolved), "resolved finding")
	}
}

// subjectName is a subject for people.
func subjectName(subject string) string {
	if subject == "" {
		return "the pod"
	}
	return name(subject)
}

func (w *tableWriter) more(n int, what string) {
	if n > 0 {
		w.line("%s", w.in(dim, moreText(n, what)))
	}
}

// A grid is the columns of a table.
type grid []column

type column struct {
	head  string
	right bool
	// least is how narrow the column may get, in characters; 0 for one that keeps its width.
	least int
}

// A gridCell is a text, or items of which as many are shown as fit.
type gridCell struct {
	text  string
	items []string
	color string
}

// within is the text of a cell in so many characters.
func (c gridCell) within(width int) string {
	if len(c.items) == 0 {
		return clipped(c.text, width)
	}
	all := strings.Join(c.items, ", ")
	if utf8.RuneCountInString(all) <= width {
		return all
	}
	text := ""
	for i, item := range c.items {
		longer := item
		if i > 0 {
			longer = text + ", " + item
		}
		rest := ", +" + strconv.Itoa(len(c.items)-i-1)
		if utf8.RuneCountInString(longer+rest) > width {
			if i == 0 {
				return clipped(item, width)
			}
			return text + ", +" + strconv.Itoa(len(c.items)-i)
		}
		text = longer
	}
	return text
}

// gap is how far columns stand apart.
const gap = 2

// grid writes an empty line, the heads and the rows, as wide as the options say where that can be.
func (w *tableWriter) grid(g grid, rows [][]gridCell) {
	widths := make([]int, len(g))
	for i, c := range g {
		widths[i] = len(c.head)
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].within(1<<20)))
		}
	}
	if w.o.Width > 0 {
		g.narrow(widths, w.o.Width)
	}
	w.line("")
	heads := make([]gridCell, len(g))
	for i, c := range g {
		heads[i] = gridCell{text: c.head, color: bold}
	}
	w.row(g, widths, heads)
	for _, row := range rows {
		w.row(g, widths, row)
	}
}

// narrow takes characters from the widest columns that may lose some, until the lines fit or none may.
func (g grid) narrow(widths []int, width int) {
	over := gap*(len(g)-1) - width
	for _, columnWidth := range widths {
		over += columnWidth
	}
	for ; over > 0; over-- {
		widest := -1
		for i, c := range g {
			if c.least > 0 && widths[i] > max(c.least, len(c.head)) && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

func (w *tableWriter) row(g grid, widths []int, cells []gridCell) {
	var line strings.Builder
	for i, c := range cells {
		text := c.within(widths[i])
		space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
		if g[i].right {
			line.WriteString(space + w.in(c.color, text))
		} else {
			line.WriteString(w.in(c.color, text) + space)
		}
		line.WriteString(strings.Repeat(" ", gap))
	}
	w.line("%s", strings.TrimRight(line.String(), " "))
}

// Explain says where the points of a namespace went: by check and by workload, and what the score and the compliance
// would be if that were mended. The error of a namespace that is not there names those that are spelled alike.
func Explain(to io.Writer, scan *Scan, namespace string, o Options) error {
	snap := scan.Snapshot
	var ns *state.NamespaceSnapshot
	names := make([]string, len(snap.Namespaces))
	for i := range snap.Namespaces {
		if names[i] = snap.Namespaces[i].Name; names[i] == namespace {
			ns = &snap.Namespaces[i]
		}
	}
	if ns == nil {
		return noNamespace(snap.Table, namespace, names)
	}
	w := &tableWriter{to: bufio.NewWriter(to), scan: scan, o: o}
	w.incomplete()
	scores, ok := ns.Scores(snap.Table)
	if !ok {
		w.line("Namespace %s: no data, of its %s there is no verdict.", name(namespace), counted(ns.Unevaluated, "pod"))
		return w.to.Flush()
	}
	w.line("Namespace %s: compliance %s, score %.2f, %s: %s, %s, %s lost of %s.", name(namespace), percent(scores.Compliance), scores.Score,
		w.in(bold+gradeColor(snap.Table, scores.Grade), shown(scores.Grade, 40)), counted(ns.TotalPods, "pod"),
		counted(sum(ns.Violations), "violation"), counted(points(snap.Table, ns.Violations), "point"), number(points(snap.Table, ns.Subjects)))
	w.explainChecks(ns)
	w.explainWorkloads(ns)
	if n := sum(ns.Waived); n > 0 {
		w.line("")
		w.line("%s waived and in no score: %s.", counted(n, "violation"), strings.Join(scan.checkCounts(ns.Waived), ", "))
	}
	if ns.Unevaluated > 0 {
		w.line("")
		w.line("Of %s there is no verdict: they are in no score.", counted(ns.Unevaluated, "pod"))
	}
	return w.to.Flush()
}

func noNamespace(table *rules.Table, namespace string, names []string) error {
	if !table.Includes(namespace) {
		return fmt.Errorf("the policy leaves out namespace %q", head(namespace, 100))
	}
	if len(names) == 0 {
		return fmt.Errorf("no pods in namespace %q, nor in any other", head(namespace, 100))
	}
	near := nearest(namespace, names, 3)
	if len(near) == 0 {
		return fmt.Errorf("no pods in namespace %q (of %s)", head(namespace, 100), counted(len(names), "namespace"))
	}
	for i := range near {
		near[i] = strconv.Quote(head(near[i], 100))
	}
	return fmt.Errorf("no pods in namespace %q; did you mean %s?", head(namespace, 100), strings.Join(near, " or "))
}

func points(table *rules.Table, counts []int) int {
	total := 0
	for i, check := range table.Checks() {
		total += counts[i] * check.Weight
	}
	return total
}

// without are the scores of a namespace whose violations are fewer by so many of each check. The subjects stay: they are
// then in order.
func without(table *rules.Table, ns *state.NamespaceSnapshot, fewer []int) state.Scores {
	left := ns.LiveMetrics
	left.Violations = make([]int, len(fewer))
	for i := range fewer {
		left.Violations[i] = ns.Violations[i] - fewer[i]
	}
	scores, _ := left.Scores(table) // it has pods, as before
	return scores
}

// gain are the cells of what mending gives back: the scores as they would be, and by how much the compliance rises.
func (w *tableWriter) gain(ns *state.NamespaceSnapshot, fewer []int) []gridCell {
	table := w.scan.Snapshot.Table
	before, _ := ns.Scores(table)
	after := without(table, ns, fewer)
	return []gridCell{
		{text: percent(after.Compliance), color: gradeColor(table, after.Grade)}, {text: "+" + strings.TrimSuffix(percent(after.Compliance-before.Compliance), " %")},
		{text: fmt.Sprintf("%.2f", after.Score)}, {text: shown(after.Grade, 40), color: gradeColor(table, after.Grade)},
	}
}

var gainColumns = grid{{head: "COMPLIANCE", right: true}, {head: "GAIN", right: true}, {head: "SCORE", right: true}, {head: "GRADE", least: 8}}

func (w *tableWriter) explainChecks(ns *state.NamespaceSnapshot) {
	checks := w.scan.Snapshot.Table.Checks()
	order := worst[int]{compare: func(a, b int) int {
		return cmp.Or(cmp.Compare(ns.Violations[b]*checks[b].Weight, ns.Violations[a]*checks[a].Weight), cmp.Compare(a, b))
	}}
	for i := range checks {
		if ns.Violations[i] > 0 {
			order.add(i)
		}
	}
	var cells [][]gridCell
	first, _ := order.trim()
	if len(first) == 0 {
		w.line("Nothing was lost.")
		return
	}
	for _, i := range first {
		fewer := make([]int, len(checks))
		fewer[i] = ns.Violations[i]
		row := []gridCell{
			{text: checks[i].ID}, {text: number(ns.Violations[i]) + " of " + number(ns.Subjects[i])}, {text: number(checks[i].Weight)},
			{text: number(ns.Violations[i] * checks[i].Weight)},
		}
		cells = append(cells, append(row, w.gain(ns, fewer)...))
	}
	w.grid(append(grid{{head: "CHECK MENDED", least: 12}, {head: "VIOLATIONS", right: true}, {head: "WEIGHT", right: true}, {head: "POINTS", right: true}}, gainColumns...), cells)
}

func (w *tableWriter) explainWorkloads(ns *state.NamespaceSnapshot) {
	rows, others := w.scan.worstWorkloads(w.o.Top, &ns.Name)
	if len(rows) == 0 {
		return
	}
	var cells [][]gridCell
	for _, of := range rows {
		row := []gridCell{{text: name(of.workload.String())}, {text: number(sum(of.violations))}, {text: number(of.pods)}, {text: number(of.points)}}
		cells = append(cells, append(row, w.gain(ns, of.violations)...))
	}
	w.grid(append(grid{{head: "WORKLOAD MENDED", least: 16}, {head: "VIOLATIONS", right: true}, {head: "PODS", right: true}, {head: "POINTS", right: true}}, gainColumns...), cells)
	w.more(others, "workload")
}
