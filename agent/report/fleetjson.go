package report

import (
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"time"
)

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
