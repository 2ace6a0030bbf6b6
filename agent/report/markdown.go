package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/dustin/go-humanize/english"
)

// markdownSize is GitHub's limit for a comment, in characters. A text never has more characters than bytes.
const markdownSize = 65_536

// Markdown writes a comment for a pull request: the cluster, the changes, the namespaces, the findings with their remediation, and details
// that a reader unfolds. It has at most 65,536 bytes, and says what was left out.
func Markdown(to io.Writer, scan *Scan, o Options) error {
	w := &markdownWriter{scan: scan, o: o}
	w.headline()
	w.changes()
	w.namespaces()
	w.findings()
	w.workloads()
	w.waived()
	w.checks()
	if notes := scan.notes(); len(notes) > 0 {
		text := "\n"
		for _, note := range notes {
			text += "- " + markdownText(note) + "\n"
		}
		w.put(text)
	}
	w.put(fmt.Sprintf("\n<sub>Policy %s, %s</sub>\n", markdownText(name(scan.Snapshot.Table.Name())), shortHash(scan.Snapshot.Table)))
	if len(w.cut) > 0 {
		w.to.WriteString("\nCut to the size of a comment: " + strings.Join(w.cut, ", ") + ".\n")
	}
	_, err := io.WriteString(to, w.to.String())
	return err
}

type markdownWriter struct {
	scan *Scan
	o    Options
	to   strings.Builder
	cut  []string
}

// reserved is the size of what closes a folded part and says what was left out, in bytes.
const reserved = 1024

// put writes a text if it fits, and reports whether it did.
func (w *markdownWriter) put(text string) bool {
	if w.to.Len()+len(text) > markdownSize-reserved {
		return false
	}
	w.to.WriteString(text)
	return true
}

// table writes the rows of a table that fit. others is the number of rows that the caller left out.
func (w *markdownWriter) table(what, head string, rows, others int, row func(i int) string) {
	if rows == 0 || !w.put(head) {
		if rows > 0 {
			w.cut = append(w.cut, english.Plural(rows+others, what, ""))
		}
		return
	}
	for i := range rows {
		if !w.put(row(i)) {
			w.cut = append(w.cut, english.Plural(rows-i, what, ""))
			others += rows - i
			break
		}
	}
	if others > 0 {
		w.to.WriteString("\n" + moreText(others, what) + "\n") // uses the reserved bytes
	}
}

// folded writes a part that a reader can unfold.
func (w *markdownWriter) folded(title string, part func()) {
	if !w.put("\n<details><summary>" + title + "</summary>\n\n") {
		w.cut = append(w.cut, title)
		return
	}
	part()
	w.to.WriteString("\n</details>\n")
}

func (w *markdownWriter) headline() {
	scores, ok := w.scan.Snapshot.Cluster()
	sign := "⚪ "
	if ok {
		sign = map[string]string{"best": "🟢 ", "fair": "🟡 ", "poor": "🟠 ", "worst": "🔴 "}[gradeClass(w.scan.Snapshot.Table, scores.Grade)]
	}
	w.put("### " + sign + markdownText(w.scan.headline()) + "\n")
	if categories := w.scan.byCategory(); categories != "" {
		w.put("\nViolations by category: " + categories + ".\n")
	}
	if len(w.scan.Admission) > 0 {
		w.put("\n**" + markdownText(refusedHeadline(w.o.Refusals)) + ".**\n")
	}
	left := w.scan.Inputs.Unreadable
	if len(left) == 0 {
		return
	}
	w.put("\n> [!WARNING]\n> **Incomplete: some inputs could not be read, and are not included in the numbers.** Left out:\n>\n")
	for i, text := range left {
		if i == 20 {
			w.put("> - and " + number(len(left)-i) + " more\n")
			break
		}
		w.put("> - " + markdownText(prose(text, 400)) + "\n")
	}
}

func (w *markdownWriter) changes() {
	b := w.o.Baseline
	if b == nil {
		return
	}
	w.put("\n**" + markdownText(b.headline()) + "**\n")
	if text := b.otherPolicy(w.scan); text != "" {
		w.put("\n" + markdownText(text) + "\n")
	}
	first, others := b.New, 0
	if w.o.Top > 0 && len(first) > w.o.Top {
		first, others = first[:w.o.Top], len(first)-w.o.Top
	}
	w.table("new finding", "\n| new | severity | where | subject | what is wrong | what to do |\n| --- | --- | --- | --- | --- | --- |\n", len(first), others, func(i int) string {
		return findingRow(&first[i])
	})
	if len(b.Resolved) == 0 {
		return
	}
	resolved := b.Resolved
	if w.o.Top > 0 && len(resolved) > w.o.Top {
		resolved = resolved[:w.o.Top]
	}
	w.folded(number(len(b.Resolved))+" resolved", func() {
		w.table("resolved finding", "| resolved | namespace | workload | subject |\n| --- | --- | --- | --- |\n", len(resolved), len(b.Resolved)-len(resolved), func(i int) string {
			k := resolved[i]
			return markdownRow(name(k.Check), name(k.Namespace), name(k.owner()), subjectName(k.label()))
		})
	})
}

// markdownFindings is the maximum number of findings in a comment, unless --top is lower.
const markdownFindings = 100

