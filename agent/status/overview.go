package status

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/kube-devops/kube-devops/agent/history"
	"github.com/kube-devops/kube-devops/agent/page"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// shareFor is how long requests share computed scores, so that many open overviews cost no more than one. It is short compared to the refresh
// interval of the page, which is one and a half seconds.
const shareFor = 200 * time.Millisecond

// overviews caches the scores of all namespaces.
type overviews struct {
	mu sync.Mutex
	of weak.Pointer[state.ClusterState] // does not keep the state of an earlier term in memory
	at time.Time
	*scored
}

// scored has the scores of all namespaces at one time. It is immutable.
type scored struct {
	table   *rules.Table
	rows    []row // worst first
	total   page.Total
	skipped map[string]int
	unknown int // pods that could not be evaluated
}

// A row is a namespace.
type row struct {
	name   string
	scores state.Scores
	scored bool
	grade  int // the index of its grade, where 0 is the best
	reason string
	page.Counts
}

// scores returns the scores of all namespaces. It computes them unless they were computed within shareFor.
func (q *request) scores() *scored {
	o := &q.overviews
	o.mu.Lock()
	defer o.mu.Unlock()
	of := weak.Make(q.state)
	if age := q.now.Sub(o.at); o.scored == nil || o.of != of || age < 0 || age > shareFor {
		o.scored, o.of, o.at = score(q.state.Snapshot()), of, q.now
	}
	return o.scored
}

func score(snap *state.Snapshot) *scored {
	table := snap.Table
	s := &scored{table: table, rows: make([]row, 0, len(snap.Namespaces)), skipped: snap.Skipped}
	s.total.ByGrade = make([]int, len(table.Grades()))
	for i := range snap.Namespaces {
		ns := &snap.Namespaces[i]
		r := row{name: ns.Name, Counts: countsOf(ns.LiveMetrics), grade: len(table.Grades())}
		if r.scores, r.scored = ns.Scores(table); r.scored {
			r.grade, r.reason = table.GradeIndex(r.scores.Grade), report.GradeReason(table, r.scores, ns.Violations)
			s.total.ByGrade[r.grade]++
			s.total.Namespaces++
		}
		s.rows = append(s.rows, r)
	}
	slices.SortFunc(s.rows, worst)
	totals := snap.Totals()
	s.total.Counts, s.unknown = countsOf(totals), totals.Unevaluated
	s.total.BySeverity = bySeverity(table, totals.Violations)
	if scores, ok := snap.Cluster(); ok {
		s.total.Scores = scoresOf(scores, true, report.GradeReason(table, scores, totals.Violations))
	}
	return s
}

// worst compares namespaces in the order of a scan report: lowest compliance, highest score, name. Namespaces without data come last.
func worst(a, b row) int {
	if a.scored != b.scored {
		return map[bool]int{true: -1, false: 1}[a.scored]
	}
	return cmp.Or(cmp.Compare(a.scores.Compliance, b.scores.Compliance), cmp.Compare(b.scores.Score, a.scores.Score), cmp.Compare(a.name, b.name))
}

func countsOf(m state.LiveMetrics) page.Counts {
	return page.Counts{Pods: m.TotalPods, Violations: sum(m.Violations), Waived: sum(m.Waived), Unknown: sum(m.Unknown)}
}

func sum(counts []int) int {
	total := 0
	for _, n := range counts {
		total += n
	}
	return total
}

// bySeverity counts violations by severity, most severe first. It omits severities without violations.
func bySeverity(table *rules.Table, violations []int) []page.SeverityCount {
	counts := make([]int, len(rules.Severities()))
	for i, check := range table.Checks() {
		counts[check.Severity.Rank()] += violations[i]
	}
	found := []page.SeverityCount{}
	for i, severity := range rules.Severities() {
		if counts[i] > 0 {
			found = append(found, page.SeverityCount{Severity: string(severity), Violations: counts[i]})
		}
	}
	return found
}

func scoresOf(s state.Scores, ok bool, reason string) page.Scores {
	if !ok {
		return page.Scores{}
	}
	return page.Scores{Score: &s.Score, Compliance: &s.Compliance, Grade: &s.Grade, GradeReason: reason}
}

// overview returns the view of all namespaces.
func (q *request) overview(query page.Query) *page.Overview {
	s := q.scores()
	o := &page.Overview{Head: q.head(s.table, ""), Total: s.total, Query: query, Namespaces: []page.NamespaceRow{}}
	if q.history != nil {
		q.cluster(&o.Total.Scores)
	}
	found := make([]*row, 0, len(s.rows))
	for i := range s.rows {
		r := &s.rows[i]
		if (query.Grade == "" || r.scored && r.scores.Grade == query.Grade) && query.Matches(r.name) {
			found = append(found, r)
		}
	}
	q.sort(found, query)
	o.Query.All = len(s.rows)
	start, end := o.Query.Slice(len(found))
	for _, r := range found[start:end] {
		o.Namespaces = append(o.Namespaces, q.row(r))
	}
	o.Uncounted = q.uncounted(s)
	return o
}

