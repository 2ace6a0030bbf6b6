package history

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

var start = time.Date(2026, 3, 1, 12, 3, 0, 0, time.UTC)

func table(tb testing.TB) *rules.Table {
	tb.Helper()
	t, err := rules.Load("history.yaml", []byte(`apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: history}
checks:
  - {id: first, weight: 1, violation: {path: spec.a, operator: exists}}
  - {id: second, weight: 1, violation: {path: spec.b, operator: exists}}
`))
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// snapshotOf returns a snapshot of namespaces with compliances in percent. A negative compliance means that the pods of the namespace could
// not be evaluated.
func snapshotOf(t *rules.Table, compliances map[string]int) *state.Snapshot {
	snap := &state.Snapshot{Table: t}
	for _, name := range slices.Sorted(maps.Keys(compliances)) {
		ns := state.NamespaceSnapshot{Name: name}
		if percent := compliances[name]; percent < 0 {
			ns.Unevaluated = 1
		} else {
			ns.TotalPods = 1
			ns.Subjects, ns.Violations = []int{100, 0}, []int{100 - percent, 0}
		}
		snap.Namespaces = append(snap.Namespaces, ns)
	}
	return snap
}

// TestTrend records one namespace from its first minute. Unknown points must stay unknown.
func TestTrend(t *testing.T) {
	policy, h := table(t), New(start)
	if got := h.Namespace("shop", start); got != nil {
		t.Errorf("without data the trend is %v", got)
	}
	ago := func(now time.Time, ago time.Duration) string {
		value, ok := h.Ago("shop", now, ago)
		return fmt.Sprint(value, ok)
	}
	for minute := range 25 * 60 {
		now := start.Add(time.Duration(minute) * time.Minute)
		h.Record(now, snapshotOf(policy, map[string]int{"shop": minute / 60}))
		for _, span := range []time.Duration{time.Hour, 24 * time.Hour} {
			want := "0 false"
			if past := now.Add(-span).Truncate(Period); !past.Before(start.Truncate(Period)) {
				// The point is that of the first minute of its period.
				want = fmt.Sprint(math.Floor(max(past.Sub(start), 0).Hours()), true)
			}
			if got := ago(now, span); got != want {
				t.Fatalf("minute %d: %s ago: %s, want %s", minute, span, got, want)
			}
		}
	}
	end := start.Add(25*time.Hour - time.Minute)
	trend := h.Namespace("shop", end)
	if len(trend) != 145 || trend[0] != 0 || trend[144] != 24 {
		t.Errorf("the trend of a day: %v", trend)
	}
	if cluster := h.Cluster(end); !slices.Equal(cluster, trend) {
		t.Errorf("the trend of the cluster of one namespace: %v", cluster)
	}
}

// TestRandomTimes compares the history with a list of all recorded scores, while namespaces are created, deleted and created again, and the
// clock jumps in both directions.
func TestRandomTimes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	policy := table(t)
	names := []string{"a", "b", "c", "d"}
	for range 20 {
		h, now := New(start), start
		recorded := make(map[string]map[int64]float64) // by namespace and period
		newest := int64(0)
		for range 300 {
			step := time.Duration(random.IntN(15)) * time.Minute
			switch random.IntN(40) {
			case 0:
				step = time.Duration(random.IntN(40)) * time.Hour
			case 1:
				step = -time.Duration(random.IntN(60)) * time.Minute
			}
			now = now.Add(step)
			present := make(map[string]int)
			for _, name := range names {
				if random.IntN(3) > 0 {
					present[name] = random.IntN(102) - 1
				}
			}
			h.Record(now, snapshotOf(policy, present))
			newest = max(newest, periodOf(now))
			for name, percent := range present {
				if recorded[name] == nil {
					recorded[name] = make(map[int64]float64)
				}
				if _, known := recorded[name][newest]; !known && percent >= 0 {
					recorded[name][newest] = float64(percent)
				}
			}
			for _, name := range names {
				for i, got := range h.Namespace(name, now) {
					period := periodOf(now) - int64(points-1-i)
					want, known := recorded[name][period]
					if known = known && period > newest-int64(points); known != !math.IsNaN(got) || known && got != want {
						t.Fatalf("namespace %s, point %d: %v, want %v %v", name, i, got, want, known)
					}
				}
			}
		}
	}
}

