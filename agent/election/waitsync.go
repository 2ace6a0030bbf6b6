package election

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// syncCheckInterval is the time between two calls of Options.InSync.
const syncCheckInterval = 200 * time.Millisecond

// inSync returns why this replica must not lead; nil if it may.
func (e *Elector) inSync() error {
	if e.options.InSync == nil {
		return nil
	}
	return e.options.InSync(e.lock.responses.duration())
}

// waitInSync reads the Lease, and does not run for it, until this replica is in sync: a leader that has nothing to publish would
// keep all others from publishing. It returns false if ctx is done.
func (e *Elector) waitInSync(ctx context.Context) bool {
	var reason, failure string
	var read time.Time
	for {
		err := e.inSync()
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil && reason == "":
			return true
		case err == nil:
			e.gate.setExcluded("")
			e.log.Info("running for the lease")
			return true
		case err.Error() != reason:
			reason = err.Error()
			e.gate.setExcluded(reason)
			e.log.Info("not running for the lease", zap.String("reason", reason))
		}
		if time.Since(read) >= e.options.RetryPeriod {
			read = time.Now()
			failure = e.readLease(ctx, failure)
		}
		select {
		case <-ctx.Done():
		case <-time.After(syncCheckInterval):
		}
	}
}

// readLease reads the Lease, so that the leader and the epoch are known. It logs and returns a failure that differs from the
// last one.
func (e *Elector) readLease(ctx context.Context, last string) (failure string) {
	_, _, err := e.lock.Get(ctx)
	if err == nil || apierrors.IsNotFound(err) || ctx.Err() != nil {
		return ""
	}
	if err.Error() != last {
		e.log.Warn("the lease cannot be read", zap.Error(err))
	}
	return err.Error()
}

// responses measures for how long the API server has answered all calls for the Lease.
type responses struct {
	gap time.Duration // without a response, after which the series begins again

	mu          sync.Mutex
	any         bool
	first, last time.Duration // on the monotonic clock
}

// record records whether a call was answered.
func (a *responses) record(now time.Duration, answered bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.any || now-a.last > a.gap {
		a.first = now
	}
	a.any, a.last = answered, now
}

// duration returns the time from the first response after the last unanswered call to the last response.
func (a *responses) duration() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.any {
		return 0
	}
	return a.last - a.first
}
