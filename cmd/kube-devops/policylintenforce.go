package main

import (
	"strings"

	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/lint"
)

// leftOut returns the parts of a table that are not exported for admission, except those that the documentation mentions.
func leftOut(table *rules.Table) []lint.LeftOut {
	var left []lint.LeftOut
	for _, c := range table.Checks() {
		if c.Enforce == "" {
			continue
		}
		alone, err := table.Subset(c.ID)
		if err != nil {
			continue
		}
		if _, err := vap.Select(alone, vap.Options{}); err != nil {
			why := strings.TrimSuffix(strings.TrimPrefix(err.Error(), "check "+c.ID+" cannot be enforced: "), " (--partial leaves such checks out)")
			left = append(left, lint.LeftOut{Action: c.Enforce, Part: "check " + c.ID, Reason: why})
		}
	}
	selections, err := vap.Select(table, vap.Options{Partial: true})
	if err != nil {
		return left // no check is enforced, or none can be
	}
	for _, s := range selections {
		for _, part := range unexpected(table, s) {
			if !strings.HasPrefix(part.What, "check ") {
				left = append(left, lint.LeftOut{Action: s.Action, Part: part.What, Reason: part.Reason})
			}
		}
	}
	return left
}