// TestMemory checks the memory of a history with 5,000 namespaces, long names and all points of a day, and that deleted namespaces free their
// memory.
func TestMemory(t *testing.T) {
	policy, h := table(t), New(start)
	generation := func(prefix string) *state.Snapshot {
		compliances := make(map[string]int, MaxNamespaces)
		for i := range MaxNamespaces {
			compliances[prefix+strings.Repeat("x", 50)+fmt.Sprintf("-%06d", i)] = i % 101
		}
		return snapshotOf(policy, compliances)
	}
	const most = 3_000_000
	before := heap()
	now := start
	snap := generation("a")
	h.Record(now, snap)
	for i := range MaxChanges + 1 {
		h.Observe(now, policy, state.Change{
			Pod:        state.Pod{Namespace: strings.Repeat("n", 63), Name: fmt.Sprintf("%0253d", i)},
			Transition: state.Transition{After: []int{0}},
		}, "Deployment/"+strings.Repeat("w", 253), PodChanged)
	}
	fresh := snap.Namespaces[0].Name
	for _, prefix := range []string{"b", "c"} { // all namespaces are replaced, twice
		now = now.Add(Period)
		snap = generation(prefix)
		h.Record(now, snap)
	}
	if trend := h.Namespace(fresh, now); trend != nil {
		t.Error("a namespace that has gone has a history, though others need the room")
	}
	if _, ok := h.Ago(snap.Namespaces[0].Name, now, 0); !ok {
		t.Error("a namespace that replaced another one has no history")
	}
	h.Record(now, snapshotOf(policy, map[string]int{"one-more": 1})) // makes room too: all others have gone
	if got := len(h.namespaces); got != 1 {
		t.Errorf("%d namespaces have a history, want 1", got)
	}
	now = now.Add(Period)
	h.Record(now, snap)
	snap = nil
	after := heap()
	runtime.KeepAlive(h)
	if kept := after - before; kept > most {
		t.Errorf("the history of %d namespaces keeps %d bytes, want at most %d", len(h.namespaces), kept, most)
	} else {
		t.Logf("the history of %d namespaces keeps %d bytes", len(h.namespaces), kept)
	}
}

// TestMoreNamespacesThanFit checks that a namespace above the limit has no history, and that the others keep theirs.
func TestMoreNamespacesThanFit(t *testing.T) {
	policy, h := table(t), New(start)
	compliances := make(map[string]int)
	for i := range MaxNamespaces + 1 {
		compliances[fmt.Sprintf("n%04d", i)] = 50
	}
	h.Record(start, snapshotOf(policy, compliances))
	if _, ok := h.Ago("n0000", start, 0); !ok || len(h.namespaces) != MaxNamespaces {
		t.Errorf("the first one has a history: %v; of %d namespaces", ok, len(h.namespaces))
	}
	if _, ok := h.Ago("n5000", start, 0); ok {
		t.Error("the namespace beyond the limit has a history")
	}
}

// TestForgottenNamespace checks that a namespace without pods keeps its history for the span, so that it still has the history when it is scaled
// up again.
func TestForgottenNamespace(t *testing.T) {
	policy, h := table(t), New(start)
	h.Record(start, snapshotOf(policy, map[string]int{"night": 50}))
	h.Record(start.Add(Span-Period), snapshotOf(policy, nil))
	if value, ok := h.Ago("night", start.Add(Span-Period), Span-Period); !ok || value != 50 {
		t.Errorf("before the span has passed: %v %v", value, ok)
	}
	h.Record(start.Add(Span+Period), snapshotOf(policy, nil))
	if len(h.namespaces) != 0 {
		t.Error("a namespace without pods is kept for longer than the span")
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func BenchmarkRecord(b *testing.B) {
	policy, h := table(b), New(start)
	compliances := make(map[string]int)
	for i := range MaxNamespaces {
		compliances[fmt.Sprintf("namespace-%04d", i)] = i % 101
	}
	snap, now := snapshotOf(policy, compliances), start
	for b.Loop() {
		now = now.Add(Period)
		h.Record(now, snap)
	}
	b.ReportMetric(MaxNamespaces, "namespaces")
}
