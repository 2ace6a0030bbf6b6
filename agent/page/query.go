package page

import (
	"net/url"
	"strconv"
	"strings"
)

// The columns that an overview can be sorted by. SortWorst is the default: the lowest compliance first.
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

// PerPage is the number of rows of a page that does not ask for another one, and MostPerPage the most.
const (
	PerPage     = 100
	MostPerPage = 500
)

// maxFilter bounds a filter, in bytes. A namespace has at most 63 characters.
const maxFilter = 200

// A Query is what a reader asks for in the parameters of a URL, and what was found.
type Query struct {
	// Filter are words that a row must contain, regardless of case.
	Filter string `json:"filter"`
	// Grade is the grade that a row must have; empty for any.
	Grade string `json:"grade"`
	// Sort is one of the constants. Descending is the direction.
	Sort       string `json:"sort"`
	Descending bool   `json:"descending"`
	// Page is the 1-based number of the page. Pages is at least 1.
	Page    int `json:"page"`
	PerPage int `json:"perPage"`

	// Pages, Found and All are for the one who answers to set: the number of pages, of rows that match, and of all rows.
	Pages int `json:"pages"`
	Found int `json:"found"`
	All   int `json:"all"`
}

// ParseQuery reads the parameters filter, grade, sort, order, page and per. What it does not understand has its default, so that an old
// link still shows a page.
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

// Words are the words of the filter, in lower case.
func (q Query) Words() []string { return strings.Fields(strings.ToLower(q.Filter)) }

// Matches reports whether the texts of a row contain all words of the filter. It does not look at the grade.
func (q Query) Matches(texts ...string) bool {
	words := q.Words()
	if len(words) == 0 {
		return true
	}
	row := strings.ToLower(strings.Join(texts, "\n"))
	for _, word := range words {
		if !strings.Contains(row, word) {
			return false
		}
	}
	return true
}

// Slice sets Pages and Found, brings Page into range, and returns which of the rows are on the page: those from start up to end.
func (q *Query) Slice(found int) (start, end int) {
	q.Found = found
	q.Pages = max(1, (found+q.PerPage-1)/q.PerPage)
	q.Page = min(max(1, q.Page), q.Pages)
	start = (q.Page - 1) * q.PerPage
	return start, min(start+q.PerPage, found)
}

// values are the parameters of the query; those with their default are left out.
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

// link is a relative URL with the parameters of the query.
func (q Query) link() string { return "?" + q.values().Encode() }

// A column is a column of the overview by which it can be sorted.
type column struct {
	sort       string
	head       string
	title      string // explains the head
	class      string
	descending bool // the direction that shows the worst first
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