// findings writes the worst findings with their places, messages and remediations. changes has already written the new ones.
func (w *markdownWriter) findings() {
	most := markdownFindings
	if w.o.Top > 0 {
		most = min(most, w.o.Top)
	}
	found := worst[Finding]{most: most, compare: compareCosts}
	for _, all := range w.scan.findings(w.o.Baseline) {
		for i := range all {
			if all[i].Waiver == nil && !all[i].New {
				found.add(all[i])
			}
		}
	}
	first, others := found.trim()
	if len(first) == 0 {
		return
	}
	table := func() {
		w.table("finding", "| check | severity | where | subject | what is wrong | what to do |\n| --- | --- | --- | --- | --- | --- |\n", len(first), others, func(i int) string {
			return findingRow(&first[i])
		})
	}
	title := english.Plural(len(first)+others, "finding", "")
	if w.o.Baseline != nil {
		w.folded(title+" of the baseline", table)
	} else if w.put("\n**" + title + "**\n\n") {
		table()
	}
}

// findingRow is the row of a finding: check, severity, place, subject, message and remediation.
func findingRow(f *Finding) string {
	where := f.place()
	if f.File != "" {
		where += " " + name(f.Namespace) + "/" + name(f.Workload.String())
	}
	message := prose(f.message(), 400)
	if f.Violations > 1 {
		message += " (" + number(f.Violations) + " times)"
	}
	return markdownRow(f.id(), string(f.Check.Severity), where, subjectName(f.label()), message, prose(f.Check.Remediation, 300))
}

func (w *markdownWriter) namespaces() {
	rows, others := w.scan.worstNamespaces(w.o.Top)
	w.table("namespace", "\n| namespace | pods | compliance | score | grade | violations |\n| --- | ---: | ---: | ---: | --- | --- |\n", len(rows), others, func(i int) string {
		ns := rows[i]
		if !ns.hasScores {
			return markdownRow(name(ns.Name), number(ns.TotalPods), "no data", "", "", "")
		}
		return markdownRow(name(ns.Name), number(ns.TotalPods), percent(ns.Compliance), fmt.Sprintf("%.2f", ns.Score), display(ns.Grade, 40),
			listed(w.scan.checkCounts(ns.Violations), 6))
	})
}

func (w *markdownWriter) workloads() {
	rows, others := w.scan.worstWorkloads(w.o.Top, nil)
	if len(rows) == 0 {
		return
	}
	w.folded("Worst workloads", func() {
		w.table("workload", "| namespace | workload | pods | points | violations |\n| --- | --- | ---: | ---: | --- |\n", len(rows), others, func(i int) string {
			of := rows[i]
			return markdownRow(name(of.namespace), of.label, number(of.pods), number(of.points), listed(w.scan.checkCounts(of.violations), 6))
		})
	})
}

func (w *markdownWriter) waived() {
	rows := w.scan.waivers()
	if len(rows) == 0 {
		return
	}
	w.folded(english.Plural(w.scan.waivedViolations(), "violation", "")+" waived", func() {
		w.table("waiver", "| waiver | until | namespace | violations | reason |\n| --- | --- | --- | --- | --- |\n", len(rows), 0, func(i int) string {
			row := rows[i]
			return markdownRow(name(row.waiver.ID), expiry(row.waiver), name(row.namespace), listed(w.scan.checkCounts(row.violations), 6), prose(row.waiver.Reason, 200))
		})
	})
}

// checks writes what to do about each check that has violations.
func (w *markdownWriter) checks() {
	counts := w.scan.Snapshot.Totals().Violations
	if sum(counts) == 0 {
		return
	}
	all := w.scan.Snapshot.Table.Checks()
	found := worst[int]{compare: func(a, b int) int { return a - b }}
	for i := range all {
		if counts[i] > 0 {
			found.add(i)
		}
	}
	order, _ := found.trim()
	w.folded("What to do", func() {
		for i, group := range byCategory(w.scan.Snapshot.Table, order) {
			if group.Name != "" && !w.put(map[bool]string{true: "\n"}[i > 0]+"**"+group.Title()+"**\n\n") {
				w.cut = append(w.cut, english.Plural(len(group.Checks), "check", ""))
				continue
			}
			w.table("check", "| check | severity | weight | violations | what is wrong | what to do |\n| --- | --- | ---: | ---: | --- | --- |\n", len(group.Checks), 0, func(i int) string {
				c := &all[group.Checks[i]]
				return markdownRow(c.ID, string(c.Severity), number(c.Weight), number(counts[group.Checks[i]]), prose(c.Message(), 300), prose(c.Remediation, 300))
			})
		}
	})
}

func markdownRow(cells ...string) string {
	for i, text := range cells {
		cells[i] = markdownText(text)
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// markdownMarks escapes what Markdown and GitHub interpret: markup, mentions, references and links.
var markdownMarks = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `\`, `\\`, "|", `\|`, "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`, "~", `\~`, "!", `\!`, "@", "@\u2060", "#", `\#`, "://", ":\u2060//", "www.", "www\u2060.")

// markdownText escapes a text so that it is displayed literally.
func markdownText(text string) string {
	return markdownMarks.Replace(sanitized(strings.TrimSpace(text)))
}
