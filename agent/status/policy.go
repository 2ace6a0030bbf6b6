package status

import (
	"github.com/kube-devops/kube-devops/agent/page"
	"github.com/kube-devops/kube-devops/agent/state"
)

// policy returns the view of the current policy.
func (q *request) policy() *page.Policy {
	snap := q.state.Snapshot()
	table, totals, source := snap.Table, snap.Totals(), q.Source()
	view := &page.Policy{
		Head: q.head(table, ""), Source: source.Text, ReloadError: source.Problem, Checks: []page.PolicyCheck{}, GradeRules: []page.GradeRule{},
		Text: string(table.YAML()),
	}
	if !source.Loaded.IsZero() {
		loaded := source.Loaded.UTC()
		view.Loaded = &loaded
	}
	view.IncludedNamespaces, view.ExcludedNamespaces = table.Namespaces()
	for _, skip := range table.Skips() {
		view.Skips = append(view.Skips, skip.Reason+": "+skip.When)
	}
	for i := range table.Checks() {
		c := &table.Checks()[i]
		check := page.PolicyCheck{CheckCount: checkCount(table, totals, i), Condition: c.Violation(), Enforce: string(c.Enforce)}
		if when := c.When(); when != "" {
			check.Condition += ", where " + when
		}
		view.Checks = append(view.Checks, check)
	}
	grades := gradesOf(snap)
	for i, g := range table.Grades() {
		view.GradeRules = append(view.GradeRules, page.GradeRule{Name: g.Name, Min: g.Min, MaxSeverity: string(g.MaxSeverity), Namespaces: grades[i]})
	}
	return view
}

// gradesOf counts the namespaces of each grade.
func gradesOf(snap *state.Snapshot) []int {
	counts := make([]int, len(snap.Table.Grades()))
	for i := range snap.Namespaces {
		if scores, ok := snap.Namespaces[i].Scores(snap.Table); ok {
			counts[snap.Table.GradeIndex(scores.Grade)]++
		}
	}
	return counts
}
