package agent

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/podwatch"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

const (
	// auditPause is how long a difference must last to be one: an event takes less from the API server to the cache.
	auditPause = 10 * time.Second
	// settlePause is the same for an event on its way from the cache to the state.
	settlePause = 2 * time.Second
	// auditPatience bounds the lists and the pause of one audit. What it evaluates takes as long as the policy makes it.
	auditPatience = 2 * time.Minute
	// maxNamedDifferences is how many differences are named in the log.
	maxNamedDifferences = 10
)

// An auditor compares, from time to time, what ought to be the same: the cache of pods and a list of them, the state
// and a recompute of it from the cache. Events alone can never show that an event was lost.
type auditor struct {
	log       *zap.Logger
	cache     auditedCache
	list      podwatch.Lister
	evaluator *evaluator
	cached    func() iter.Seq[state.Observation]
	metrics   *auditMetrics
}

// An auditedCache is what an audit asks of the watch.
type auditedCache interface {
	Synced() <-chan struct{}
	Differences(ctx context.Context, list podwatch.Lister, pause time.Duration) ([]podwatch.Difference, error)
	Relist()
	Waiting() int
}

type auditMetrics struct {
	divergence *prometheus.CounterVec
	succeeded  prometheus.Gauge
}

// The parts that an audit may find to have diverged.
const (
	partCache = "cache"
	partState = "state"
)

func newAuditMetrics(reg prometheus.Registerer) *auditMetrics {
	m := &auditMetrics{
		divergence: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kube_devops_state_divergence_total",
			Help: "Differences that an audit found and healed, by part: pods of the cache that are not as listed (cache), namespaces of the state that are not as recomputed (state).",
		}, []string{"part"}),
		succeeded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kube_devops_audit_last_success_timestamp_seconds",
			Help: "When the last audit came to its end, in seconds since 1970; 0 before the first.",
		}),
	}
	for _, part := range []string{partCache, partState} {
		m.divergence.WithLabelValues(part)
	}
	reg.MustRegister(m.divergence, m.succeeded)
	return m
}

// run audits at each interval until ctx is done; an interval of 0 means never.
func (a *auditor) run(ctx context.Context, interval time.Duration) error {
	if a == nil || interval == 0 {
		<-ctx.Done()
		return nil
	}
	select {
	case <-a.cache.Synced():
	case <-ctx.Done():
		return nil
	}
	for {
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return nil
		}
		if err := a.audit(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("the audit did not come to its end; the next will try again", zap.Error(err))
		}
	}
}

func (a *auditor) audit(ctx context.Context) error {
	if err := errors.Join(a.auditCache(ctx), a.auditState(ctx)); err != nil {
		return err
	}
	a.metrics.succeeded.SetToCurrentTime()
	return nil
}

// auditCache compares the cache with a list, and has all pods listed anew where they differ.
func (a *auditor) auditCache(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, auditPatience)
	defer cancel()
	differences, err := a.cache.Differences(ctx, a.list, auditPause)
	if err != nil {
		return fmt.Errorf("compare the cache with a list: %w", err)
	}
	if len(differences) == 0 {
		return nil
	}
	names := make([]string, 0, maxNamedDifferences)
	for _, d := range differences[:min(len(differences), maxNamedDifferences)] {
		names = append(names, d.String())
	}
	a.metrics.divergence.WithLabelValues(partCache).Add(float64(len(differences)))
	a.log.Error("the cache of pods differs from a list of them; listing all pods anew",
		zap.Int("pods", len(differences)), zap.Strings("differences", names))
	a.cache.Relist()
	return nil
}

// auditState compares the state with a recompute, and recomputes it where they differ. A standby has no state.
func (a *auditor) auditState(ctx context.Context) error {
	suspects := a.evaluator.diverging(ctx, a.cached())
	// What differs while its pods stay as they are, and while no event waits, differs for good.
	const looks = 2
	for range looks {
		if len(suspects) == 0 {
			return nil
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return ctx.Err()
		}
		again := a.evaluator.diverging(ctx, a.cached())
		maps.DeleteFunc(suspects, func(namespace string, pods uint64) bool {
			now, differs := again[namespace]
			return !differs || now != pods
		})
	}
	if len(suspects) == 0 || a.cache.Waiting() > 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(suspects))
	a.metrics.divergence.WithLabelValues(partState).Add(float64(len(names)))
	a.log.Error("the state differs from a recompute; evaluating all pods anew",
		zap.Int("count", len(names)), zap.Strings("namespaces", names[:min(len(names), maxNamedDifferences)]))
	return a.evaluator.renew(ctx, a.cached())
}

// seed is that of the fingerprints of pods.
var seed = maphash.MakeSeed()

// diverging compares the state with one computed anew from pods, and returns the namespaces that differ, with a
// fingerprint of their pods. An event that is on its way makes a difference too. While another state is built there is
// nothing to compare, nor after the end of ctx.
func (e *evaluator) diverging(ctx context.Context, pods iter.Seq[state.Observation]) map[string]uint64 {
	st := e.settled()
	if st == nil {
		return nil
	}
	prints := make(map[string]uint64)
	fresh := state.New(st.Table())
	fresh.ExpireWaivers(time.Now())
	// The term is not held, so that neither pods nor another policy wait for this.
	_, err := fresh.Replace(ctx, max(1, runtime.GOMAXPROCS(0)/2), func(yield func(state.Observation) bool) {
		for o := range pods {
			// A sum, because the pods come in no order.
			prints[o.Namespace] += maphash.Comparable(seed, o.Pod) ^ maphash.Bytes(seed, o.JSON)
			if !yield(o) {
				return
			}
		}
	})
	if err != nil || e.settled() != st { // the pods may have been in the form of another policy
		return nil
	}
	differ := make(map[string]uint64)
	for _, namespace := range st.Differences(fresh) {
		differ[namespace] = prints[namespace]
	}
	return differ
}

// renew computes the state anew, where there is one, unless ctx or the term ends before that.
func (e *evaluator) renew(ctx context.Context, pods iter.Seq[state.Observation]) error {
	return e.rebuild(ctx, func() *rules.Table {
		st := e.current()
		if st == nil {
			return nil
		}
		return st.Table()
	}, pods)
}
