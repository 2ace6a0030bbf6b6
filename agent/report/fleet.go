package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/dustin/go-humanize/english"
)

// A Fleet is the reports of many clusters.
type Fleet struct {
	Members []FleetMember
	// Now is the time at which they were read.
	Now time.Time
}

// A FleetMember is one cluster.
type FleetMember struct {
	Name string
	// State is FleetCurrent if the report is usable. Otherwise Reason explains why it is not.
	State, Reason string
	Page          string    // the address of the status page; empty if unknown
	Time          time.Time // when the report was made; zero if unknown
	Report        *Document // nil without a report. It has only the worst namespaces.
}

// The states that this package sets or tests. A report that was read can still be incomplete or without data.
const (
	FleetCurrent    = "current"
	fleetIncomplete = "incomplete"
	fleetNoData     = "no-data"
)

// Settle corrects the states of members whose reports were read, but are incomplete or have no data.
func (f *Fleet) Settle() {
	for i := range f.Members {
		m := &f.Members[i]
		switch doc := m.Report; {
		case doc == nil || m.State != FleetCurrent:
		case len(doc.Incomplete) > 0:
			m.State, m.Reason = fleetIncomplete, english.Plural(len(doc.Incomplete), "input", "")+" could not be read"
		case doc.Scope != nil && len(doc.Scope.Forbidden) > 0:
			m.State, m.Reason = fleetIncomplete, "the agent may not list the pods of "+english.Plural(len(doc.Scope.Forbidden), "namespace", "")
		case doc.Cluster.Compliance == nil:
			m.State, m.Reason = fleetNoData, "no pod was evaluated"
		}
	}
}

// IsCurrent reports whether a member has a usable report.
func (m *FleetMember) IsCurrent() bool { return m.State == FleetCurrent }

// A FleetPolicy is a policy table with the clusters that use it.
type FleetPolicy struct {
	PolicyName
	Clusters []string `json:"clusters"`
}

// Policies returns the tables of the fleet, most common first.
func (f *Fleet) Policies() []FleetPolicy {
	at := make(map[PolicyName]*FleetPolicy)
	for i := range f.Members {
		m := &f.Members[i]
		if m.Report == nil {
			continue
		}
		p := at[m.Report.Policy]
		if p == nil {
			p = &FleetPolicy{PolicyName: m.Report.Policy}
			at[m.Report.Policy] = p
		}
		p.Clusters = append(p.Clusters, m.Name)
	}
	policies := make([]FleetPolicy, 0, len(at))
	for _, p := range at {
		slices.Sort(p.Clusters)
		policies = append(policies, *p)
	}
	slices.SortFunc(policies, func(a, b FleetPolicy) int {
		return cmp.Or(cmp.Compare(len(b.Clusters), len(a.Clusters)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Hash, b.Hash))
	})
	return policies
}

// PoliciesDiffer reports whether the tables have different hashes.
func (f *Fleet) PoliciesDiffer() bool {
	policies := f.Policies()
	return slices.ContainsFunc(policies, func(p FleetPolicy) bool { return p.Hash != policies[0].Hash })
}

// differs reports whether a member has another table than the most common one, which is policies[0].
func (m *FleetMember) differs(policies []FleetPolicy) bool {
	return m.Report != nil && m.Report.Policy.Hash != policies[0].Hash
}

// sorted returns the members that are not current, and then the others, worst first.
func (f *Fleet) sorted() []*FleetMember {
	members := make([]*FleetMember, len(f.Members))
	for i := range members {
		members[i] = &f.Members[i]
	}
	rank := func(m *FleetMember) int {
		switch {
		case m.Report == nil:
			return 0
		case !m.IsCurrent():
			return 1
		}
		return 2
	}
	slices.SortFunc(members, func(a, b *FleetMember) int {
		by := cmp.Compare(rank(a), rank(b))
		if by == 0 && a.Report != nil {
			by = compareCompliances(a.Report.Cluster.Compliance, b.Report.Cluster.Compliance)
		}
		return cmp.Or(by, cmp.Compare(a.Name, b.Name))
	})
	return members
}

// fleetTotals has the totals of the current members.
type fleetTotals struct {
	Clusters   int      `json:"clusters"`
	Current    int      `json:"current"`
	Compliance *float64 `json:"compliance"` // the mean; null without data
	Worst      *float64 `json:"worstCompliance"`
	Namespaces int      `json:"namespaces"`
	Pods       int      `json:"pods"`
	Violations int      `json:"violations"`
	worstName  string
}

