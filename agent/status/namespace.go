package status

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/agent/page"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

const (
	// maxFindings is the maximum number of findings in a view, and maxOfWorkload that for one workload. The view counts the others.
	maxFindings   = 2000
	maxOfWorkload = 100
	// maxPods is the maximum number of pods that a finding names.
	maxPods = 20
)

// namespace returns the view of one namespace.
func (q *request) namespace(name string, query page.Query) page.View {
	snap := q.state.SnapshotOf(name)
	if len(snap.Namespaces) == 0 {
		return q.notFound(name, snap)
	}
	ns, table := &snap.Namespaces[0], snap.Table
	r := &row{name: name, Counts: countsOf(ns.LiveMetrics)}
	if r.scores, r.scored = ns.Scores(table); r.scored {
		r.reason = report.GradeReason(table, r.scores, ns.Violations)
	}
	view := &page.Namespace{Head: q.head(table, name), NamespaceRow: q.row(r), Query: query, Workloads: []page.Workload{}}
	var columns []int
	view.Checks, columns = checksOf(table, ns.LiveMetrics)
	workloads := q.workloads(snap)
	view.Query.All = len(workloads)
	workloads = slices.DeleteFunc(workloads, func(w *workload) bool { return !query.Matches(w.texts(table)...) })
	start, end := view.Query.Slice(len(workloads))
	f := fixes{table: table, counts: ns.LiveMetrics, grade: r.scores.Grade, actions: q.actions(table)}
	left := maxFindings
	for _, w := range workloads[start:end] {
		shown := w.view(columns)
		for _, found := range w.findings[:min(len(w.findings), maxOfWorkload, left)] {
			shown.Findings = append(shown.Findings, q.finding(found, &f))
		}
		left -= len(shown.Findings)
		shown.MoreFindings = len(w.findings) - len(shown.Findings)
		view.Workloads = append(view.Workloads, shown)
	}
	view.Waivers = q.waiversOf(snap, name)
	view.Uncounted = page.Uncounted{
		Unevaluated: ns.Unevaluated, Skipped: podCounts(snap.Skipped), Excluded: []page.PodCount{}, Unavailable: q.unavailable(name),
	}
	return view
}

// notFound returns the view for a namespace without counted pods, with the reason if it is known.
func (q *request) notFound(name string, snap *state.Snapshot) *page.NotFound {
	view := &page.NotFound{Head: q.head(snap.Table, ""), Name: name, Near: q.near(name)}
	pattern, excluded := snap.Table.ExcludedBy(name)
	switch {
	case excluded && pattern == "":
		view.Reason = "The policy does not include this namespace."
	case excluded:
		view.Reason = fmt.Sprintf("The policy excludes this namespace by the pattern %s.", pattern)
	case len(q.Scope) > 0 && !slices.Contains(q.Scope, name):
		view.Reason = "The agent does not watch this namespace. It watches only those of --namespaces."
	case len(q.unavailable(name)) > 0:
		view.Reason = "The agent may not list the pods of this namespace."
	case len(snap.Skipped) > 0:
		view.Reason = "The policy skips all pods of this namespace."
	}
	return view
}

// maxNear is the maximum number of similar names that a view suggests.
const maxNear = 10

// possibleName matches a valid namespace name, which is a DNS label.
var possibleName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// near returns the namespaces whose names contain the given name or are contained in it. With limited access it returns none, because a client
// that may read one namespace must not learn the names of others.
func (q *request) near(name string) []string {
	near := []string{}
	if q.LimitedAccess || !possibleName.MatchString(name) {
		return near
	}
	for _, r := range q.scores().rows {
		if strings.Contains(r.name, name) || strings.Contains(name, r.name) {
			near = append(near, r.name)
		}
	}
	slices.Sort(near)
	return near[:min(len(near), maxNear)]
}

// checksOf returns the checks that a namespace violates, and the column of each check of the table; -1 for none.
func checksOf(table *rules.Table, m state.LiveMetrics) (checks []page.CheckCount, columns []int) {
	checks = []page.CheckCount{}
	for i := range table.Checks() {
		columns = append(columns, -1)
		if m.Violations[i] > 0 || m.Waived[i] > 0 {
			columns[i] = len(checks)
			checks = append(checks, checkCount(table, m, i))
		}
	}
	return checks, columns
}

func checkCount(table *rules.Table, m state.LiveMetrics, i int) page.CheckCount {
	c := &table.Checks()[i]
	count := page.CheckCount{
		Check: page.Check{
			ID: c.ID, Category: string(c.Category), Severity: string(c.Severity), Weight: c.Weight, Message: c.Message(), Remediation: c.Remediation,
		},
		Violations: m.Violations[i], Subjects: m.Subjects[i], Waived: m.Waived[i],
	}
	if m.Unknown != nil {
		count.Unknown = m.Unknown[i]
	}
	return count
}

// A workload has the violations of the pods of one workload.
type workload struct {
	rules.Workload
	findings     []*finding // the most severe first, waived ones last
	pods, points int
}

// A finding is the violations of one check by the same subject in all pods of a workload.
type finding struct {
	state.PodViolation // the first one
	workload           *workload
	violations         int
	unknown            int           // how many of the violations are unknown
	waiver             *rules.Waiver // nil if the finding counts
	pods               []string      // the names of the first pods
	podCount           int
	last               string // the last counted pod
}

// A findingKey identifies a finding of a workload.
type findingKey struct {
	check              int
	container, subject string
	waiver             string // includes the expiry, because annotation waivers have the same id
}

