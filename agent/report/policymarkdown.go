package report

import (
	_ "embed"
	"io"
	"strings"
	"text/template"
	"time"

	"github.com/kube-devops/kube-devops/rules"
)

//go:embed policy.md.tmpl
var policyText string

var policyTemplate = template.Must(template.New("policy").Funcs(template.FuncMap{
	"cell": cell, "worse": worseSeverities, "code": code, "codes": codes, "utc": func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
}).Parse(policyText))

// PolicyMarkdown describes a policy table for readers: the pods it covers, its checks with what to do about each, its grades
// and its waivers.
func PolicyMarkdown(to io.Writer, table *rules.Table) error {
	include, exclude := table.Namespaces()
	checks := make([]*rules.Check, len(table.Checks()))
	for i := range checks {
		checks[i] = &table.Checks()[i]
	}
	return policyTemplate.Execute(to, map[string]any{
		"Table": table, "Include": include, "Exclude": exclude, "Enforces": enforces(table), "Groups": byCategory(table, allChecks(table)), "Checks": checks,
		"WaiveAnnotation": rules.WaiveAnnotation,
	})
}

var escapeCell = strings.NewReplacer("|", `\|`, "<", "&lt;", "\r", "", "\n", " ", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, `\`, `\\`)

// cell is a text in a cell of a table.
func cell(text string) string { return escapeCell.Replace(text) }

// code is a text as code in a cell of a table, where only a bar needs an escape.
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
