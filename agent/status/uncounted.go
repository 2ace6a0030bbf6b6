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

// countFor is how long the counts of excluded pods are cached, because counting reads all pods.
const countFor = 10 * time.Second

// counted caches the counts of excluded pods.
type counted struct {
	mu    sync.Mutex
	at    time.Time
	hash  string // the hash of the table
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

// uncounted returns the pods that are excluded from the scores of the cluster.
func (q *request) uncounted(s *scored) page.Uncounted {
	return page.Uncounted{
		Unevaluated: s.unknown, Skipped: podCounts(s.skipped), Excluded: q.excludedPods(s.table), Unavailable: q.unavailable(""),
	}
}

// unavailable returns the namespaces that the agent may not read. If only is not empty, it returns no other namespace.
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

// podCounts returns the counts as a list, most pods first.
func podCounts(of map[string]int) []page.PodCount {
	counts := []page.PodCount{}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		counts = append(counts, page.PodCount{Name: name, Pods: of[name]})
	}
	slices.SortStableFunc(counts, func(a, b page.PodCount) int { return cmp.Compare(b.Pods, a.Pods) })
	return counts
}
