package history

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kube-devops/kube-devops/agent/state"
)

const (
	// Span is the time that the history covers.
	Span = 24 * time.Hour
	// Period is the time between two points.
	Period = 10 * time.Minute
	// MaxNamespaces is the maximum number of namespaces with a history. It keeps users who may create namespaces from exhausting the memory
	// of the agent.
	MaxNamespaces = 5000

	// points is the number of points in the span, including both ends.
	points = int(Span/Period) + 1
)

// A History is the history of one term. It starts empty, because a replica that becomes the leader has no earlier data. It is safe for
// concurrent use.
type History struct {
	since time.Time

	mu         sync.Mutex
	newest     int64 // the number of the newest period, counted from 1970
	cluster    series
	namespaces map[string]*series
	changes    changes
	replaced   time.Time
}

// New returns an empty history that begins now.
func New(now time.Time) *History { return &History{since: now, namespaces: make(map[string]*series)} }

// Since returns when the history began.
func (h *History) Since() time.Time { return h.since }

// ReplacePolicy records that the policy was replaced. The changes do not include the violations that this opened and resolved.
func (h *History) ReplacePolicy(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.replaced = now
}

// PolicyReplaced returns when the policy was last replaced; the zero time if it never was.
func (h *History) PolicyReplaced() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.replaced
}

// A series is a ring of the compliance at the beginning of each period. Its index is the number of the period modulo the number of points.
type series struct {
	last int64 // the number of the newest period that has a point
	of   [points]point
}

// A point is a compliance in hundredths of a percent, plus 1; 0 means no data. A float64 would need four times the memory.
type point uint16

func pointOf(compliance float64) point { return 1 + point(math.Round(100*compliance)) }

func (p point) compliance() (float64, bool) {
	if p == 0 {
		return 0, false
	}
	return float64(p-1) / 100, true
}

func index(period int64) int { return int(period % int64(points)) }

func periodOf(at time.Time) int64 { return max(0, at.Unix()) / int64(Period/time.Second) }

// Record adds the scores of a snapshot. For each namespace, the first score in a period becomes its point, and later scores are ignored. A time
// before the newest period counts as the newest period.
func (h *History) Record(now time.Time, snap *state.Snapshot) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.advance(periodOf(now))
	if scores, ok := snap.Cluster(); ok {
		h.cluster.add(h.newest, scores.Compliance)
	}
	for i := range snap.Namespaces {
		ns := &snap.Namespaces[i]
		of := h.namespaces[ns.Name]
		if of != nil && of.last == h.newest {
			continue
		}
		scores, ok := ns.Scores(snap.Table)
		if !ok {
			continue
		}
		if of == nil {
			if of = h.admit(snap); of == nil {
				continue
			}
			h.namespaces[strings.Clone(ns.Name)] = of // the name may share memory with a larger text
		}
		of.add(h.newest, scores.Compliance)
	}
}

// advance moves the newest period forward, and removes the points that are older than the span.
func (h *History) advance(to int64) {
	from := h.newest
	if to <= from {
		return
	}
	h.newest = to
	h.cluster.forget(from, to)
	for name, of := range h.namespaces {
		if to-of.last >= int64(points) {
			delete(h.namespaces, name) // no scored pods for the whole span
			continue
		}
		of.forget(from, to)
	}
}

// forget clears the points for the periods after from, up to and including to.
func (s *series) forget(from, to int64) {
	for period := max(from+1, to-int64(points)+1); period <= to; period++ {
		s.of[index(period)] = 0
	}
}

func (s *series) add(period int64, compliance float64) {
	if at := &s.of[index(period)]; *at == 0 {
		*at, s.last = pointOf(compliance), period
	}
}

// admit returns an empty series for one more namespace. At the limit, it removes the series of deleted namespaces. It returns nil if there are
// none.
func (h *History) admit(snap *state.Snapshot) *series {
	if len(h.namespaces) < MaxNamespaces {
		return new(series)
	}
	// Remove all deleted namespaces at once, so that many new namespaces do not each cause a search.
	maps.DeleteFunc(h.namespaces, func(name string, _ *series) bool {
		_, found := slices.BinarySearchFunc(snap.Namespaces, name, func(ns state.NamespaceSnapshot, name string) int {
			return cmp.Compare(ns.Name, name)
		})
		return !found
	})
	if len(h.namespaces) < MaxNamespaces {
		return new(series)
	}
	return nil
}

// Cluster returns the compliance of the cluster over the span.
func (h *History) Cluster(now time.Time) Trend {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.trend(&h.cluster, now)
}

// Namespace returns the compliance of a namespace over the span. It has no points if the namespace has no history.
func (h *History) Namespace(name string, now time.Time) Trend {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.trend(h.namespaces[name], now)
}

// Ago returns the compliance of a namespace a time ago; false if it is unknown.
func (h *History) Ago(name string, now time.Time, ago time.Duration) (float64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ago(h.namespaces[name], now, ago)
}

// A Trend is the compliance of a namespace or of the cluster at the beginning of each period of the span, oldest first. Unknown points are NaN.
// The last point is that of the current period.
type Trend []float64

func (h *History) trend(of *series, now time.Time) Trend {
	if of == nil {
		return nil
	}
	trend, newest := make(Trend, points), periodOf(now)
	for i := range trend {
		trend[i] = math.NaN()
		if value, ok := h.at(of, newest-int64(points-1-i)); ok {
			trend[i] = value
		}
	}
	return trend
}

func (h *History) ago(of *series, now time.Time, ago time.Duration) (float64, bool) {
	if of == nil {
		return 0, false
	}
	return h.at(of, periodOf(now.Add(-ago)))
}

// at returns the compliance of a period; false if the period is outside the history or has no data.
func (h *History) at(of *series, period int64) (float64, bool) {
	if period < 0 || period > h.newest || period <= h.newest-int64(points) {
		return 0, false
	}
	return of.of[index(period)].compliance()
}
