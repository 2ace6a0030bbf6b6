package report

import (
	"bufio"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/rules"
)

// PolicyChecks lists the checks of a policy table, grouped by category.
func PolicyChecks(to io.Writer, table *rules.Table, o Options) error {
	w := &tableWriter{to: bufio.NewWriter(to), o: o}
	g := grid{{head: "CHECK", least: 12}, {head: "SEVERITY"}, {head: "WEIGHT", right: true}, {head: "DESCRIPTION", least: 20}}
	checks := table.Checks()
	enforces := enforces(table)
	if enforces {
		g = slices.Insert(g, 3, column{head: "ENFORCE"})
	}
	var rows [][]gridCell
	for _, group := range byCategory(table, allChecks(table)) {
		if len(rows) > 0 {
			rows = append(rows, make([]gridCell, len(g)))
		}
		if group.Name != "" {
			rows = append(rows, append([]gridCell{{text: strings.ToUpper(group.Name), color: bold}}, make([]gridCell, len(g)-1)...))
		}
		for _, i := range group.Checks {
			c := &checks[i]
			row := []gridCell{
				{text: c.ID}, {text: string(c.Severity), color: severityColor(c.Severity)}, {text: number(c.Weight)}, {text: prose(c.Message(), 400), words: true},
			}
			if enforces {
				row = slices.Insert(row, 3, gridCell{text: string(c.Enforce)})
			}
			rows = append(rows, row)
		}
	}
	w.wrapped("Policy "+name(table.Name())+": "+english.Plural(len(checks), "check", ""), "  ")
	w.grid(g, rows)
	return w.to.Flush()
}

func allChecks(table *rules.Table) []int {
	all := make([]int, len(table.Checks()))
	for i := range all {
		all[i] = i
	}
	return all
}

// enforces reports whether a check of the table has the field enforce.
func enforces(table *rules.Table) bool {
	return slices.ContainsFunc(table.Checks(), func(c rules.Check) bool { return c.Enforce != "" })
}

type policyCheckJSON struct {
	ID          string         `json:"id"`
	Category    rules.Category `json:"category,omitempty"`
	Severity    rules.Severity `json:"severity"`
	Weight      int            `json:"weight"`
	Enforce     rules.Enforce  `json:"enforce,omitempty"`
	Description string         `json:"description"`
	Remediation string         `json:"remediation,omitempty"`
}

// PolicyChecksJSON lists the checks of a policy table, in its order, as one JSON object.
func PolicyChecksJSON(to io.Writer, table *rules.Table) error {
	w := &jsonWriter{to: bufio.NewWriter(to)}
	w.put("{")
	w.member("policy", policyJSON{table.Name(), table.Hash()})
	list(w, "checks", slices.Values(table.Checks()), func(c rules.Check) any {
		return policyCheckJSON{c.ID, c.Category, c.Severity, c.Weight, c.Enforce, c.Message(), c.Remediation}
	})
	w.put("}\n")
	return w.end()
}
