package status

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kube-devops/kube-devops/agent/page"
	"github.com/kube-devops/kube-devops/rules"
)

// countFor is how long the counts of excluded pods stay as they are: to count them takes a look at all pods.
const countFor = 10 * time.Second

// counted keeps the counts of excluded pods.
type counted struct {
	mu    sync.Mutex
	at    time.Time
	hash  string // of the table
	count []page.PodCount
}

// excludedPods counts the pods of the namespaces that the table excludes.
func (q *request) excludedPods(table *rules.Table) []page.PodCount {
	if q.Excluded == nil {
		return nil
	}
	c := &q.excluded
	c.mu.Lock()
	defer c.mu.Unlock()
	if age := q.now.Sub(c.at); c.hash != table.Hash() || age < 0 || age > countFor {
		c.count, c.hash, c.at = podCounts(q.Excluded(table)), table.Hash(), q.now
	}
	return c.count
}

// uncounted is what is in no score of the cluster.
func (q *request) uncounted(s *scored) page.Uncounted {
	return page.Uncounted{
		Unevaluated: s.unknown, Skipped: podCounts(s.skipped), Excluded: q.excludedPods(s.table), Unavailable: q.unavailable(""),
	}
}

// unavailable lists the namespaces that the agent may not read; only one of them, if that is not empty.
func (q *request) unavailable(only string) []page.Unavailable {
	if q.Forbidden == nil {
		return nil
	}
	var found []page.Unavailable
	for _, namespace := range q.Forbidden() {
		if only == "" || namespace == only {
			found = append(found, page.Unavailable{Name: "namespace " + namespace, Reason: "The agent may not list the pods of this namespace."})
		}
	}
	return found
}

// podCounts are sorted: the most pods first.
func podCounts(of map[string]int) []page.PodCount {
	counts := []page.PodCount{}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		counts = append(counts, page.PodCount{Name: name, Pods: of[name]})
	}
	slices.SortStableFunc(counts, func(a, b page.PodCount) int { return cmp.Compare(b.Pods, a.Pods) })
	return counts
}