// row returns the row of a namespace, with its history.
func (q *request) row(r *row) page.NamespaceRow {
	out := page.NamespaceRow{Name: r.name, Scores: scoresOf(r.scores, r.scored, r.reason), Counts: r.Counts}
	if q.history != nil && r.scored {
		out.HourChange, out.DayChange = q.change(r, time.Hour), q.change(r, history.Span)
		out.Trend = trendOf(q.history.Namespace(r.name, q.now), r.scores.Compliance)
	}
	return out
}

// change returns the change of the compliance since a time ago; nil if it is unknown.
func (q *request) change(r *row, ago time.Duration) *float64 {
	if q.history == nil || !r.scored {
		return nil
	}
	before, ok := q.history.Ago(r.name, q.now, ago)
	if !ok {
		return nil
	}
	return rounded(r.scores.Compliance - before)
}

// cluster adds the history of the cluster to its scores.
func (q *request) cluster(s *page.Scores) {
	if s.Compliance == nil {
		return
	}
	trend := q.history.Cluster(q.now)
	for _, since := range []struct {
		ago time.Duration
		to  **float64
	}{{time.Hour, &s.HourChange}, {history.Span, &s.DayChange}} {
		if i := len(trend) - 1 - int(since.ago/history.Period); i >= 0 && !math.IsNaN(trend[i]) {
			*since.to = rounded(*s.Compliance - trend[i])
		}
	}
	s.Trend = trendOf(trend, *s.Compliance)
}

// rounded rounds a difference to hundredths, the precision of the history.
func rounded(difference float64) *float64 {
	difference = math.Round(100*difference)/100 + 0 // not -0
	return &difference
}

// trendOf returns a trend with the current compliance as its last point. It returns nil if there are no earlier points.
func trendOf(trend history.Trend, now float64) page.Trend {
	known := false
	for _, value := range trend[:max(0, len(trend)-1)] {
		known = known || !math.IsNaN(value)
	}
	if !known {
		return nil
	}
	points := make(page.Trend, len(trend))
	for i, value := range trend {
		points[i] = float32(value)
	}
	points[len(points)-1] = float32(math.Round(100*now) / 100)
	return points
}

// sort sorts namespaces by the column of the query. They must be sorted worst first, which is the order of equal values. Namespaces without
// a value come last in both directions.
func (q *request) sort(rows []*row, query page.Query) {
	var value func(*row) (float64, bool)
	number := func(n func(*row) int) func(*row) (float64, bool) {
		return func(r *row) (float64, bool) { return float64(n(r)), true }
	}
	changed := func(ago time.Duration) func(*row) (float64, bool) {
		changes := make(map[*row]*float64, len(rows))
		for _, r := range rows {
			changes[r] = q.change(r, ago)
		}
		return func(r *row) (float64, bool) {
			if changes[r] == nil {
				return 0, false
			}
			return *changes[r], true
		}
	}
	switch query.Sort {
	case page.SortWorst:
		return
	case page.SortNamespace:
		slices.SortFunc(rows, func(a, b *row) int { return directed(cmp.Compare(a.name, b.name), query) })
		return
	case page.SortGrade:
		value = func(r *row) (float64, bool) { return float64(r.grade), r.scored }
	case page.SortCompliance:
		value = func(r *row) (float64, bool) { return r.scores.Compliance, r.scored }
	case page.SortScore:
		value = func(r *row) (float64, bool) { return r.scores.Score, r.scored }
	case page.SortHour:
		value = changed(time.Hour)
	case page.SortDay:
		value = changed(history.Span)
	case page.SortPods:
		value = number(func(r *row) int { return r.Pods })
	case page.SortViolations:
		value = number(func(r *row) int { return r.Violations })
	case page.SortWaived:
		value = number(func(r *row) int { return r.Waived })
	case page.SortUnknown:
		value = number(func(r *row) int { return r.Unknown })
	}
	slices.SortStableFunc(rows, func(a, b *row) int {
		left, known := value(a)
		right, knownToo := value(b)
		if known != knownToo {
			return map[bool]int{true: -1, false: 1}[known]
		}
		return directed(cmp.Compare(left, right), query)
	})
}

func directed(order int, query page.Query) int {
	if query.Descending {
		return -order
	}
	return order
}
