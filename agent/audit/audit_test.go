package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// A fakeCluster is a cache and a state whose differences are as a test says.
type fakeCluster struct {
	cache    []string // differences of the cache
	err      error
	waiting  int
	relisted int

	state      func() map[string]uint64 // differences of the state
	recomputed int
}

func (c *fakeCluster) Synced() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func (c *fakeCluster) differences(context.Context, time.Duration) ([]string, error) {
	return c.cache, c.err
}

func (c *fakeCluster) Relist() {
	c.relisted++
	c.cache = nil
}

func (c *fakeCluster) Waiting() int { return c.waiting }

func (c *fakeCluster) diverging(context.Context) map[string]uint64 {
	if c.state == nil {
		return nil
	}
	return c.state()
}

func (c *fakeCluster) recompute(context.Context) error {
	c.recomputed++
	return nil
}

func newTestAuditor(c *fakeCluster) (*Auditor, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	return New(Options{
		Log: zap.New(core), Registerer: prometheus.NewRegistry(), Cache: c,
		Differences: c.differences, Diverging: c.diverging, Recompute: c.recompute,
	}), logs
}

// A namespace differs if it does so at every look, while its pods stay the same and no event waits.
func TestAuditOfTheState(t *testing.T) {
	constant := func() map[string]uint64 { return map[string]uint64{"a": 1, "b": 2} }
	look := uint64(0)
	for _, test := range []struct {
		name    string
		state   func() map[string]uint64
		waiting int
		want    float64
	}{
		{"no difference", func() map[string]uint64 { return nil }, 0, 0},
		{"two namespaces", constant, 0, 2},
		{"while events wait", constant, 7, 0},
		{"pods that change at each look", func() map[string]uint64 { look++; return map[string]uint64{"a": look} }, 0, 0},
		{"a difference that goes away", func() map[string]uint64 {
			if look++; look%3 == 0 {
				return nil
			}
			return map[string]uint64{"a": 1}
		}, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				look = 0
				c := &fakeCluster{state: test.state, waiting: test.waiting}
				a, logs := newTestAuditor(c)
				if err := a.audit(t.Context()); err != nil {
					t.Fatal(err)
				}
				if got := testutil.ToFloat64(a.divergence.WithLabelValues(partState)); got != test.want {
					t.Errorf("%v namespaces counted, want %v", got, test.want)
				}
				found := test.want > 0
				if named := logs.FilterMessageSnippet("the state differs from a recompute").Len() == 1; named != found || (c.recomputed == 1) != found {
					t.Errorf("logged: %t, recomputed %d times, want %t", named, c.recomputed, found)
				}
				if testutil.ToFloat64(a.succeeded) == 0 {
					t.Error("the audit completed, and its metric does not say so")
				}
			})
		})
	}
}

// A cache that differs is counted, named in part, and listed again once.
func TestAuditOfTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &fakeCluster{cache: slices.Repeat([]string{"a/lost: absent in the cache"}, 25)}
		a, logs := newTestAuditor(c)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx, 10*time.Minute) }()
		<-time.After(35 * time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := testutil.ToFloat64(a.divergence.WithLabelValues(partCache)); got != 25 || c.relisted != 1 {
			t.Errorf("%v differences counted, %d lists; want 25 and 1", got, c.relisted)
		}
		if n := strings.Count(fmt.Sprint(logs.All()), "a/lost: absent in the cache"); n != maxNamedDifferences {
			t.Errorf("%d pods are named, want %d: %v", n, maxNamedDifferences, logs.All())
		}
	})
}

func TestAuditThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, logs := newTestAuditor(&fakeCluster{err: errors.New("no list")})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = a.Run(ctx, time.Minute) }()
		<-time.After(150 * time.Second)
		if logs.Len() != 2 || !strings.Contains(fmt.Sprint(logs.All()), "no list") {
			t.Errorf("logged %v, want one line for each audit", logs.All())
		}
		if testutil.ToFloat64(a.succeeded) != 0 {
			t.Error("an audit that failed counts as completed")
		}
	})
}

func TestIntervalOfZeroMeansNoAudit(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a, _ := newTestAuditor(&fakeCluster{})
	if err := a.Run(ctx, 0); err != nil {
		t.Error(err)
	}
}