func (f *Fleet) totals() fleetTotals {
	t := fleetTotals{Clusters: len(f.Members)}
	sum := 0.0
	for _, m := range f.sorted() {
		if !m.IsCurrent() {
			continue
		}
		c := &m.Report.Cluster
		if t.Current++; t.Current == 1 {
			t.Worst, t.worstName = c.Compliance, m.Name
		}
		sum += *c.Compliance
		t.Namespaces, t.Pods, t.Violations = t.Namespaces+c.Count, t.Pods+c.Pods, t.Violations+c.violations()
	}
	if t.Current > 0 {
		mean := sum / float64(t.Current)
		t.Compliance = &mean
	}
	return t
}

// fleetNamespace is a namespace of a cluster.
type fleetNamespace struct {
	Cluster string `json:"cluster"`
	DocumentNamespace
}

// fleetNamespaces is the number of worst namespaces that a fleet report lists.
const fleetNamespaces = 20

// worstNamespaces returns the worst namespaces of the current members.
func (f *Fleet) worstNamespaces() []fleetNamespace {
	all := worst[fleetNamespace]{most: fleetNamespaces, compare: func(a, b fleetNamespace) int {
		return cmp.Or(compareNamespaces(a.DocumentNamespace, b.DocumentNamespace), cmp.Compare(a.Cluster, b.Cluster))
	}}
	for i := range f.Members {
		if m := &f.Members[i]; m.IsCurrent() {
			for _, ns := range m.Report.Namespaces {
				if ns.Compliance != nil && *ns.Compliance < 100 {
					all.add(fleetNamespace{m.Name, ns})
				}
			}
		}
	}
	first, _ := all.trim()
	return first
}

// A WorstNamespaces collects the worst namespaces of a report while the report is read, so that the others need no memory.
type WorstNamespaces struct{ all worst[DocumentNamespace] }

// NewWorstNamespaces returns a collection of as many namespaces as a fleet report lists.
func NewWorstNamespaces() *WorstNamespaces {
	return &WorstNamespaces{worst[DocumentNamespace]{most: fleetNamespaces, compare: compareNamespaces}}
}

// Add adds a namespace. It is for ReadOptions.Namespace, and returns false so that the document does not keep the namespace.
func (w *WorstNamespaces) Add(ns *DocumentNamespace) bool {
	w.all.add(*ns)
	return false
}

// List returns the namespaces, worst first.
func (w *WorstNamespaces) List() []DocumentNamespace {
	first, _ := w.all.trim()
	return first
}

// headline returns the result of the fleet in one sentence.
func (f *Fleet) headline() string {
	t := f.totals()
	if t.Current == 0 {
		return fmt.Sprintf("Fleet: no data: none of %s is current.", english.Plural(t.Clusters, "cluster", ""))
	}
	return fmt.Sprintf("Fleet: compliance %s, the mean of %d of %s; the worst is %s with %s. %s, %s, %s.", percent(*t.Compliance), t.Current,
		english.Plural(t.Clusters, "cluster", ""), name(t.worstName), percent(*t.Worst),
		english.Plural(t.Namespaces, "namespace", ""), english.Plural(t.Pods, "pod", ""), english.Plural(t.Violations, "violation", ""))
}

// policyNotes returns lines about which clusters have which table. It returns nil if the tables do not differ.
func (f *Fleet) policyNotes() []string {
	if !f.PoliciesDiffer() {
		return nil
	}
	notes := []string{"The policies differ, so the numbers cannot be compared:"}
	for _, p := range f.Policies() {
		notes = append(notes, p.String()+": "+listed(names(p.Clusters), 10))
	}
	return notes
}

// age formats the age of a member's report.
func (f *Fleet) age(m *FleetMember) string {
	if m.Time.IsZero() {
		return "-"
	}
	switch age := max(0, f.Now.Sub(m.Time)); {
	case age < 2*time.Minute:
		return fmt.Sprintf("%ds", int(age.Seconds()))
	case age < 2*time.Hour:
		return fmt.Sprintf("%dm", int(age.Minutes()))
	case age < 48*time.Hour:
		return fmt.Sprintf("%dh", int(age.Hours()))
	default:
		return fmt.Sprintf("%dd", int(age.Hours()/24))
	}
}
