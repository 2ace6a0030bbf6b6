package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/page/base"
	"github.com/kube-devops/kube-devops/rules"
)

// Table writes the report for a terminal: the cluster, the namespaces and workloads (worst first), the waived and the new violations, the
// findings in manifests, how to fix them, and the inputs. A long report repeats its first line at the end.
func Table(to io.Writer, scan *Scan, o Options) error {
	w := &tableWriter{to: bufio.NewWriter(to), scan: scan, o: o}
	w.incomplete()
	w.cluster()
	w.namespaces()
	w.workloads()
	w.waived()
	w.changes()
	w.refused()
	w.fixes(w.findings())
	if notes := scan.notes(); len(notes) > 0 {
		w.line("")
		for _, note := range notes {
			w.wrapped(note, "  ")
		}
	}
	if w.lines > cmp.Or(o.Height, longTable) {
		w.line("")
		w.headline()
	}
	return w.to.Flush() // returns the first error of all writes
}

// longTable is the number of lines after which the headline is repeated at the end, if the height of the terminal is unknown.
const longTable = 40

type tableWriter struct {
	to    *bufio.Writer
	scan  *Scan
	o     Options
	lines int
}

func (w *tableWriter) line(format string, args ...any) {
	w.lines++
	_, _ = fmt.Fprintf(w.to, format+"\n", args...) // the buffer keeps the error
}

// wrapped breaks a text into lines that fit the terminal. All lines but the first are indented.
func (w *tableWriter) wrapped(text, indent string) {
	for _, line := range Wrap(text, w.o.Width, indent) {
		w.line("%s", line)
	}
}

// The escape sequences of a terminal.
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

// gradeColor is green for the best grade of the table, red for the last, and yellow for the others.
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
	left := w.scan.Inputs.Unreadable
	if len(left) == 0 {
		return
	}
	for _, line := range Wrap("INCOMPLETE: some inputs could not be read, and are not included in the numbers below:", w.o.Width, "") {
		w.line("%s", w.in(bold+red, line))
	}
	for i, text := range left {
		if w.o.Top > 0 && i == w.o.Top {
			w.line("  and %s more", number(len(left)-i))
			break
		}
		w.wrapped("  "+prose(text, 400), "    ")
	}
	w.line("")
}

func (w *tableWriter) cluster() {
	w.headline()
	for _, line := range Wrap("Policy "+name(w.scan.Snapshot.Table.Name())+", "+shortHash(w.scan.Snapshot.Table), w.o.Width, "  ") {
		w.line("%s", w.in(dim, line))
	}
	if categories := w.scan.byCategory(); categories != "" {
		w.wrapped("Violations by category: "+categories+".", "  ")
	}
}

// headline writes the result of the cluster on one line, with the grade in its color. If the line is too long, the severities go on a
// line of their own.
func (w *tableWriter) headline() {
	color, grade := "", ""
	if scores, ok := w.scan.Snapshot.Cluster(); ok {
		color, grade = bold+gradeColor(w.scan.Snapshot.Table, scores.Grade), ", "+display(scores.Grade, 40)+":"
	}
	text := w.scan.headline()
	lines := []string{text}
	if w.o.Width > 0 && utf8.RuneCountInString(text) > w.o.Width {
		before, severities, _ := strings.Cut(text, " (")
		lines = Wrap(before, w.o.Width, "  ")
		if severities != "" {
			lines = append(lines, Wrap("  ("+severities, w.o.Width, "  ")...)
		}
	}
	for i, line := range lines {
		if before, after, ok := strings.Cut(line, grade); i == 0 && ok && grade != "" {
			line = before + ", " + w.in(color, strings.Trim(grade, ", :")) + ":" + after
		}
		w.line("%s", line)
	}
}

// gradeClass puts a grade of the table into one of four classes: best, fair, poor or worst.
func gradeClass(table *rules.Table, grade string) string {
	grades := table.Grades()
	names := make([]string, len(grades))
	for i, g := range grades {
		names[i] = g.Name
	}
	return base.GradeClass(names, grade)
}

// shortHash is a prefix of the hash that distinguishes tables.
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
			row[4], row[5] = gridCell{text: display(ns.Grade, 40), color: color}, gridCell{items: w.scan.checkCounts(ns.Violations)}
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
			{text: name(of.namespace)}, {text: of.label}, {text: number(of.pods)}, {text: number(of.points)},
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
	w.grid(grid{{head: "WAIVED BY", least: 12}, {head: "UNTIL"}, {head: "NAMESPACE", least: 12}, {head: "WAIVED", least: 20}}, cells)
	w.more(others, "waiver")
}

