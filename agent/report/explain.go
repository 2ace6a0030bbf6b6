package report

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// Explain prints the penalty points of namespaces by check and by workload, and the score and compliance if each were fixed.
// Patterns are names of namespaces, or shell globs. If one matches no namespace, the error suggests similar names,
// or says that the policy excludes it.
func Explain(to io.Writer, scan *Scan, patterns []string, o Options) error {
	selected, err := scan.selected(patterns)
	if err != nil {
		return err
	}
	w := &tableWriter{to: bufio.NewWriter(to), scan: scan, o: o}
	w.incomplete()
	for i, ns := range selected {
		if i > 0 {
			w.line("")
		}
		w.explain(ns)
	}
	return w.to.Flush()
}

// selected returns the namespaces that match a pattern, sorted by name.
func (s *Scan) selected(patterns []string) ([]*state.NamespaceSnapshot, error) {
	namespaces := s.Snapshot.Namespaces
	chosen := make([]bool, len(namespaces))
	var errs []error
	for _, pattern := range patterns {
		found := false
		for i := range namespaces {
			if namespaces[i].Name == pattern || rules.MatchGlob(pattern, namespaces[i].Name) {
				chosen[i], found = true, true
			}
		}
		if !found {
			errs = append(errs, s.notFound(pattern))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	var selected []*state.NamespaceSnapshot
	for i := range namespaces {
		if chosen[i] {
			selected = append(selected, &namespaces[i])
		}
	}
	return selected, nil
}

// notFound is the error for a pattern that matches no namespace.
func (s *Scan) notFound(pattern string) error {
	if _, err := rules.ParseGlob(pattern); err != nil {
		return fmt.Errorf("namespace pattern %q is malformed: close every bracket", head(pattern, 100))
	}
	if err := s.excludedMatch(pattern); err != nil {
		return err
	}
	names := make([]string, len(s.Snapshot.Namespaces))
	for i := range names {
		names[i] = s.Snapshot.Namespaces[i].Name
	}
	if len(names) == 0 {
		return fmt.Errorf("no pods in namespace %q, nor in any other", head(pattern, 100))
	}
	near := nearest(pattern, names, 3)
	if len(near) == 0 {
		return fmt.Errorf("no pods in namespace %q (of %s)", head(pattern, 100), english.Plural(len(names), "namespace", ""))
	}
	for i := range near {
		near[i] = strconv.Quote(head(near[i], 100))
	}
	return fmt.Errorf("no pods in namespace %q; did you mean %s?", head(pattern, 100), strings.Join(near, " or "))
}

// excludedMatch is an error if the pattern matches a namespace that the policy or a flag excludes; else nil.
func (s *Scan) excludedMatch(pattern string) error {
	var names []string
	for namespace := range s.Inputs.ExcludedNamespaces {
		if namespace == pattern || rules.MatchGlob(pattern, namespace) {
			names = append(names, namespace)
		}
	}
	if len(names) == 0 {
		if s.Snapshot.Table.Includes(pattern) || strings.ContainsAny(pattern, `*?[\`) {
			return nil
		}
		return fmt.Errorf("the policy excludes namespace %q", head(pattern, 100))
	}
	first := slices.Min(names)
	excluded := s.Inputs.ExcludedNamespaces[first]
	by := "--namespace does not select namespace %q (%s)"
	if excluded.Pattern != "" {
		by = "the policy excludes namespace %q (%s)"
	}
	what := english.Plural(excluded.Pods, "pod", "")
	if excluded.Pattern != "" {
		what += ", pattern " + strconv.Quote(head(excluded.Pattern, 100))
	}
	return fmt.Errorf(by+"%s", head(first, 100), what, map[bool]string{true: ", and others that match"}[len(names) > 1])
}

// explain writes the explanation of one namespace.
func (w *tableWriter) explain(ns *state.NamespaceSnapshot) {
	table := w.scan.Snapshot.Table
	scores, ok := ns.Scores(table)
	if !ok {
		w.wrapped(fmt.Sprintf("Namespace %s: no data, %s could not be evaluated.", name(ns.Name), english.Plural(ns.Unevaluated, "pod", "")), "  ")
		return
	}
	grade := display(scores.Grade, 40)
	text := fmt.Sprintf("Namespace %s: compliance %s, score %.2f, %s: %s, %s, %s lost of %s.", name(ns.Name), percent(scores.Compliance), scores.Score,
		grade, english.Plural(ns.TotalPods, "pod", ""), english.Plural(sum(ns.Violations), "violation", ""), english.Plural(points(table, ns.Violations), "point", ""), number(points(table, ns.Subjects)))
	for _, line := range Wrap(text, w.o.Width, "  ") {
		if before, after, ok := strings.Cut(line, ", "+grade+": "); ok {
			line = before + ", " + w.in(bold+gradeColor(table, scores.Grade), grade) + ": " + after
		}
		w.line("%s", line)
	}
	if reason := GradeReason(table, scores, ns.Violations); reason != "" {
		w.wrapped(reason+".", "  ")
	}
	w.explainChecks(ns)
	w.explainWorkloads(ns)
	if n := sum(ns.Waived); n > 0 {
		w.line("")
		w.wrapped(fmt.Sprintf("%s waived: %s. They are excluded from all scores.", english.Plural(n, "violation", ""), strings.Join(w.scan.checkCounts(ns.Waived), ", ")), "  ")
	}
	if ns.Unevaluated > 0 {
		w.line("")
		w.wrapped(english.Plural(ns.Unevaluated, "pod", "")+" could not be evaluated: excluded from all scores.", "  ")
	}
}

// costliest returns the checks with violations in a namespace, those with the most penalty points first.
func costliest(table *rules.Table, ns *state.NamespaceSnapshot) []int {
	checks := table.Checks()
	var order []int
	for i := range checks {
		if ns.Violations[i] > 0 {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(ns.Violations[b]*checks[b].Weight, ns.Violations[a]*checks[a].Weight), cmp.Compare(a, b))
	})
	return order
}

func points(table *rules.Table, counts []int) int {
	total := 0
	for i, check := range table.Checks() {
		total += counts[i] * check.Weight
	}
	return total
}

// without returns the scores of a namespace with fewer violations of each check. The subjects stay: they are fixed, not deleted.
func without(table *rules.Table, ns *state.NamespaceSnapshot, fewer []int) state.Scores {
	left := ns.LiveMetrics
	left.Violations = make([]int, len(fewer))
	for i := range fewer {
		left.Violations[i] = ns.Violations[i] - fewer[i]
	}
	scores, _ := left.Scores(table) // it has pods, as before
	return scores
}

// gain returns the cells for a fix: the scores after it, and the increase of the compliance.
func (w *tableWriter) gain(ns *state.NamespaceSnapshot, fewer []int) []gridCell {
	table := w.scan.Snapshot.Table
	before, _ := ns.Scores(table)
	after := without(table, ns, fewer)
	return []gridCell{
		{text: percent(after.Compliance), color: gradeColor(table, after.Grade)}, {text: fmt.Sprintf("%+.1f", after.Compliance-before.Compliance)},
		{text: fmt.Sprintf("%.2f", after.Score)}, {text: display(after.Grade, 40), color: gradeColor(table, after.Grade)},
	}
}

var gainColumns = grid{{head: "IF FIXED", right: true}, {head: "GAIN", right: true}, {head: "SCORE", right: true}, {head: "GRADE", least: 8}}

func (w *tableWriter) explainChecks(ns *state.NamespaceSnapshot) {
	table := w.scan.Snapshot.Table
	checks := table.Checks()
	order := costliest(table, ns)
	if len(order) == 0 {
		w.line("No penalty points.")
		return
	}
	var cells [][]gridCell
	for _, i := range order {
		fewer := make([]int, len(checks))
		fewer[i] = ns.Violations[i]
		row := []gridCell{
			{text: checks[i].ID}, {text: number(ns.Violations[i]) + " of " + number(ns.Subjects[i])}, {text: number(checks[i].Weight)},
			{text: number(ns.Violations[i] * checks[i].Weight)},
		}
		cells = append(cells, append(row, w.gain(ns, fewer)...))
	}
	w.grid(append(grid{{head: "CHECK", least: 12}, {head: "VIOLATIONS", right: true}, {head: "WEIGHT", right: true}, {head: "POINTS", right: true}}, gainColumns...), cells)
}

func (w *tableWriter) explainWorkloads(ns *state.NamespaceSnapshot) {
	rows, others := w.scan.worstWorkloads(w.o.Top, &ns.Name)
	if len(rows) == 0 {
		return
	}
	var cells [][]gridCell
	for _, of := range rows {
		row := []gridCell{{text: of.label}, {text: number(sum(of.violations))}, {text: number(of.pods)}, {text: number(of.points)}}
		cells = append(cells, append(row, w.gain(ns, of.violations)...))
	}
	w.grid(append(grid{{head: "WORKLOAD", least: 16}, {head: "VIOLATIONS", right: true}, {head: "PODS", right: true}, {head: "POINTS", right: true}}, gainColumns...), cells)
	w.more(others, "workload")
}

type (
	explanationJSON struct {
		Policy     policyJSON               `json:"policy"`
		Version    int                      `json:"version"`
		Incomplete []string                 `json:"incomplete,omitempty"`
		Namespaces []explainedNamespaceJSON `json:"namespaces"`
	}
	explainedNamespaceJSON struct {
		Namespace string `json:"namespace"`
		Pods      int    `json:"pods"`
		scoresJSON
		GradeReason string                  `json:"gradeReason,omitempty"` // why the grade is lower than that of the compliance
		Points      int                     `json:"points"`
		MaxPoints   int                     `json:"maxPoints"` // that could be lost
		Unevaluated int                     `json:"unevaluated"`
		Checks      []explainedCheckJSON    `json:"checks"`
		Workloads   []explainedWorkloadJSON `json:"workloads"`
		Waived      map[string]int          `json:"waived"` // violations by check
	}
	explainedCheckJSON struct {
		Check       string         `json:"check"`
		Category    rules.Category `json:"category,omitempty"`
		Severity    rules.Severity `json:"severity"`
		Weight      int            `json:"weight"`
		Enforce     rules.Enforce  `json:"enforce,omitempty"`
		Violations  int            `json:"violations"`
		Subjects    int            `json:"subjects"`
		Points      int            `json:"points"`
		Message     string         `json:"message"`
		Remediation string         `json:"remediation,omitempty"`
		IfFixed     scoresJSON     `json:"ifFixed"`
	}
	explainedWorkloadJSON struct {
		Workload   string         `json:"workload"`
		File       string         `json:"file,omitempty"`
		Pods       int            `json:"pods"` // that have violations
		Points     int            `json:"points"`
		Violations map[string]int `json:"violations"` // by check
		IfFixed    scoresJSON     `json:"ifFixed"`
	}
)

// ExplainJSON writes the explanation as one JSON object, with all workloads. Numbers are not rounded.
func ExplainJSON(to io.Writer, scan *Scan, patterns []string, _ Options) error {
	selected, err := scan.selected(patterns)
	if err != nil {
		return err
	}
	out := explanationJSON{Policy: policyOf(scan.Snapshot), Version: reportVersion, Incomplete: scan.Inputs.Unreadable}
	for _, ns := range selected {
		out.Namespaces = append(out.Namespaces, scan.explained(ns))
	}
	w := &jsonWriter{to: bufio.NewWriter(to)}
	w.value(out)
	w.put("\n")
	return w.end()
}

func (s *Scan) explained(ns *state.NamespaceSnapshot) explainedNamespaceJSON {
	table := s.Snapshot.Table
	checks := table.Checks()
	scores, ok := ns.Scores(table)
	out := explainedNamespaceJSON{
		Namespace: ns.Name, Pods: ns.TotalPods, scoresJSON: scoresOrNull(scores, ok),
		GradeReason: GradeReason(table, scores, ns.Violations), Points: points(table, ns.Violations), MaxPoints: points(table, ns.Subjects),
		Unevaluated: ns.Unevaluated, Checks: []explainedCheckJSON{}, Workloads: []explainedWorkloadJSON{}, Waived: countsByID(table, ns.Waived),
	}
	for _, i := range costliest(table, ns) {
		c, n := &checks[i], ns.Violations[i]
		fewer := make([]int, len(checks))
		fewer[i] = n
		out.Checks = append(out.Checks, explainedCheckJSON{
			c.ID, c.Category, c.Severity, c.Weight, s.enforced().Of(i, nil), n, ns.Subjects[i], n * c.Weight, c.Message(), c.Remediation, scoresOrNull(without(table, ns, fewer), true),
		})
	}
	rows, _ := s.worstWorkloads(0, &ns.Name)
	for _, of := range rows {
		out.Workloads = append(out.Workloads, explainedWorkloadJSON{
			of.workloadKey.String(), of.workloadKey.file, of.pods, of.points, countsByID(table, of.violations), scoresOrNull(without(table, ns, of.violations), true),
		})
	}
	return out
}

// countsByID maps the ids of checks with violations to their counts.
func countsByID(table *rules.Table, counts []int) map[string]int {
	byID := make(map[string]int)
	for i, check := range table.Checks() {
		if counts[i] > 0 {
			byID[check.ID] = counts[i]
		}
	}
	return byID
}
