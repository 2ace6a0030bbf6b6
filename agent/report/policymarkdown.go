package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kube-devops/kube-devops/rules"
)

// PolicyMarkdown describes a policy table for readers: what it looks at, its checks and what to do about each, its grades
// and its waivers.
func PolicyMarkdown(to io.Writer, table *rules.Table) error {
	w := policyMarkdownWriter{new(bytes.Buffer)}
	w.line("# Policy %s", code(table.Name()))
	w.scope(table)
	w.checks(table)
	w.line("\n## Grades\n")
	w.row("grade", "compliance")
	w.row("---", "---")
	for _, g := range table.Grades() {
		w.row(cell(g.Name), fmt.Sprintf("%v %% and more", g.Min))
	}
	w.waivers(table)
	_, err := w.to.WriteTo(to)
	return err
}

// A policyMarkdownWriter writes lines.
type policyMarkdownWriter struct{ to *bytes.Buffer }

func (w policyMarkdownWriter) line(format string, args ...any) {
	fmt.Fprintf(w.to, format+"\n", args...)
}

func (w policyMarkdownWriter) row(cells ...string) { w.line("| %s |", strings.Join(cells, " | ")) }

func (w policyMarkdownWriter) scope(table *rules.Table) {
	include, exclude := table.Namespaces()
	words := "All namespaces"
	if len(include) > 0 {
		words = "Namespaces " + codes(include)
	}
	if len(exclude) > 0 {
		words += ", but not " + codes(exclude)
	}
	w.line("\n## Scope\n\n%s.", words)
	if len(table.Skips()) == 0 {
		return
	}
	w.line("\nThese pods are left out, and counted by reason:\n")
	w.row("reason", "pods")
	w.row("---", "---")
	for _, s := range table.Skips() {
		w.row(code(s.Reason), code(s.When))
	}
}

func (w policyMarkdownWriter) checks(table *rules.Table) {
	w.line("\n## Checks\n")
	w.row("check", "severity", "weight", "what is wrong", "what to do")
	w.row("---", "---", "---:", "---", "---")
	checks := table.Checks()
	for i := range checks {
		c := &checks[i]
		w.row(code(c.ID), string(c.Severity), fmt.Sprint(c.Weight), cell(c.Message()), cell(c.Remediation))
	}
	w.line("\n### What they look for\n")
	w.row("check", "of each", "when", "violation")
	w.row("---", "---", "---", "---")
	for i := range checks {
		c := &checks[i]
		subject := "pod"
		if len(c.ForEach) > 0 {
			subject = codes(c.ForEach)
		}
		when := c.When()
		if when != "" {
			when = code(when)
		}
		w.row(code(c.ID), subject, when, code(c.Violation()))
	}
}

func (w policyMarkdownWriter) waivers(table *rules.Table) {
	if len(table.Waivers()) == 0 {
		return
	}
	w.line("\n## Waivers\n")
	w.row("waiver", "accepts", "until", "reason")
	w.row("---", "---", "---", "---")
	for _, waiver := range table.Waivers() {
		w.row(code(waiver.ID), code(waiver.Scope()), waiver.Expires.UTC().Format(time.RFC3339), cell(waiver.Reason))
	}
}

var escapeCell = strings.NewReplacer("|", `\|`, "<", "&lt;", "\r", "", "\n", " ", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, `\`, `\\`)

// cell is a text as it may stand in a cell of a table.
func cell(text string) string { return escapeCell.Replace(text) }

// code is a text as code in a cell of a table, in which a bar alone needs an escape.
func code(text string) string {
	text = strings.NewReplacer("|", `\|`, "\r", "", "\n", " ").Replace(text)
	if strings.Contains(text, "`") {
		return "`` " + text + " ``"
	}
	return "`" + text + "`"
}

func codes(texts []string) string {
	words := make([]string, len(texts))
	for i, text := range texts {
		words[i] = code(text)
	}
	return strings.Join(words, ", ")
}