// changes writes the new and the resolved findings.
func (w *tableWriter) changes() {
	b := w.o.Baseline
	if b == nil {
		return
	}
	w.line("")
	for _, line := range Wrap(b.headline(), w.o.Width, "  ") {
		w.line("%s", w.in(bold, line))
	}
	if text := b.otherPolicy(w.scan); text != "" {
		w.wrapped(text, "  ")
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
				{text: f.id(), color: red}, {text: name(f.Namespace)}, {text: f.owner}, {text: subjectName(f.label())},
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
			cells = append(cells, []gridCell{{text: name(k.Check), color: green}, {text: name(k.Namespace)}, {text: name(k.owner())}, {text: subjectName(k.label())}})
		}
		w.grid(grid{{head: "RESOLVED", least: 12}, {head: "NAMESPACE", least: 12}, {head: "WORKLOAD", least: 18}, {head: "SUBJECT", least: 8}}, cells)
		w.more(len(b.Resolved)-len(resolved), "resolved finding")
	}
}

// findings lists the findings in manifests, one per line, and reports whether there are any.
func (w *tableWriter) findings() bool {
	found := worst[Finding]{most: w.o.Findings, compare: compareCosts}
	for _, all := range w.scan.findings(w.o.Baseline) {
		for i := range all {
			if all[i].Waiver == nil && all[i].isManifest() {
				found.add(all[i])
			}
		}
	}
	first, others := found.trim()
	if len(first) == 0 {
		return false
	}
	// Findings of one severity are sorted by file, because people fix one file at a time.
	slices.SortStableFunc(first, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Check.Severity.Rank(), b.Check.Severity.Rank()), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	w.line("")
	w.line("%s", w.in(bold, "FINDINGS, WORST FIRST"))
	for i := range first {
		f := &first[i]
		subject := cmp.Or(f.label(), f.Workload.String())
		id := f.id()
		if f.New {
			id += " (new)"
		}
		lines := Wrap(f.place()+"  "+name(subject)+"  "+id+": "+prose(f.message(), 600), w.o.Width, "    ")
		for j, line := range lines {
			if before, after, ok := strings.Cut(line, "  "+id+":"); j == 0 && ok {
				line = before + "  " + w.in(severityColor(f.Check.Severity), id) + ":" + after
			}
			w.line("%s", line)
		}
	}
	w.more(others, "finding")
	return true
}

// severityColor is red for the severities that SARIF calls errors, and yellow for warnings.
func severityColor(s rules.Severity) string {
	switch sarifLevel(s) {
	case "error":
		return red
	case "warning":
		return yellow
	}
	return ""
}

// fixes writes what to do about each check that has violations, sorted by severity and points. If no findings were listed, it also
// writes what is wrong.
func (w *tableWriter) fixes(listed bool) {
	checks, counts := w.scan.Snapshot.Table.Checks(), w.scan.Snapshot.Totals().Violations
	order := worst[int]{compare: func(a, b int) int {
		return cmp.Or(cmp.Compare(checks[a].Severity.Rank(), checks[b].Severity.Rank()), cmp.Compare(counts[b]*checks[b].Weight, counts[a]*checks[a].Weight), cmp.Compare(a, b))
	}}
	for i := range checks {
		if counts[i] > 0 && (!listed || checks[i].Remediation != "") {
			order.add(i)
		}
	}
	first, _ := order.trim()
	for _, group := range byCategory(w.scan.Snapshot.Table, first) {
		heading := "HOW TO FIX"
		if group.Name != "" {
			heading += ": " + strings.ToUpper(group.Name)
		}
		w.line("")
		w.line("%s", w.in(bold, heading))
		for _, i := range group.Checks {
			w.fix(&checks[i], counts[i], listed)
		}
	}
}

func (w *tableWriter) fix(c *rules.Check, violations int, listed bool) {
	text := prose(c.Remediation, 600)
	if !listed {
		text = strings.TrimSpace(strings.TrimSuffix(prose(c.Message(), 300), ".") + ". " + text)
	}
	lines := Wrap(fmt.Sprintf("%s (%s, %s): %s", c.ID, c.Severity, english.Plural(violations, "violation", ""), text), w.o.Width, "    ")
	lines[0] = w.in(severityColor(c.Severity), c.ID) + strings.TrimPrefix(lines[0], c.ID)
	for _, line := range lines {
		w.line("%s", line)
	}
}

// subjectName names a subject for readers.
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
