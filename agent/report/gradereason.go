package report

import (
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// missedGrade returns the grade that the compliance alone would have; nil if the violations allow it.
func missedGrade(table *rules.Table, scores state.Scores) *rules.Grade {
	grade := table.Grade(scores.Compliance, "")
	if scores.Grade == "" || scores.Grade == grade {
		return nil
	}
	return &table.Grades()[table.GradeIndex(grade)]
}

// gradeNeed is what a grade with a maxSeverity demands: "Healthy needs no critical or high violation".
func gradeNeed(g *rules.Grade) string {
	return display(g.Name, 40) + " needs no " + worseSeverities(*g) + " violation"
}

// worseSeverities are those that a grade does not allow: "critical or high".
func worseSeverities(g rules.Grade) string {
	var worse []string
	for _, s := range rules.Severities() {
		if !g.Allows(s) {
			worse = append(worse, string(s))
		}
	}
	return strings.Join(worse, " or ")
}

// GradeReason says why the grade is lower than that of the compliance: "Healthy needs no critical violation; 2 are left". It is empty if
// the grade is not lower.
func GradeReason(table *rules.Table, scores state.Scores, violations []int) string {
	missed := missedGrade(table, scores)
	if missed == nil {
		return ""
	}
	left := 0
	for i, c := range table.Checks() {
		if !missed.Allows(c.Severity) {
			left += violations[i]
		}
	}
	return gradeNeed(missed) + "; " + number(left) + english.PluralWord(left, " is left", " are left")
}

// gradeNotes say which grades the violations do not allow.
func (s *Scan) gradeNotes() []string {
	namespaces := make(map[string]int)
	for _, ns := range s.Snapshot.Namespaces {
		scores, _ := ns.Scores(s.Snapshot.Table)
		if missed := missedGrade(s.Snapshot.Table, scores); missed != nil {
			namespaces[gradeNeed(missed)]++
		}
	}
	var notes []string
	for need, n := range namespaces {
		notes = append(notes, "Grade of "+english.Plural(n, "namespace", "")+": "+need+".")
	}
	slices.Sort(notes)
	cluster, _ := s.Snapshot.Cluster()
	if reason := GradeReason(s.Snapshot.Table, cluster, s.Snapshot.Totals().Violations); reason != "" {
		notes = append([]string{"Grade of the cluster: " + reason + "."}, notes...)
	}
	return notes
}
