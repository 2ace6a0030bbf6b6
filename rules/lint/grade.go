package lint

import (
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// grades warns about a maxSeverity that has no effect, and about one that is stricter than that of a better grade.
func (l *linter) grades(entries []*yaml.Node) {
	grades := l.table.Grades()
	if len(grades) != len(entries) {
		return
	}
	for i, g := range grades {
		if g.MaxSeverity == "" {
			continue
		}
		node := strictyaml.Field(entries[i], "maxSeverity")
		switch {
		case !slices.ContainsFunc(l.table.Checks(), func(c rules.Check) bool { return !g.Allows(c.Severity) }):
			l.Errorf(node, "maxSeverity has no effect: no check is more severe than %s", g.MaxSeverity)
		case i > 0 && (grades[i-1].MaxSeverity == "" || grades[i-1].MaxSeverity.Rank() < g.MaxSeverity.Rank()):
			l.Errorf(node, "grade %q allows less severe violations only than the better grade %q", g.Name, grades[i-1].Name)
		}
	}
}
