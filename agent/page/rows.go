package page

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/page/base"
)

// maxFew is the maximum number of items that an enumeration lists. The page counts the others.
const maxFew = 20

func few[T any](items []T) []T { return items[:min(len(items), maxFew)] }

// more counts the items that few omits.
func more(n int, what string) string { return base.More(n-maxFew, what) }

// mostPods returns the items with the most pods, in descending order.
func mostPods(counts []PodCount) []PodCount {
	return few(slices.SortedFunc(slices.Values(counts), func(a, b PodCount) int {
		return cmp.Or(cmp.Compare(b.Pods, a.Pods), cmp.Compare(a.Name, b.Name))
	}))
}

// showsValue reports whether the page shows the value of a finding: the message does not contain it already.
func showsValue(f Finding) bool { return f.Value != "" && !strings.Contains(f.Message, f.Value) }

// outcomes describes what happens to an object at admission, by the field enforce of the check.
var outcomes = map[string]string{"deny": "refused", "warn": "warned about", "audit": "audited"}

// admission describes what happens to the object of a finding at admission. It returns "" if nothing happens.
func admission(f Finding) string { return outcomes[f.Enforce] }

// Enforced reports whether any finding of the view has an action at admission.
func (f *frame) Enforced() bool {
	return slices.ContainsFunc(f.View.(*Namespace).Workloads, func(w Workload) bool {
		return slices.ContainsFunc(w.Findings, func(f Finding) bool { return admission(f) != "" })
	})
}

// maxPods is the maximum number of pods that a page names for a finding.
const maxPods = 4

func fewPods(pods []string) []string { return pods[:min(len(pods), maxPods)] }

// morePods counts the pods of a finding that are not named.
func morePods(f Finding) string { return base.More(f.PodCount-len(fewPods(f.Pods)), "pod") }

// NamespacePath returns the path of the view of a namespace under a root, such as "/" or "https://governance.example.com/".
func NamespacePath(root, name string) string { return root + "namespaces/" + url.PathEscape(name) }

// Any reports whether there are pods, namespaces or checks that are not counted.
func (u Uncounted) Any() bool {
	return u.Unevaluated > 0 || len(u.Skipped) > 0 || len(u.Excluded) > 0 || len(u.Unavailable) > 0
}

// Label returns the kind and the name, such as "Deployment/web".
func (w Workload) Label() string { return w.Kind + "/" + w.Name }

// Anchor returns the id of the element with the workload's findings.
func (w Workload) Anchor() string { return "findings-" + url.PathEscape(w.Label()) }

// A gradeLink selects the namespaces of a grade.
type gradeLink struct {
	Path, Class, Text string
	Count             int
	Current           bool
}

// GradeLinks returns a link for all namespaces, and one for each grade, best first.
func (f *frame) GradeLinks() []gradeLink {
	o := f.View.(*Overview)
	q := o.Query
	path := func(grade string) string {
		q.Grade, q.Page = grade, 1
		return q.link()
	}
	links := []gradeLink{{path(""), "", "All", o.Total.Namespaces, o.Query.Grade == ""}}
	for i, grade := range o.Grades {
		count := 0
		if i < len(o.Total.ByGrade) {
			count = o.Total.ByGrade[i]
		}
		badge := f.GradeNamed(grade)
		links = append(links, gradeLink{path(grade), badge.Class, badge.Text, count, o.Query.Grade == grade})
	}
	return links
}

// A columnHead is the head of a column, with the link that sorts by the column.
type columnHead struct{ Head, Title, Class, Sorted, Path string }

// Columns returns the column heads of the overview.
func (f *frame) Columns() []columnHead {
	var heads []columnHead
	for _, c := range columns {
		q := *f.query
		head := columnHead{Head: c.head, Title: c.title, Class: c.class}
		switch {
		case q.Sort == c.sort && q.Descending:
			head.Sorted, q.Descending = "descending", false
		case q.Sort == c.sort:
			head.Sorted, q.Descending = "ascending", true
		default:
			q.Sort, q.Descending = c.sort, c.descending
		}
		q.Page = 1
		head.Path = q.link()
		heads = append(heads, head)
		if c.sort == SortDay {
			heads = append(heads, columnHead{Head: "Last 24 h", Class: "spark"})
		}
	}
	return heads
}

