// Package audit compares, from time to time, what ought to be the same: the cache of pods and a list of them, the state and
// one computed from scratch. Differences are counted, logged and repaired. Events alone never show that an event was lost.
//
// It does not know how pods are listed, cached or evaluated.
package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

const (
	// cachePause is how long a difference must last to be one: an event takes less from the API server to the cache.
	cachePause = 10 * time.Second
	// statePause is the same for an event on its way from the cache to the state.
	statePause = 2 * time.Second
	// cacheTimeout bounds the lists and the pause of one audit of the cache. The time that the state takes depends on the
	// policy.
	cacheTimeout = 2 * time.Minute
	// maxNamedDifferences is how many differences are named in the log.
	maxNamedDifferences = 10
)

// A Cache is the pods as the watch has them.
type Cache interface {
	// Synced is closed when the cache has the initial list.
	Synced() <-chan struct{}
	// Relist has all pods listed again.
	Relist()
	// Waiting is the number of changes that the state does not have yet.
	Waiting() int
}

// Options are the parts of an agent that an audit compares.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
	Cache      Cache
	// Differences describes the pods of the cache that differ from a list of them, and still do after a pause.
	Differences func(ctx context.Context, pause time.Duration) ([]string, error)
	// Diverging returns the namespaces of the state that are not as computed from scratch, each with a fingerprint of its pods.
	Diverging func(ctx context.Context) map[string]uint64
	// Recompute computes the state from scratch.
	Recompute func(ctx context.Context) error
}

// An Auditor audits.
type Auditor struct {
	Options
	divergence *prometheus.CounterVec
	succeeded  prometheus.Gauge
}

// The parts that an audit may find to differ.
const (
	partCache = "cache"
	partState = "state"
)

// New returns an auditor, whose metrics are registered.
func New(o Options) *Auditor {
	a := &Auditor{
		Options: o,
		divergence: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kube_devops_state_divergence_total",
			Help: "Differences that an audit found and repaired, by part: pods of the cache that are not as listed (cache), namespaces of the state that are not as recomputed (state).",
		}, []string{"part"}),
		succeeded: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kube_devops_audit_last_success_timestamp_seconds",
			Help: "When the last audit completed, in seconds since 1970; 0 before the first.",
		}),
	}
	for _, part := range []string{partCache, partState} {
		a.divergence.WithLabelValues(part)
	}
	o.Registerer.MustRegister(a.divergence, a.succeeded)
	return a
}

// Run audits at each interval until ctx is done; an interval of 0 means never.
func (a *Auditor) Run(ctx context.Context, interval time.Duration) error {
	if interval == 0 {
		<-ctx.Done()
		return nil
	}
	select {
	case <-a.Cache.Synced():
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
			a.Log.Warn("the audit did not come to its end; the next will try again", zap.Error(err))
		}
	}
}

func (a *Auditor) audit(ctx context.Context) error {
	if err := errors.Join(a.auditCache(ctx), a.auditState(ctx)); err != nil {
		return err
	}
	a.succeeded.SetToCurrentTime()
	return nil
}

// auditCache compares the cache with a list, and has all pods listed again if they differ.
func (a *Auditor) auditCache(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	differences, err := a.Differences(ctx, cachePause)
	if err != nil {
		return fmt.Errorf("compare the cache with a list: %w", err)
	}
	if len(differences) == 0 {
		return nil
	}
	a.divergence.WithLabelValues(partCache).Add(float64(len(differences)))
	a.Log.Error("the cache of pods differs from a list of them; listing all pods anew",
		zap.Int("pods", len(differences)), zap.Strings("differences", differences[:min(len(differences), maxNamedDifferences)]))
	a.Cache.Relist()
	return nil
}

// auditState compares the state with one from scratch, and recomputes it if they differ. A standby has no state.
func (a *Auditor) auditState(ctx context.Context) error {
	suspects := a.Diverging(ctx)
	// A difference is real if it stays while the pods of the namespace do not change and no event waits.
	const repeats = 2
	for range repeats {
		if len(suspects) == 0 {
			return nil
		}
		select {
		case <-time.After(statePause):
		case <-ctx.Done():
			return ctx.Err()
		}
		again := a.Diverging(ctx)
		maps.DeleteFunc(suspects, func(namespace string, pods uint64) bool {
			now, differs := again[namespace]
			return !differs || now != pods
		})
	}
	if len(suspects) == 0 || a.Cache.Waiting() > 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(suspects))
	a.divergence.WithLabelValues(partState).Add(float64(len(names)))
	a.Log.Error("the state differs from a recompute; evaluating all pods anew",
		zap.Int("count", len(names)), zap.Strings("namespaces", names[:min(len(names), maxNamedDifferences)]))
	return a.Recompute(ctx)
}
