package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

// admission returns the selections by which the API server would evaluate the input. It returns nil without --enforce.
func (o *scanOptions) admission(table *rules.Table, stderr io.Writer) ([]vap.Selection, error) {
	if !o.enforce {
		return nil, nil
	}
	if !slices.ContainsFunc(table.Checks(), func(c rules.Check) bool { return c.Enforce != "" }) {
		return nil, fmt.Errorf("--enforce: policy %s: no check has the field enforce; set enforce: deny on a check, in the table or in one that extends it", table.Name())
	}
	selections, err := vap.Select(table, vap.Options{Partial: true})
	if err != nil {
		return nil, fmt.Errorf("--enforce: %w", err)
	}
	for _, text := range notJudged(table, selections) {
		o.warn(stderr, "--enforce: "+text)
	}
	return selections, nil
}

// notJudged describes the checks, skips and waivers of the table that the selections leave out.
func notJudged(table *rules.Table, selections []vap.Selection) []string {
	var texts []string
	for _, s := range selections {
		for _, left := range unexpected(table, s) {
			texts = append(texts, fmt.Sprintf("%s leaves out %s: %s", s.Action, left.What, left.Reason))
		}
	}
	return texts
}

// unexpected returns the parts of the table that a selection leaves out, except those that the documentation of the export or of a
// built-in table mentions.
func unexpected(table *rules.Table, s vap.Selection) []vap.LeftOut {
	return slices.DeleteFunc(slices.Clone(s.LeftOut), func(left vap.LeftOut) bool {
		return left.Expected || slices.ContainsFunc(table.Skips(), func(skip rules.Skip) bool {
			return left.What == "skip "+skip.Reason && isBuiltIn(skip)
		})
	})
}

// isBuiltIn reports whether a built-in table has the same skip.
func isBuiltIn(skip rules.Skip) bool {
	return slices.ContainsFunc(policies.Names(), func(name string) bool {
		table, err := policies.Open(name)
		return err == nil && slices.Contains(table.Skips(), skip)
	})
}

// judgeAdmission returns errors that name the workloads that the API server would refuse.
func judgeAdmission(refusals []report.Refusal) []error {
	const listed = 10
	var errs []error
	workloads := report.RefusedWorkloads(refusals)
	for _, of := range workloads[:min(len(workloads), listed)] {
		errs = append(errs, fmt.Errorf("--enforce: %s would be refused: %s", dump.OneLine(of.Name), strings.Join(of.Checks, ", ")))
	}
	if n := len(workloads); n > 0 {
		errs = append(errs, errors.New("--enforce: "+english.Plural(n, "workload", "")+" would be refused"))
	}
	return errs
}
