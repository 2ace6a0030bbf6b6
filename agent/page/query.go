package page

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Columns by which an overview can be sorted. SortWorst is the default: lowest compliance first.
const (
	SortWorst      = ""
	SortNamespace  = "namespace"
	SortGrade      = "grade"
	SortCompliance = "compliance"
	SortHour       = "hour"
	SortDay        = "day"
	SortScore      = "score"
	SortPods       = "pods"
	SortViolations = "violations"
	SortWaived     = "waived"
	SortUnknown    = "unknown"
)

// PerPage is the default number of rows of a page, and MostPerPage the maximum.
const (
	PerPage     = 100
	MostPerPage = 500
)

// maxFilter is the maximum length of a filter, in bytes. A namespace has at most 63 characters.
const maxFilter = 200

// A Query is the parameters of a request for a view, and the numbers of rows found.
type Query struct {
	// Filter has the words that a row must contain, ignoring case.
	Filter string `json:"filter"`
	// Grade is the grade that a row must have; empty for any grade.
	Grade string `json:"grade"`
	// Sort is the column: one of the Sort constants. Descending is the order.
	Sort       string `json:"sort"`
	Descending bool   `json:"descending"`
	// Page is the 1-based number of the page. Pages is at least 1.
	Page    int `json:"page"`
	PerPage int `json:"perPage"`

	// Pages, Found and All are results: the numbers of pages, of matching rows, and of all rows.
	Pages int `json:"pages"`
	Found int `json:"found"`
	All   int `json:"all"`
}

// ParseQuery reads the parameters filter, grade, sort, order, page and per. It replaces invalid values with defaults, so that an old link still
// shows a page.
func ParseQuery(values url.Values) Query {
	q := Query{
		Filter: strings.ToValidUTF8(values.Get("filter"), "\uFFFD"), Grade: strings.ToValidUTF8(values.Get("grade"), "\uFFFD"),
		Page: 1, PerPage: PerPage,
	}
	if len(q.Filter) > maxFilter {
		q.Filter = strings.ToValidUTF8(q.Filter[:maxFilter], "")
	}
	if len(q.Grade) > maxFilter {
		q.Grade = strings.ToValidUTF8(q.Grade[:maxFilter], "")
	}
	if column, ok := columnOf(values.Get("sort")); ok {
		q.Sort, q.Descending = column.sort, column.descending
		switch values.Get("order") {
		case "asc":
			q.Descending = false
		case "desc":
			q.Descending = true
		}
	}
	if n, err := strconv.Atoi(values.Get("page")); err == nil && n > 0 {
		q.Page = n
	}
	if n, err := strconv.Atoi(values.Get("per")); err == nil && n > 0 {
		q.PerPage = min(n, MostPerPage)
	}
	return q
}

// Words returns the words of the filter in lower case.
func (q Query) Words() []string { return strings.Fields(strings.ToLower(q.Filter)) }

// Matches reports whether the texts of a row contain all words of the filter. It ignores the grade.
func (q Query) Matches(texts ...string) bool {
	words := q.Words()
	if len(words) == 0 {
		return true
	}
	row := strings.ToLower(strings.Join(texts, "\n"))
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(row, word) })
}

// Slice sets Pages and Found for a number of matching rows, limits Page to the existing pages, and returns the range of rows on the page.
func (q *Query) Slice(found int) (start, end int) {
	q.Found = found
	q.Pages = max(1, (found+q.PerPage-1)/q.PerPage)
	q.Page = min(max(1, q.Page), q.Pages)
	start = (q.Page - 1) * q.PerPage
	return start, min(start+q.PerPage, found)
}

// values returns the parameters of the query, without those that have their default values.
func (q Query) values() url.Values {
	values := make(url.Values)
	set := func(name, value string) {
		if value != "" {
			values.Set(name, value)
		}
	}
	set("filter", q.Filter)
	set("grade", q.Grade)
	if column, ok := columnOf(q.Sort); ok {
		set("sort", q.Sort)
		if q.Descending != column.descending {
			set("order", map[bool]string{true: "desc", false: "asc"}[q.Descending])
		}
	}
	if q.Page > 1 {
		values.Set("page", strconv.Itoa(q.Page))
	}
	if q.PerPage != PerPage && q.PerPage > 0 {
		values.Set("per", strconv.Itoa(q.PerPage))
	}
	return values
}

// link returns a relative URL with the parameters of the query.
func (q Query) link() string { return "?" + q.values().Encode() }

// A column is a column by which the overview can be sorted.
type column struct {
	sort       string
	head       string
	title      string // the tooltip of the head
	class      string
	descending bool // the default order, which shows the worst first
}

var columns = []column{
	{SortNamespace, "Namespace", "", "", false},
	{SortGrade, "Grade", "", "", true},
	{SortCompliance, "Compliance", "The percentage of the possible penalty points that were not incurred", "", false},
	{SortHour, "1 h", "Change of the compliance in the last hour, in percentage points", "number", false},
	{SortDay, "24 h", "Change of the compliance in the last 24 hours, in percentage points", "number", false},
	{SortScore, "Score", "Penalty points for each pod: lower is better", "number", true},
	{SortPods, "Pods", "", "number", true},
	{SortViolations, "Violations", "", "number", true},
	{SortWaived, "Waived", "Violations that a waiver accepts until it expires", "number", true},
	{SortUnknown, "Unknown", "Violations of checks that could not be decided", "number", true},
}

func columnOf(sort string) (column, bool) {
	for _, c := range columns {
		if c.sort == sort {
			return c, true
		}
	}
	return column{}, false
}