// A filter is the filter form above the rows.
type filter struct {
	Query              Query
	Hint, Found, Clear string
	Hidden             []hidden
	Sorts              []option
	// Reverse is the link that reverses the order; empty if the rows are not sorted by a column.
	Reverse string
}

type hidden struct{ Name, Value string }

type option struct {
	Value, Name string
	Selected    bool
}

// Filter returns the filter form for the view's query.
func (f *frame) Filter() filter {
	q := *f.query
	form := filter{Query: q, Hint: f.hint, Found: f.found()}
	values := q.values()
	for _, name := range []string{"grade", "order", "per"} {
		if value := values.Get(name); value != "" {
			form.Hidden = append(form.Hidden, hidden{name, value})
		}
	}
	if f.sorts {
		form.Sorts = []option{{"", "worst first", q.Sort == SortWorst}}
		for _, c := range columns {
			form.Sorts = append(form.Sorts, option{c.sort, c.inWords(), q.Sort == c.sort})
		}
		if reversed := q; q.Sort != SortWorst {
			reversed.Descending, reversed.Page = !q.Descending, 1
			form.Reverse = reversed.link()
		}
	}
	q.Filter, q.Page = "", 1
	form.Clear = q.link()
	return form
}

// inWords returns a name of the column that is clear outside the table.
func (c column) inWords() string {
	switch c.sort {
	case SortHour:
		return "change in 1 h"
	case SortDay:
		return "change in 24 h"
	}
	return c.head
}

// found describes which rows are on the page.
func (f *frame) found() (text string) {
	q := f.query
	if f.sorts && q.Sort == SortWorst && q.Found > 1 {
		defer func() { text += ", worst first" }()
	}
	all := english.Plural(q.All, f.rows, "")
	if q.All >= 1000 {
		all = base.Number(q.All) + " " + english.PluralWord(q.All, f.rows, "")
	}
	switch {
	case q.Pages > 1 && q.Found < q.All:
		start := (q.Page-1)*q.PerPage + 1
		return fmt.Sprintf("%s–%s of %s found, of %s", base.Number(start), base.Number(min(start+q.PerPage-1, q.Found)), base.Number(q.Found), all)
	case q.Pages > 1:
		start := (q.Page-1)*q.PerPage + 1
		return fmt.Sprintf("%s–%s of %s", base.Number(start), base.Number(min(start+q.PerPage-1, q.Found)), all)
	case q.Found < q.All:
		return base.Number(q.Found) + " of " + all
	}
	return all
}

// pages has the links to the other pages of a view.
type pages struct {
	Query Query
	Steps []link
}

// Pages returns the links to the other pages of the view.
func (f *frame) Pages() pages {
	q := *f.query
	to := func(page int, text string) link {
		q.Page = page
		if page == f.query.Page {
			return link{Text: text}
		}
		return link{Path: q.link(), Text: text}
	}
	now, last := f.query.Page, max(1, f.query.Pages)
	return pages{*f.query, []link{
		to(1, "First"), to(max(1, now-1), "Previous"), {Text: "Page " + base.Number(now) + " of " + base.Number(last)},
		to(min(last, now+1), "Next"), to(last, "Last"),
	}}
}

// CheckID returns the id of the check in column i of the grid.
func (f *frame) CheckID(i int) string {
	if checks := f.View.(*Namespace).Checks; i < len(checks) {
		return base.Name(checks[i].ID)
	}
	return ""
}

// CellClass returns the class of a cell in column i of the grid, by the severity of its check.
func (f *frame) CellClass(i int, c Cell) string {
	if checks := f.View.(*Namespace).Checks; i < len(checks) && c.Violations > 0 {
		return severityClass(checks[i].Severity)
	}
	return "none"
}