// workloads groups the violations of a namespace by workload, most points first.
func (q *request) workloads(snap *state.Snapshot) []*workload {
	byName := make(map[rules.Workload]*workload)
	findings := make(map[*workload]map[findingKey]*finding)
	var all []*workload
	var of *workload
	var pod state.Pod
	counted := false // the pod has a violation that counts
	for v, waived := range snap.AllViolations() {
		if of == nil || v.Pod != pod {
			pod, counted = v.Pod, false
			name := q.workloadOf(pod)
			if of = byName[name]; of == nil {
				of = &workload{Workload: name}
				byName[name], findings[of] = of, make(map[findingKey]*finding)
				all = append(all, of)
			}
		}
		key := findingKey{check: v.Check, container: v.Container, subject: cmp.Or(v.Subject, pathAlone(v))}
		if waived {
			key.waiver = v.Waiver.ID + v.Waiver.Expires.String()
		}
		found := findings[of][key]
		if found == nil {
			found = &finding{PodViolation: v, workload: of}
			if waived {
				found.waiver = v.Waiver
			}
			findings[of][key] = found
			of.findings = append(of.findings, found)
		}
		found.violations++
		if v.Unknown {
			found.unknown++
		}
		if found.last != v.Name {
			found.last = v.Name
			found.podCount++
			if len(found.pods) < maxPods {
				found.pods = append(found.pods, v.Name)
			}
		}
		if !waived {
			of.points += snap.Table.Checks()[v.Check].Weight
			if !counted {
				of.pods++
				counted = true
			}
		}
	}
	sortWorkloads(all, snap.Table.Checks())
	return all
}

// sortWorkloads sorts workloads by points, and their findings by severity and points with waived findings last.
func sortWorkloads(workloads []*workload, checks []rules.Check) {
	for _, w := range workloads {
		slices.SortStableFunc(w.findings, func(a, b *finding) int {
			if (a.waiver == nil) != (b.waiver == nil) {
				return map[bool]int{true: -1, false: 1}[a.waiver == nil]
			}
			return cmp.Or(cmp.Compare(checks[a.Check].Severity.Rank(), checks[b.Check].Severity.Rank()),
				cmp.Compare(b.violations*checks[b.Check].Weight, a.violations*checks[a.Check].Weight),
				cmp.Compare(a.Check, b.Check), cmp.Compare(a.Container, b.Container), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Path, b.Path))
		})
	}
	slices.SortFunc(workloads, func(a, b *workload) int {
		return cmp.Or(cmp.Compare(b.points, a.points), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
}

// pathAlone returns the path of a subject outside a container, which identifies the subject if it has no name.
func pathAlone(v state.PodViolation) string {
	if v.Container != "" {
		return ""
	}
	return v.Path
}

// workloadOf returns the workload that creates a pod. It returns the pod itself if there is none, or if it is unknown.
func (q *request) workloadOf(pod state.Pod) rules.Workload {
	if json := q.Pod(pod); json != nil {
		if of := rules.WorkloadOf(json); of != (rules.Workload{}) {
			return of
		}
	}
	return rules.Workload{Kind: "Pod", Name: pod.Name}
}

// texts returns the texts that a filter of workloads searches.
func (w *workload) texts(table *rules.Table) []string {
	texts := []string{w.Kind + "/" + w.Name}
	for _, f := range w.findings {
		texts = append(texts, table.Checks()[f.Check].ID, f.Container, f.Subject)
	}
	return texts
}

// view returns the view of a workload without its findings.
func (w *workload) view(columns []int) page.Workload {
	out := page.Workload{Kind: w.Kind, Name: w.Name, Pods: w.pods, Points: w.points, Findings: []page.Finding{}}
	for _, column := range columns {
		if column >= 0 {
			out.Cells = append(out.Cells, page.Cell{})
		}
	}
	for _, f := range w.findings {
		cell := &out.Cells[columns[f.Check]]
		if f.waiver != nil {
			cell.Waived += f.violations
			continue
		}
		cell.Violations += f.violations
		cell.Unknown += f.unknown
	}
	return out
}

// finding returns the view of a finding. The value in it is that of the first pod.
func (q *request) finding(f *finding, fix *fixes) page.Finding {
	c := &fix.table.Checks()[f.Check]
	detail := rules.Detail{Withheld: true}
	if json := q.Pod(f.Pod); json != nil {
		detail = fix.table.Detail(json, f.Violation)
	}
	out := page.Finding{
		Check: c.ID, Category: string(c.Category), Severity: string(c.Severity), Weight: c.Weight,
		Container: f.Container, Path: f.Path, Value: detail.Value, Message: c.MessageOf(f.Container, f.Subject, detail), Remediation: c.Remediation,
		Enforce: string(fix.actions.Of(f.Check, f.waiver)), Unknown: f.unknown > 0, Violations: f.violations, PodCount: f.podCount, Pods: f.pods,
	}
	if f.Subject != f.Container {
		out.Subject = f.Subject
	}
	if f.waiver != nil {
		expires := f.waiver.Expires.UTC()
		out.Waiver, out.Expires = f.waiver.ID, &expires
		return out
	}
	out.Points = f.violations * c.Weight
	out.Gain, out.GradeAfter = fix.of(f.Check, f.violations)
	return out
}

// fixes computes the effect of fixing a finding on the compliance and the grade of its namespace.
type fixes struct {
	table  *rules.Table
	counts state.LiveMetrics
	grade  string // the current grade
	// actions has the actions of the API server for violations.
	actions *vap.Actions
}

func (f *fixes) of(check, violations int) (gain *float64, gradeAfter string) {
	after := f.counts
	after.Violations = slices.Clone(after.Violations)
	after.Violations[check] -= violations
	before, ok := f.counts.Scores(f.table)
	if !ok {
		return nil, ""
	}
	then, _ := after.Scores(f.table)
	difference := then.Compliance - before.Compliance
	if then.Grade != f.grade {
		gradeAfter = then.Grade
	}
	return &difference, gradeAfter
}
