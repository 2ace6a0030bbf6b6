package status

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/kube-devops/kube-devops/agent/page"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// maxMistakes is the maximum number of annotations without effect that a view lists.
const maxMistakes = 100

// waivers returns the view of all waivers.
func (q *request) waivers(query page.Query) *page.Waivers {
	snap := q.state.SnapshotWithViolations()
	view := &page.Waivers{Head: q.head(snap.Table, ""), Query: query, Waived: sum(snap.Totals().Waived), Mistakes: q.mistakes(snap)}
	all := q.waiverUses(snap, snap.Table.Waivers())
	for _, w := range all {
		if w.Expired {
			view.CountAgain += w.Violations
		}
	}
	view.Query.All = len(all)
	all = slices.DeleteFunc(all, func(w page.Waiver) bool { return !query.Matches(waiverTexts(w)...) })
	start, end := view.Query.Slice(len(all))
	view.Waivers = all[start:end]
	return view
}

func waiverTexts(w page.Waiver) []string {
	texts := []string{w.ID, w.Reason, w.Source}
	for _, c := range w.Selects {
		texts = append(texts, c.Value)
	}
	return texts
}

// waiversOf returns the waivers that accept, or could accept, violations of a namespace. snap must be the snapshot of that namespace.
func (q *request) waiversOf(snap *state.Snapshot, namespace string) []page.Waiver {
	var about []*rules.Waiver
	for _, w := range snap.Table.Waivers() {
		if w.IsAboutNamespace(namespace) {
			about = append(about, w)
		}
	}
	all := q.waiverUses(snap, about)
	return slices.DeleteFunc(all, func(w page.Waiver) bool { return w.Expired && w.Violations == 0 })
}

// An annotation identifies equal annotations of the pods of a workload.
type annotation struct {
	namespace string
	rules.Workload
	reason, checks string
	expires        time.Time
}

// waiverUses returns the given waivers of the table and all annotation waivers, with the numbers of violations that they accept. They are sorted
// by expiry, earliest first.
func (q *request) waiverUses(snap *state.Snapshot, waivers []*rules.Waiver) []page.Waiver {
	violations := make(map[*rules.Waiver]int)
	annotations := make(map[annotation]int)
	for v := range snap.AllViolations() {
		switch w := v.Waiver; {
		case w == nil:
		case w.FromAnnotation():
			annotations[annotation{v.Namespace, q.workloadOf(v.Pod), w.Reason, strings.Join(w.CheckIDs, " or "), w.Expires}]++
		default:
			violations[w]++
		}
	}
	all := []page.Waiver{}
	add := func(w page.Waiver) {
		left := w.Expires.Sub(q.now)
		w.Expires, w.Expired, w.Days = w.Expires.UTC(), left <= 0, int(left/(24*time.Hour))
		all = append(all, w)
	}
	for _, w := range waivers {
		shown := page.Waiver{ID: w.ID, Reason: w.Reason, Expires: w.Expires, Selects: []page.Condition{}, Violations: violations[w]}
		for _, c := range w.Conditions() {
			shown.Selects = append(shown.Selects, page.Condition(c))
		}
		if by := snap.Table.SupersededBy(w); by != nil {
			shown.SupersededBy = by.ID
		}
		add(shown)
	}
	for a, n := range annotations {
		shown := page.Waiver{
			ID: rules.WaiveAnnotation, Reason: a.reason, Source: "annotation of " + a.Kind + "/" + a.Name, Expires: a.expires, Violations: n,
			Selects: []page.Condition{{Field: "namespace", Value: a.namespace}, {Field: "workload", Value: a.Kind + "/" + a.Name}},
		}
		if a.checks != "" {
			shown.Selects = append(shown.Selects, page.Condition{Field: "check", Value: a.checks})
		}
		add(shown)
	}
	slices.SortFunc(all, func(a, b page.Waiver) int {
		return cmp.Or(a.Expires.Compare(b.Expires), cmp.Compare(a.ID, b.ID), slices.Compare(waiverTexts(a), waiverTexts(b)))
	})
	return all
}

// mistakes describes the annotations that accept nothing. It omits duplicates, because the pods of a workload have the same annotations.
func (q *request) mistakes(snap *state.Snapshot) []string {
	var texts []string
	seen := make(map[string]bool)
	for m := range snap.Mistakes() {
		of := q.workloadOf(m.Pod)
		text := m.Namespace + "/" + of.Kind + "/" + of.Name + ": " + m.Text
		if !seen[text] && len(texts) < maxMistakes {
			texts = append(texts, text)
		}
		seen[text] = true
	}
	return texts
}
