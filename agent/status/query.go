package status

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/kube-devops/kube-devops/agent/page"
	"github.com/kube-devops/kube-devops/rules"
)

// sorts has the valid values of the parameter sort.
var sorts = []string{
	page.SortNamespace, page.SortGrade, page.SortCompliance, page.SortHour, page.SortDay, page.SortScore, page.SortPods,
	page.SortViolations, page.SortWaived, page.SortUnknown,
}

// parse reads the parameters of a request. An invalid value is an error of one line, so that a script does not get another page than it
// requested. Empty parameters, such as those of a form, get their defaults. Unknown parameters are ignored.
func parse(raw string, table *rules.Table) (page.Query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return page.Query{}, fmt.Errorf("the query %.100q is not a valid URL query", raw)
	}
	oneOf := func(name string, known ...string) error {
		if value := values.Get(name); value != "" && !slices.Contains(known, value) {
			return fmt.Errorf("unknown %s %.100q; valid values are %s", name, value, strings.Join(known, ", "))
		}
		return nil
	}
	number := func(name string, most int) error {
		if value := values.Get(name); value != "" {
			if n, err := strconv.Atoi(value); err != nil || n < 1 || n > most {
				return fmt.Errorf("%s must be an integer from 1 to %d, got %.100q", name, most, value)
			}
		}
		return nil
	}
	var grades []string
	for _, g := range table.Grades() {
		grades = append(grades, g.Name)
	}
	const mostPages = 1_000_000
	for _, err := range []error{
		oneOf("sort", sorts...), oneOf("order", "asc", "desc"), oneOf("grade", grades...), number("page", mostPages), number("per", page.MostPerPage),
	} {
		if err != nil {
			return page.Query{}, err
		}
	}
	return page.ParseQuery(values), nil
}