// CellCounts returns the counts of a workload in words, such as "latest_tag 3".
func (f *frame) CellCounts(w Workload) []string {
	var counts []string
	for i, c := range w.Cells {
		if c.Violations > 0 {
			counts = append(counts, f.CheckID(i)+" "+strconv.Itoa(c.Violations))
		}
	}
	return counts
}

// maxUnfolded is the maximum number of workloads for which a page shows the findings unfolded.
const maxUnfolded = 10

// Unfolded reports whether the page shows the findings unfolded.
func (f *frame) Unfolded() bool { return len(f.View.(*Namespace).Workloads) <= maxUnfolded }

// A waiverRow is a waiver with its state and the time until it expires.
type waiverRow struct {
	Waiver
	Class, State, Left string
}

// Key identifies a row. The id is not enough, because all annotation waivers have the same id.
func (w waiverRow) Key() string {
	parts := []string{w.ID, w.Source, w.Reason, w.Expires.UTC().Format(time.RFC3339Nano)}
	for _, c := range w.Selects {
		parts = append(parts, c.Field, c.Value)
	}
	return keyOf(parts...)
}

// Key identifies a change, so that its row keeps the focus when newer changes are added.
func (c Change) Key() string {
	return keyOf(c.Time.UTC().Format(time.RFC3339Nano), strconv.FormatBool(c.Opened), c.Namespace, c.Pod, c.Check, c.Container, c.Subject)
}

// keyOf returns a short key for the values that identify a row.
func keyOf(parts ...string) string {
	hash := fnv.New64a()
	_, _ = io.WriteString(hash, strings.Join(parts, "\x00"))
	return strconv.FormatUint(hash.Sum64(), 36)
}

// CountAgain returns the text for an expired waiver whose violations count in the scores again.
func (w waiverRow) CountAgain() string {
	if !w.Expired || w.Violations == 0 {
		return ""
	}
	return english.PluralWord(w.Violations, "counts", "count") + " again"
}

// soonDays is the number of days before expiry from which a waiver is marked, so that its owner can renew it or fix the violations.
const soonDays = 14

// WaiverRows returns the rows for the waivers of the view.
func (f *frame) WaiverRows() []waiverRow {
	var waivers []Waiver
	switch view := f.View.(type) {
	case *Waivers:
		waivers = view.Waivers
	case *Namespace:
		waivers = view.Waivers
	}
	rows := make([]waiverRow, len(waivers))
	for i, w := range waivers {
		row := waiverRow{Waiver: w, Class: "best", State: "active", Left: "in " + english.Plural(w.Days, "day", "")}
		switch {
		case w.Expired:
			row.Class, row.State, row.Left = "worst", "expired", english.Plural(-w.Days, "day", "")+" ago"
			if w.Days == 0 {
				row.Left = "today"
			}
		case w.SupersededBy != "":
			row.Class, row.State = "low", "superseded"
		case w.Violations == 0:
			row.Class, row.State = "low", "unused"
		case w.Days <= soonDays:
			row.Class, row.State = "fair", "expires soon"
		}
		if !w.Expired && w.Days == 0 {
			row.Left = "in less than a day"
		}
		rows[i] = row
	}
	return rows
}

// A checkGroup is the checks of one category.
type checkGroup struct {
	Title  string
	Checks []PolicyCheck
}

// CheckGroups returns the checks of the policy by category, in the order of the table. Without categories there is one group without a title.
func (f *frame) CheckGroups() []checkGroup {
	var groups []checkGroup
	for _, check := range f.View.(*Policy).Checks {
		at := slices.IndexFunc(groups, func(g checkGroup) bool { return g.Title == check.Category })
		if at < 0 {
			at = len(groups)
			groups = append(groups, checkGroup{Title: check.Category})
		}
		groups[at].Checks = append(groups[at].Checks, check)
	}
	if len(groups) > 1 {
		for i, g := range groups {
			groups[i].Title = cmp.Or(g.Title, "other")
		}
	}
	return groups
}
