package report

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
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

// FleetTable writes the clusters, first those that are not current and then worst first, and the worst namespaces.
func FleetTable(to io.Writer, f *Fleet, o Options) error {
	w := &tableWriter{to: bufio.NewWriter(to), o: o}
	for _, line := range Wrap(f.headline(), o.Width, "  ") {
		w.line("%s", w.in(bold, line))
	}
	policies := f.Policies()
	g := append(append(grid{{head: "CLUSTER", least: 12}, {head: "STATE"}}, scoreColumns...),
		column{head: "NAMESPACES", right: true}, column{head: "PODS", right: true}, column{head: "VIOLATIONS", right: true},
		column{head: "AGE", right: true}, column{head: "POLICY", least: 12})
	var cells [][]gridCell
	for _, m := range f.sorted() {
		state := gridCell{text: m.State}
		if !m.IsCurrent() {
			state.color = red
		}
		row := []gridCell{{text: name(m.Name)}, state, {text: "-"}, {text: "-"}, {text: "-"}, {text: "-"}, {text: "-"}, {text: "-"}, {text: f.age(m)}, {text: "-"}}
		if doc := m.Report; doc != nil {
			c := &doc.Cluster
			copy(row[2:], scoreCells(*c))
			row[5], row[6], row[7] = gridCell{text: number(c.Count)}, gridCell{text: number(c.Pods)}, gridCell{text: number(c.violations())}
			row[9] = gridCell{text: doc.Policy.String()}
			if m.differs(policies) {
				row[9] = gridCell{text: "(differs) " + doc.Policy.String(), color: yellow}
			}
		}
		cells = append(cells, row)
	}
	w.grid(g, cells)
	w.fleetNamespaces(f)
	w.fleetNotes(f)
	return w.to.Flush()
}

func (w *tableWriter) fleetNamespaces(f *Fleet) {
	var cells [][]gridCell
	for _, ns := range f.worstNamespaces() {
		row := append([]gridCell{{text: name(ns.Cluster)}, {text: name(ns.Namespace)}}, scoreCells(ns.DocumentCounts)...)
		cells = append(cells, append(row, gridCell{items: byCount(nonzero(ns.Violations))}))
	}
	if len(cells) > 0 {
		g := append(grid{{head: "CLUSTER", least: 12}, {head: "WORST NAMESPACES", least: 16}}, scoreColumns...)
		w.grid(append(g, column{head: "VIOLATIONS", least: 20}), cells)
	}
}

func (w *tableWriter) fleetNotes(f *Fleet) {
	var notes []string
	for _, m := range f.sorted() {
		if !m.IsCurrent() {
			note := fmt.Sprintf("%s is %s: %s", name(m.Name), stateText(m.State), prose(m.Reason, 400))
			if !strings.HasSuffix(note, ".") && !strings.HasSuffix(note, "?") {
				note += "."
			}
			notes = append(notes, note)
		}
	}
	notes = append(notes, f.policyNotes()...)
	if len(notes) > 0 {
		w.line("")
	}
	for _, note := range notes {
		w.wrapped(note, "  ")
	}
}

// stateText returns a state for a sentence, such as "prod is without data".
func stateText(state string) string {
	if state == fleetNoData {
		return "without data"
	}
	return state
}

type fleetMemberJSON struct {
	Cluster       string         `json:"cluster"`
	State         string         `json:"state"`
	Reason        string         `json:"reason,omitempty"`
	Page          string         `json:"page,omitempty"`
	Time          *time.Time     `json:"time"`   // when the report was made; null if unknown
	Policy        *PolicyName    `json:"policy"` // null without a report
	PolicyDiffers bool           `json:"policyDiffers"`
	Namespaces    *int           `json:"namespaces"`
	Pods          *int           `json:"pods"`
	Score         *float64       `json:"score"`
	Compliance    *float64       `json:"compliance"`
	Grade         *string        `json:"grade"`
	Violations    map[string]int `json:"violations"`
}

// FleetJSON writes the fleet as one JSON object, with the clusters sorted by name. Numbers are not rounded; they are null without a report.
func FleetJSON(to io.Writer, f *Fleet, _ Options) error {
	policies := f.Policies()
	out := struct {
		Version        int               `json:"version"`
		Fleet          fleetTotals       `json:"fleet"`
		Clusters       []fleetMemberJSON `json:"clusters"`
		Policies       []FleetPolicy     `json:"policies"`
		PoliciesDiffer bool              `json:"policiesDiffer"`
		Worst          []fleetNamespace  `json:"worstNamespaces"`
	}{1, f.totals(), []fleetMemberJSON{}, policies, f.PoliciesDiffer(), nonnil(f.worstNamespaces())}
	for _, m := range slices.SortedFunc(slices.Values(f.sorted()), func(a, b *FleetMember) int { return cmp.Compare(a.Name, b.Name) }) {
		row := fleetMemberJSON{Cluster: m.Name, State: m.State, Reason: m.Reason, Page: m.Page, PolicyDiffers: m.differs(policies)}
		if !m.Time.IsZero() {
			at := m.Time.UTC().Truncate(time.Second)
			row.Time = &at
		}
		if doc := m.Report; doc != nil {
			c := &doc.Cluster
			row.Policy, row.Namespaces, row.Pods, row.Score, row.Compliance, row.Grade = &doc.Policy, &c.Count, &c.Pods, c.Score, c.Compliance, c.Grade
			row.Violations = maps.Clone(c.Violations)
		}
		out.Clusters = append(out.Clusters, row)
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(to, escaped(string(text))+"\n")
	return err
}
