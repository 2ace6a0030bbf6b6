package status

import (
	"fmt"

	"github.com/kube-devops/kube-devops/agent/history"
	"github.com/kube-devops/kube-devops/agent/page"
)

// reasons explains changes of violations that a change of the pod did not cause.
var reasons = map[history.Cause]string{
	history.PodGone:       "The pod is gone.",
	history.WaiverExpired: "A waiver has expired.",
}

// changes returns the view of the last violations that were opened and resolved.
func (q *request) changes(query page.Query) *page.Changes {
	view := &page.Changes{Head: q.head(q.state.Table(), ""), Query: query, Most: history.MaxChanges, Changes: []page.Change{}}
	if q.history == nil { // the term has just ended
		view.Query.Slice(0)
		return view
	}
	view.Since = q.history.Since().UTC()
	last, _ := q.history.Changes()
	if at := q.history.PolicyReplaced(); !at.IsZero() {
		view.Warnings = append(view.Warnings, fmt.Sprintf(
			"The policy was replaced at %s. The violations that this opened and resolved are not listed.", at.UTC().Format("2006-01-02 15:04:05 MST")))
	}
	view.Query.All = len(last)
	for _, c := range last {
		shown := page.Change{
			Time: c.Time.UTC(), Opened: c.Opened, Namespace: c.Namespace, Workload: c.Workload, Pod: c.Pod, Check: c.Check,
			Severity: string(c.Severity), Reason: reasons[c.Cause],
		}
		if query.Matches(c.Namespace, c.Workload, c.Pod, c.Check) {
			view.Changes = append(view.Changes, shown)
		}
	}
	view.Query.Found, view.Query.Pages, view.Query.Page = len(view.Changes), 1, 1
	return view
}
