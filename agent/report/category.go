package report

import (
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/rules"
)

// A categoryGroup is the checks of one category, by their indexes in the table.
type categoryGroup struct {
	// Name is empty if no check of the table has a category.
	Name   string
	Checks []int
}

// byCategory groups checks, given by their indexes, and keeps their order within a group. Checks without a category come last, as "other".
// There is one group without a name if no check of the table has a category.
func byCategory(table *rules.Table, order []int) []categoryGroup {
	checks := table.Checks()
	named := slices.ContainsFunc(checks, func(c rules.Check) bool { return c.Category != "" })
	groups := make([]categoryGroup, len(rules.Categories())+1)
	for _, i := range order {
		g := &groups[checks[i].Category.Rank()]
		if named {
			g.Name = categoryName(checks[i].Category)
		}
		g.Checks = append(g.Checks, i)
	}
	return slices.DeleteFunc(groups, func(g categoryGroup) bool { return len(g.Checks) == 0 })
}

func categoryName(c rules.Category) string {
	if c == "" {
		return "other"
	}
	return string(c)
}

// Title is the name of the category as a heading.
func (g categoryGroup) Title() string {
	if g.Name == "" {
		return ""
	}
	return strings.ToUpper(g.Name[:1]) + g.Name[1:]
}
