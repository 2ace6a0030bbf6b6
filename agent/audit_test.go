package agent

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kube-devops/kube-devops/agent/podwatch"
	"github.com/kube-devops/kube-devops/agent/state"
)

// A fakeCache differs from the list as a test says.
type fakeCache struct {
	differ   []podwatch.Difference
	err      error
	waiting  int
	relisted int
}

func (c *fakeCache) Synced() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func (c *fakeCache) Differences(context.Context, podwatch.Lister, time.Duration) ([]podwatch.Difference, error) {
	return c.differ, c.err
}

func (c *fakeCache) Relist() {
	c.relisted++
	c.differ = nil
}

func (c *fakeCache) Waiting() int { return c.waiting }

func newTestAuditor(t *testing.T, cache *fakeCache, pods func() iter.Seq[state.Observation]) (*auditor, *lockedBuffer) {
	t.Helper()
	log := new(lockedBuffer)
	e := newTestEvaluator(t, jsonLogger(log), nil)
	return &auditor{
		log: jsonLogger(log), cache: cache, evaluator: e, cached: pods, metrics: newAuditMetrics(prometheus.NewRegistry()),
	}, log
}

func observed(namespace, name, container string) state.Observation {
	return state.Observation{Pod: state.Pod{Namespace: namespace, Name: name, UID: name}, JSON: podJSON(container)}
}

// TestAuditOfTheState breaks the state behind its back, in the ways in which an event can be lost or counted twice.
func TestAuditOfTheState(t *testing.T) {
	pods := func() iter.Seq[state.Observation] {
		return observations(observed("a", "one", latest), observed("a", "two", clean), observed("b", "one", noProbes))
	}
	for _, test := range []struct {
		name  string
		spoil func(*state.ClusterState)
		want  float64 // namespaces that differ
	}{
		{"as it is", func(*state.ClusterState) {}, 0},
		{"a pod too many", func(s *state.ClusterState) {
			_, _ = s.Observe(state.Pod{Namespace: "a", Name: "ghost"}, podJSON(latest))
		}, 1},
		{"a pod too few", func(s *state.ClusterState) { s.Delete(state.Pod{Namespace: "b", Name: "one"}) }, 1},
		{"a change lost", func(s *state.ClusterState) {
			_, _ = s.Observe(state.Pod{Namespace: "a", Name: "one", UID: "one"}, podJSON(clean))
		}, 1},
		{"two that cancel out in the counts", func(s *state.ClusterState) {
			_, _ = s.Observe(state.Pod{Namespace: "a", Name: "one", UID: "one"}, podJSON(clean))
			_, _ = s.Observe(state.Pod{Namespace: "a", Name: "two", UID: "two"}, podJSON(latest))
		}, 1},
		{"a namespace that is not there", func(s *state.ClusterState) {
			_, _ = s.Observe(state.Pod{Namespace: "ghosts", Name: "one"}, podJSON(clean))
			s.Delete(state.Pod{Namespace: "a", Name: "two"})
		}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, log := newTestAuditor(t, &fakeCache{}, pods)
				a.evaluator.begin(t.Context(), pods())
				want := a.evaluator.current().Snapshot()
				test.spoil(a.evaluator.current())
				if err := a.audit(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := testutil.ToFloat64(a.metrics.divergence.WithLabelValues(partState)); got != test.want {
					t.Errorf("%v namespaces counted, want %v", got, test.want)
				}
				if diff := cmp.Diff(want.Namespaces, a.evaluator.current().Snapshot().Namespaces); diff != "" {
					t.Errorf("afterwards (-want +got):\n%s", diff)
				}
				if named := strings.Contains(log.String(), "the state differs from a recompute"); named != (test.want > 0) {
					t.Errorf("logged: %v\n%s", named, log)
				}
				if testutil.ToFloat64(a.metrics.succeeded) == 0 {
					t.Error("the audit does not tell that it came to its end")
				}
			})
		})
	}
}

// TestAuditOfAStateThatMoves: events that are on their way are no difference, nor is a namespace that never rests.
func TestAuditOfAStateThatMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := 0
		forms := []string{clean, latest, noProbes}
		pods := func() iter.Seq[state.Observation] { // one step ahead of the state at each look
			at++
			return observations(observed("a", "one", forms[at%3]))
		}
		a, log := newTestAuditor(t, &fakeCache{}, pods)
		a.evaluator.begin(t.Context(), observations(observed("a", "one", clean)))
		if err := a.audit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := testutil.ToFloat64(a.metrics.divergence.WithLabelValues(partState)); got != 0 {
			t.Errorf("%v differences counted\n%s", got, log)
		}
	})
	t.Run("while events wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			pods := func() iter.Seq[state.Observation] { return observations(observed("a", "one", latest)) }
			a, log := newTestAuditor(t, &fakeCache{waiting: 7}, pods)
			a.evaluator.begin(t.Context(), observations(observed("a", "one", clean)))
			if err := a.audit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := testutil.ToFloat64(a.metrics.divergence.WithLabelValues(partState)); got != 0 {
				t.Errorf("%v differences counted\n%s", got, log)
			}
		})
	})
}

// TestAuditOfTheCache has all pods listed anew, once, and names some.
func TestAuditOfTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := podwatch.Difference{Key: podwatch.Key{Namespace: "a", Name: "lost"}, Listed: podwatch.Version{UID: "u", ResourceVersion: "7"}}
		cache := &fakeCache{differ: slices.Repeat([]podwatch.Difference{lost}, 25)}
		a, log := newTestAuditor(t, cache, func() iter.Seq[state.Observation] { return observations() })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.run(ctx, 10*time.Minute) }()
		<-time.After(35 * time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := testutil.ToFloat64(a.metrics.divergence.WithLabelValues(partCache)); got != 25 || cache.relisted != 1 {
			t.Errorf("%v differences counted, %d lists; want 25 and 1", got, cache.relisted)
		}
		if n := strings.Count(log.String(), "a/lost: absent in the cache, u at 7 in the list"); n != maxNamedDifferences {
			t.Errorf("%d pods are named, want %d\n%s", n, maxNamedDifferences, log)
		}
	})
}

func TestAuditThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, log := newTestAuditor(t, &fakeCache{err: errors.New("no list")}, func() iter.Seq[state.Observation] { return observations() })
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = a.run(ctx, time.Minute) }()
		<-time.After(150 * time.Second)
		if n := strings.Count(log.String(), "no list"); n != 2 {
			t.Errorf("%d lines, want one for each audit\n%s", n, log)
		}
		if testutil.ToFloat64(a.metrics.succeeded) != 0 {
			t.Error("an audit that failed tells that it came to its end")
		}
	})
}

// TestNoAudit: an interval of 0, and an agent without a cluster.
func TestNoAudit(t *testing.T) {
	for _, a := range []*auditor{nil, {cache: &fakeCache{}}} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := a.run(ctx, 0); err != nil {
			t.Error(err)
		}
	}
}
