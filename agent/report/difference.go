package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/state"
)

// A Difference is how the scores of the same pods differ under two policies.
type Difference struct {
	Before, After *state.Snapshot
	// Namespaces are the namespaces that change, sorted by name.
	Namespaces []NamespaceDifference
	// Unchanged counts the other namespaces that have pods under either policy.
	Unchanged int
	// Tables are the changes of the table itself.
	Tables []TableChange
}

// A NamespaceDifference is how one namespace differs under two policies.
type NamespaceDifference struct {
	Namespace     string
	Before, After Side
	// Added and Removed count the violations that only one of the policies finds, by the id of the check.
	Added, Removed map[string]int
	// Waived counts the violations of Removed that a waiver accepts now, and Unwaived those of Added that one accepted before.
	Waived, Unwaived map[string]int
}

// A Side is a namespace under one policy.
type Side struct {
	Pods   int
	Scores *state.Scores // nil without evaluated pods
}

// Compare returns what changes from one snapshot to the other. Both must include their violations.
func Compare(before, after *state.Snapshot) *Difference {
	d := &Difference{Before: before, After: after, Tables: tableChanges(before.Table, after.Table)}
	byName := make(map[string]*NamespaceDifference)
	named := func(name string) *NamespaceDifference {
		if byName[name] == nil {
			byName[name] = &NamespaceDifference{Namespace: name, Added: make(map[string]int), Removed: make(map[string]int),
				Waived: make(map[string]int), Unwaived: make(map[string]int)}
		}
		return byName[name]
	}
	for _, ns := range before.Namespaces {
		named(ns.Name).Before = side(before, ns.LiveMetrics)
	}
	for _, ns := range after.Namespaces {
		named(ns.Name).After = side(after, ns.LiveMetrics)
	}
	// Each violation, with whether it counts.
	was, is := violations(before), violations(after)
	for v, counts := range is {
		if counted, found := was[v]; counts && !counted {
			named(v.namespace).Added[v.check]++
			if found {
				named(v.namespace).Unwaived[v.check]++
			}
		}
	}
	for v, counted := range was {
		if counts, found := is[v]; counted && !counts {
			named(v.namespace).Removed[v.check]++
			if found {
				named(v.namespace).Waived[v.check]++
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if ns := byName[name]; ns.changes() {
			d.Namespaces = append(d.Namespaces, *ns)
		} else {
			d.Unchanged++
		}
	}
	return d
}

func side(snap *state.Snapshot, m state.LiveMetrics) Side {
	scores, ok := m.Scores(snap.Table)
	if !ok {
		return Side{}
	}
	return Side{Pods: m.TotalPods, Scores: &scores}
}

// A violationKey identifies a violation under any policy, by the id of the check.
type violationKey struct{ namespace, pod, check, path string }

func violations(snap *state.Snapshot) map[violationKey]bool {
	found := make(map[violationKey]bool, sum(snap.Totals().Violations))
	for v, waived := range snap.AllViolations() {
		found[violationKey{v.Namespace, v.Pod.Name, snap.Table.Checks()[v.Check].ID, v.Path}] = !waived
	}
	return found
}

func (n *NamespaceDifference) changes() bool {
	before, after := n.Before.Scores, n.After.Scores
	return len(n.Added) > 0 || len(n.Removed) > 0 || n.Before.Pods != n.After.Pods || (before == nil) != (after == nil) ||
		before != nil && *before != *after
}

// DifferenceText prints a table of the namespaces that change, and of the cluster.
func DifferenceText(to io.Writer, d *Difference) error {
	var b bytes.Buffer
	if len(d.Namespaces) == 0 {
		fmt.Fprintf(&b, "Nothing changes in %s.\n", english.Plural(d.Unchanged, "namespace", ""))
		d.writeTables(&b)
		_, err := b.WriteTo(to)
		return err
	}
	b.WriteString("NAMESPACE\tPODS\tSCORE\tCOMPLIANCE\tGRADE\tVIOLATIONS\n")
	for i := range d.Namespaces {
		ns := &d.Namespaces[i]
		fmt.Fprintf(&b, "%s\t%s\t%s\n", printable(ns.Namespace), sideChange(ns.Before, ns.After), ns.violationChange())
	}
	before, after := d.cluster()
	fmt.Fprintf(&b, "(cluster)\t%s\t\n", sideChange(before, after))
	lines := aligned(b.Bytes())
	fmt.Fprintf(lines, "%s changed, %d unchanged.\n", english.Plural(len(d.Namespaces), "namespace", ""), d.Unchanged)
	if was, is := d.severities(); was != is {
		fmt.Fprintf(lines, "Violations: %s -> %s.\n", cmp.Or(was, "none"), cmp.Or(is, "none"))
	}
	d.writeTables(lines)
	_, err := lines.WriteTo(to)
	return err
}

// severities counts the violations of both sides by severity.
func (d *Difference) severities() (before, after string) {
	return (&Scan{Snapshot: d.Before}).bySeverity(), (&Scan{Snapshot: d.After}).bySeverity()
}

// writeTables prints the changes of the table.
func (d *Difference) writeTables(to *bytes.Buffer) {
	if len(d.Tables) > 0 {
		to.WriteString("\nThe table changes:\n")
	}
	for i, change := range d.Tables {
		if i > 0 && change.follows(d.Tables[i-1]) {
			_, name, _ := strings.Cut(change.Part, " ")
			to.WriteString(", " + printable(name))
			continue
		}
		if i > 0 {
			to.WriteByte('\n')
		}
		to.WriteString(change.String())
	}
	if len(d.Tables) > 0 {
		to.WriteByte('\n')
	}
}

// aligned aligns cells that end with tabs into columns, without spaces at the ends of lines.
func aligned(cells []byte) *bytes.Buffer {
	var columns, lines bytes.Buffer
	w := tabwriter.NewWriter(&columns, 0, 0, 2, ' ', 0)
	_, _ = w.Write(cells) // writing to a buffer does not fail
	_ = w.Flush()
	for line := range bytes.Lines(columns.Bytes()) {
		lines.Write(append(bytes.TrimRight(line, " \n"), '\n'))
	}
	return &lines
}

func (d *Difference) cluster() (before, after Side) {
	of := func(snap *state.Snapshot) Side {
		scores, ok := snap.Cluster()
		if !ok {
			return Side{}
		}
		return Side{Pods: snap.Totals().TotalPods, Scores: &scores}
	}
	return of(d.Before), of(d.After)
}

// sideChange returns four cells: pods, score, compliance and grade.
func sideChange(before, after Side) string {
	cells := func(s Side) []string {
		if s.Scores == nil {
			return []string{"-", "-", "-", "-"}
		}
		return []string{strconv.Itoa(s.Pods), fmt.Sprintf("%.2f", s.Scores.Score), percent(s.Scores.Compliance), printable(s.Scores.Grade)}
	}
	old := cells(before)
	for i, cell := range cells(after) {
		old[i] = change(old[i], cell)
	}
	return strings.Join(old, "\t")
}

func change(before, after string) string {
	if before == after {
		return before
	}
	return before + " -> " + after
}

// violationChange lists the checks, sorted by how many of their violations change, then by id.
func (n *NamespaceDifference) violationChange() string {
	ids := make(map[string]bool)
	for id := range n.Added {
		ids[id] = true
	}
	for id := range n.Removed {
		ids[id] = true
	}
	sorted := slices.SortedFunc(maps.Keys(ids), func(a, b string) int {
		return cmp.Or(cmp.Compare(n.Added[b]+n.Removed[b], n.Added[a]+n.Removed[a]), cmp.Compare(a, b))
	})
	words := make([]string, 0, len(sorted))
	for _, id := range sorted {
		word := ""
		if added := n.Added[id]; added > 0 {
			word += fmt.Sprintf("+%d ", added)
		}
		if removed := n.Removed[id]; removed > 0 {
			word += fmt.Sprintf("-%d ", removed)
		}
		word += id
		if waived := n.Waived[id]; waived > 0 {
			word += fmt.Sprintf(" (%d waived)", waived)
		}
		if unwaived := n.Unwaived[id]; unwaived > 0 {
			word += fmt.Sprintf(" (%d no longer waived)", unwaived)
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

type (
	differenceJSON struct {
		Before     policyJSON                `json:"before"`
		After      policyJSON                `json:"after"`
		Cluster    changeJSON                `json:"cluster"`
		Unchanged  int                       `json:"unchanged"`
		Namespaces []namespaceDifferenceJSON `json:"namespaces"`
		Tables     []TableChange             `json:"tableChanges"`
	}
	namespaceDifferenceJSON struct {
		Namespace string `json:"namespace"`
		changeJSON
		Added   map[string]int `json:"added"`
		Removed map[string]int `json:"removed"`
		// Of removed, those that a waiver accepts now; of added, those that one accepted before.
		Waived   map[string]int `json:"waived,omitempty"`
		Unwaived map[string]int `json:"unwaived,omitempty"`
	}
	changeJSON struct {
		Before sideJSON `json:"before"`
		After  sideJSON `json:"after"`
	}
	sideJSON struct {
		Pods       int      `json:"pods"`
		Score      *float64 `json:"score"`
		Compliance *float64 `json:"compliance"`
		Grade      *string  `json:"grade"`
	}
)

// DifferenceJSON prints the difference as one JSON object. Numbers are not rounded, and are null without data.
func DifferenceJSON(to io.Writer, d *Difference) error {
	before, after := d.cluster()
	out := differenceJSON{
		Before:     policyJSON{d.Before.Table.Name(), d.Before.Table.Hash()},
		After:      policyJSON{d.After.Table.Name(), d.After.Table.Hash()},
		Cluster:    changeJSON{before.json(), after.json()},
		Unchanged:  d.Unchanged,
		Namespaces: make([]namespaceDifferenceJSON, len(d.Namespaces)),
		Tables:     append([]TableChange{}, d.Tables...),
	}
	for i, ns := range d.Namespaces {
		out.Namespaces[i] = namespaceDifferenceJSON{ns.Namespace, changeJSON{ns.Before.json(), ns.After.json()}, ns.Added, ns.Removed, ns.Waived, ns.Unwaived}
	}
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}

func (s Side) json() sideJSON {
	if s.Scores == nil {
		return sideJSON{}
	}
	return sideJSON{s.Pods, &s.Scores.Score, &s.Scores.Compliance, &s.Scores.Grade}
}
