package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

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
			row[9] = gridCell{text: name(doc.Policy.Name)}
			if m.differs(policies) {
				row[9] = gridCell{text: name(doc.Policy.Name) + " (differs)", color: yellow}
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
