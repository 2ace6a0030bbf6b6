package report

import (
	"bufio"
	"cmp"
	_ "embed"
	"html/template"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/page/base"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// The maximum numbers of rows of a page, which keep it fast in a browser. The page counts the rows that are left out.
const (
	pageNamespaces = 2000
	pageRows       = 500
	pageFindings   = 4000 // of all workloads
	pageOfWorkload = 40   // findings of one workload
)

var (
	//go:embed page.html
	pageText string
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string

	pageDesign   = base.NewDesign(pageStyle, pageScript, "form-action 'none'")
	pageTemplate = sync.OnceValue(func() *template.Template { return base.Parse(nil, pageText).Lookup("report") })
)

// HTML writes one self-contained page, which loads nothing. Its Content-Security-Policy allows only its own style and script, so that a
// browser never runs a text of a recording.
func HTML(to io.Writer, scan *Scan, o Options) error {
	buffer := bufio.NewWriter(to)
	if err := pageTemplate().Execute(buffer, newPage(scan, o)); err != nil {
		return err
	}
	return buffer.Flush()
}

type (
	page struct {
		base.Document

		Policy, Hash   string
		Target         string
		Date, ISO      string // empty if the date is unknown
		Cluster        pageScores
		Pods           int
		Namespaces     int
		Violations     int
		Severities     string
		GradeReason    string // why the grade is lower than that of the compliance
		Unreadable     []string
		UnreadableMore string

		Changes        *pageChanges
		NamespaceRows  []pageNamespace
		NamespacesMore string
		CheckGroups    []pageCheckGroup
		WorkloadRows   []pageWorkload
		WorkloadsMore  string
		WaiverRows     []pageWaiver
		WaiversMore    string
		Waived         string
		Notes          []string
	}
	pageScores struct {
		HasScores bool
		state.Scores
		Class string // best, fair, poor or worst
		Rank  int    // of the grade, 0 the best
	}
	pageNamespace struct {
		Name string
		pageScores
		Pods, Violations int
		Checks           []string
	}
	// A pageCheckGroup is the checks of one category, which has no title if no check has a category.
	pageCheckGroup struct {
		Title              string
		Violations, Points int
		Rows               []pageCheck
	}
	pageCheck struct {
		ID, Severity, Message, Remediation string
		Rank, Weight, Points               int
		Violations, Subjects               int
		Bar                                float64 // length in percent of the longest bar
	}
	pageWorkload struct {
		Namespace, Workload string
		Checks              []string
		Pods, Points        int
		Bar                 float64
		Findings            []pageFinding
		FindingsMore        string
	}
	pageFinding struct {
		Check, Severity, Place, Subject, Message, Remediation, Count string
		Enforce                                                      rules.Enforce
		Admission                                                    string // what becomes of the object; empty if nothing
		Unknown, New                                                 bool
	}
	pageWaiver struct {
		ID, Until, Sort, Namespace, Reason string
		Checks                             []string
	}
	pageChanges struct {
		Headline, OtherPolicy string
		New                   []pageNew
		NewMore, ResolvedMore string
		Resolved              []pageResolved
	}
	pageNew struct {
		pageFinding
		Namespace, Workload string
		Rank, Violations    int
	}
	pageResolved struct {
		Check, Namespace, Workload, Subject string
	}
)

func newPage(scan *Scan, o Options) *page {
	table, totals := scan.Snapshot.Table, scan.Snapshot.Totals()
	p := &page{
		Document: base.Document{Design: pageDesign, Meta: true},
		Policy:   name(table.Name()), Hash: shortHash(table),
		Pods: totals.TotalPods, Namespaces: scan.scoredNamespaces(), Violations: sum(totals.Violations),
		Severities: scan.bySeverity(), Notes: scan.notes(),
	}
	if len(scan.Admission) > 0 {
		p.Notes = append(p.Notes, refusedHeadline(o.Refusals)+".")
	}
	if o.Target != "" {
		p.Target = name(o.Target)
	}
	if !o.Now.IsZero() {
		p.Date, p.ISO = o.Now.UTC().Format("2006-01-02 15:04 MST"), o.Now.UTC().Format(time.RFC3339)
	}
	cluster, ok := scan.Snapshot.Cluster()
	p.Cluster, p.GradeReason = pageScoresOf(table, cluster, ok), GradeReason(table, cluster, totals.Violations)
	p.Title = p.title(len(scan.Inputs.Unreadable) > 0)
	left := scan.Inputs.Unreadable
	for _, text := range left[:min(len(left), pageRows)] {
		p.Unreadable = append(p.Unreadable, prose(text, 400))
	}
	p.UnreadableMore = moreText(len(left)-len(p.Unreadable), "input")
	p.namespaces(scan)
	p.checks(scan, totals)
	p.workloads(scan, o)
	p.waivers(scan)
	if o.Baseline != nil {
		p.Changes = pageChangesOf(scan, o.Baseline)
	}
	return p
}

func (p *page) title(incomplete bool) string {
	title := "kube-devops: no data"
	if p.Cluster.HasScores {
		title = "kube-devops: " + percent(p.Cluster.Compliance) + ", " + p.Cluster.Grade
	}
	if incomplete {
		title += " (incomplete)"
	}
	return title
}

func pageScoresOf(table *rules.Table, scores state.Scores, ok bool) pageScores {
	if !ok {
		return pageScores{}
	}
	out := pageScores{true, scores, gradeClass(table, scores.Grade), table.GradeIndex(scores.Grade)}
	out.Grade = display(scores.Grade, 40)
	return out
}

func (p *page) namespaces(scan *Scan) {
	rows, others := scan.worstNamespaces(pageNamespaces)
	p.NamespacesMore = moreText(others, "namespace")
	for _, ns := range rows {
		p.NamespaceRows = append(p.NamespaceRows, pageNamespace{
			Name: name(ns.Name), pageScores: pageScoresOf(scan.Snapshot.Table, ns.Scores, ns.hasScores),
			Pods: ns.TotalPods, Violations: ns.violations, Checks: scan.checkCounts(ns.Violations),
		})
	}
}

func (p *page) checks(scan *Scan, totals state.LiveMetrics) {
	checks := scan.Snapshot.Table.Checks()
	order := worst[int]{compare: func(a, b int) int {
		return cmp.Or(cmp.Compare(totals.Violations[b]*checks[b].Weight, totals.Violations[a]*checks[a].Weight),
			cmp.Compare(checks[a].Severity.Rank(), checks[b].Severity.Rank()), cmp.Compare(a, b))
	}}
	for i := range checks {
		order.add(i)
	}
	all, _ := order.trim()
	longest := max(1, slices.Max(totals.Violations))
	for _, group := range byCategory(scan.Snapshot.Table, all) {
		out := pageCheckGroup{Title: group.Title()}
		for _, i := range group.Checks {
			c, n := &checks[i], totals.Violations[i]
			out.Violations, out.Points = out.Violations+n, out.Points+n*c.Weight
			out.Rows = append(out.Rows, pageCheck{
				ID: c.ID, Severity: string(c.Severity), Rank: c.Severity.Rank(), Message: prose(c.Message(), 400), Remediation: prose(c.Remediation, 400),
				Weight: c.Weight, Points: n * c.Weight, Violations: n, Subjects: totals.Subjects[i], Bar: 100 * float64(n) / float64(longest),
			})
		}
		p.CheckGroups = append(p.CheckGroups, out)
	}
}

func (p *page) workloads(scan *Scan, o Options) {
	rows, others := scan.worstWorkloads(pageRows, nil)
	p.WorkloadsMore = moreText(others, "workload")
	type key struct {
		namespace string
		workloadKey
	}
	at := make(map[key]int, len(rows))
	for i, of := range rows {
		at[key{of.namespace, of.workloadKey}] = i
		p.WorkloadRows = append(p.WorkloadRows, pageWorkload{
			Namespace: name(of.namespace), Workload: of.label, Checks: scan.checkCounts(of.violations),
			Pods: of.pods, Points: of.points, Bar: 100 * float64(of.points) / float64(rows[0].points),
		})
	}
	left, more := pageFindings, make([]int, len(rows))
	for _, found := range scan.findings(o.Baseline) {
		slices.SortFunc(found, compareCosts)
		for i := range found {
			f := &found[i]
			row, ok := at[key{f.Namespace, f.workloadKey()}]
			switch {
			case !ok || f.Waiver != nil:
			case left == 0 || len(p.WorkloadRows[row].Findings) == pageOfWorkload:
				more[row]++
			default:
				p.WorkloadRows[row].Findings = append(p.WorkloadRows[row].Findings, pageFindingOf(f))
				left--
			}
		}
	}
	for i, n := range more {
		p.WorkloadRows[i].FindingsMore = moreText(n, "finding")
	}
}

func pageFindingOf(f *Finding) pageFinding {
	out := pageFinding{
		Check: f.Check.ID, Severity: string(f.Check.Severity), Subject: subjectName(f.label()), Message: prose(f.message(), 400),
		Remediation: prose(f.Check.Remediation, 400), Enforce: f.Enforce, Admission: outcomes[f.Enforce], Unknown: f.Unknown, New: f.New,
	}
	if f.File != "" {
		out.Place = f.place()
	}
	if f.Violations > 1 {
		out.Count = number(f.Violations) + " times"
	}
	return out
}

func (p *page) waivers(scan *Scan) {
	rows := scan.waivers()
	p.Waived = english.Plural(scan.waivedViolations(), "violation", "")
	p.WaiversMore = moreText(len(rows)-pageRows, "waiver")
	for _, row := range rows[:min(len(rows), pageRows)] {
		p.WaiverRows = append(p.WaiverRows, pageWaiver{
			ID: name(row.waiver.ID), Until: expiry(row.waiver), Sort: row.waiver.Expires.UTC().Format("2006-01-02T15:04:05"),
			Namespace: name(row.namespace), Checks: scan.checkCounts(row.violations), Reason: prose(row.waiver.Reason, 400),
		})
	}
}

func pageChangesOf(scan *Scan, b *BaselineDiff) *pageChanges {
	out := &pageChanges{
		Headline: b.headline(), OtherPolicy: b.otherPolicy(scan),
		NewMore: moreText(len(b.New)-pageRows, "finding"), ResolvedMore: moreText(len(b.Resolved)-pageRows, "finding"),
	}
	for i := range b.New[:min(len(b.New), pageRows)] {
		f := &b.New[i]
		out.New = append(out.New, pageNew{
			pageFindingOf(f), name(f.Namespace), f.owner, f.Check.Severity.Rank(), f.Violations,
		})
	}
	for _, k := range b.Resolved[:min(len(b.Resolved), pageRows)] {
		out.Resolved = append(out.Resolved, pageResolved{name(k.Check), name(k.Namespace), name(k.owner()), subjectName(k.label())})
	}
	return out
}
