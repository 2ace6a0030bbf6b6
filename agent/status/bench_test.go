package status

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/history"
)

// large returns a fixture with n namespaces of two pods each, and a day of history.
func large(tb testing.TB, n int) *fixture {
	tb.Helper()
	f := newFixture(tb)
	for i := range n {
		namespace := fmt.Sprintf("team-%04d", i)
		f.add(tb, namespace, "web", "web-abc-1", []string{good, latest, rooted}[i%3], "")
		f.add(tb, namespace, "api", "api-abc-1", []string{good, latest}[i%2], "")
	}
	snap, now := f.state.Snapshot(), f.now
	for at := now.Add(-history.Span); !at.After(now); at = at.Add(history.Period) {
		f.history.Record(at, snap)
	}
	return f
}

// TestLargeOverview checks that an overview of many namespaces is fast for all queries. Each request has another time, so that none shares the
// scores of the previous request. The test measures CPU time, because other tests may run at the same time.
func TestLargeOverview(t *testing.T) {
	const limit = 100 * time.Millisecond
	namespaces, requests := 5000, 300
	if testing.Short() {
		namespaces, requests = 500, 12
	}
	f := large(t, namespaces)
	queries := []string{"", "?sort=day", "?filter=team-00", "?sort=namespace&page=5", "?grade=Good", "?sort=hour&order=desc"}
	var took, wall []time.Duration
	for i := range requests {
		f.now = f.now.Add(time.Second)
		before, began := processorTime(t), time.Now()
		recorder, answer := f.ask("/"+queries[i%len(queries)], "text/html")
		took, wall = append(took, processorTime(t)-before), append(wall, time.Since(began))
		if answer.Status != http.StatusOK || recorder.Body.Len() < 10_000 {
			t.Fatalf("%d of %d bytes", answer.Status, recorder.Body.Len())
		}
	}
	slices.Sort(took)
	slices.Sort(wall)
	at := requests * 99 / 100
	t.Logf("%d namespaces: processor time p50 %s, p99 %s; on the clock p50 %s, p99 %s", namespaces, took[requests/2], took[at], wall[requests/2], wall[at])
	if took[at] > limit {
		t.Errorf("p99 of / is %s, want at most %s", took[at], limit)
	}
}

// processorTime returns the CPU time that the test has used.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestSharedScores checks that many readers of an overview cost hardly more than one reader: their requests share the scores for a short time.
func TestSharedScores(t *testing.T) {
	f := large(t, 50)
	q := request{Views: f.Views, now: f.now, state: f.state}
	first := q.scores()
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() {
			if other := (&request{Views: f.Views, now: f.now, state: f.state}); other.scores() != first {
				t.Error("a reader computed the scores again")
			}
		})
	}
	readers.Wait()
	f.add(t, "team-0000", "web", "web-abc-1", rooted, "")
	q.now = f.now.Add(shareFor + 1)
	if second := q.scores(); second == first || second.total.Violations != first.total.Violations+1 {
		t.Errorf("later: %d violations, before %d", second.total.Violations, first.total.Violations)
	}
	f.state = newFixture(t).state // another term
	q.state = f.state
	if next := q.scores(); len(next.rows) != 0 {
		t.Errorf("%d namespaces of an earlier term", len(next.rows))
	}
}

func BenchmarkOverview(b *testing.B) {
	f := large(b, 5000)
	for _, run := range []struct{ name, accept string }{{"html", "text/html"}, {"json", "application/json"}} {
		b.Run(run.name, func(b *testing.B) {
			for b.Loop() {
				f.now = f.now.Add(time.Second)
				f.ask("/", run.accept)
			}
		})
	}
	b.Run("shared-not-modified", func(b *testing.B) {
		for b.Loop() {
			request := httptest.NewRequest(http.MethodGet, "/", nil)
			f.Answer(request)
		}
	})
}
