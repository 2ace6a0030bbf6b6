package report

import (
	"bufio"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/kube-devops/kube-devops/agent/page/base"
)

//go:embed fleet.html
var fleetText string

var fleetTemplate = sync.OnceValue(func() *template.Template { return base.Parse(nil, fleetText).Lookup("fleet") })

type (
	fleetPage struct {
		base.Document
		Headline, Date, ISO string
		Totals              fleetTotals
		Differ              bool
		Rows                []fleetRow
		Policies            []fleetPolicyRow
		Namespaces          []fleetNamespaceRow
	}
	fleetRow struct {
		Name, State, Reason, Page, Age string
		Seconds                        string // the age in seconds; empty if unknown
		Current, HasReport, Differs    bool
		HasScores                      bool
		Compliance, Score              float64
		Grade, Policy                  string
		Namespaces, Pods, Violations   int
	}
	fleetPolicyRow struct {
		Name     string
		Clusters string
	}
	fleetNamespaceRow struct {
		Cluster, Page, Name, Grade string
		Compliance                 float64
		Checks                     []string
	}
)

// FleetHTML writes one self-contained page with the design of a scan's HTML report. It links to the status page of each cluster.
func FleetHTML(to io.Writer, f *Fleet, _ Options) error {
	p := &fleetPage{
		Document: base.Document{Design: pageDesign, Title: "kube-devops: fleet", Meta: true},
		Headline: f.headline(), Date: f.Now.UTC().Format("2006-01-02 15:04 MST"), ISO: f.Now.UTC().Format(time.RFC3339),
		Totals: f.totals(), Differ: f.PoliciesDiffer(),
	}
	if t := p.Totals; t.Compliance != nil {
		p.Title = fmt.Sprintf("kube-devops: fleet: %s of %d clusters", percent(*t.Compliance), t.Current)
	}
	if p.Totals.Current < p.Totals.Clusters {
		p.Title += fmt.Sprintf(" (%d not current)", p.Totals.Clusters-p.Totals.Current)
	}
	policies, pages := f.Policies(), make(map[string]string)
	for _, m := range f.sorted() {
		pages[m.Name] = m.Page
		row := fleetRow{
			Name: name(m.Name), State: m.State, Reason: prose(m.Reason, 400), Page: m.Page, Age: f.age(m), Current: m.IsCurrent(), Differs: m.differs(policies),
		}
		if !m.Time.IsZero() {
			row.Seconds = strconv.Itoa(int(max(0, f.Now.Sub(m.Time)).Seconds()))
		}
		if doc := m.Report; doc != nil {
			c := &doc.Cluster
			row.HasReport, row.Namespaces, row.Pods, row.Violations, row.Policy = true, c.Count, c.Pods, c.violations(), doc.Policy.String()
			if c.Compliance != nil && c.Score != nil && c.Grade != nil {
				row.HasScores, row.Compliance, row.Score, row.Grade = true, *c.Compliance, *c.Score, display(*c.Grade, 40)
			}
		}
		p.Rows = append(p.Rows, row)
	}
	for _, policy := range policies {
		p.Policies = append(p.Policies, fleetPolicyRow{policy.String(), listed(names(policy.Clusters), 20)})
	}
	for _, ns := range f.worstNamespaces() {
		grade := ""
		if ns.Grade != nil {
			grade = display(*ns.Grade, 40)
		}
		p.Namespaces = append(p.Namespaces, fleetNamespaceRow{name(ns.Cluster), pages[ns.Cluster], name(ns.Namespace), grade, *ns.Compliance, byCount(nonzero(ns.Violations))})
	}
	buffer := bufio.NewWriter(to)
	if err := fleetTemplate().Execute(buffer, p); err != nil {
		return err
	}
	return buffer.Flush()
}
