package election

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/klog/v2"
)

// An campaign is the goroutine in which client-go's electors run, one after the other.
type campaign struct {
	cancel context.CancelFunc
	// running is set when this replica was in sync, and runs for the Lease.
	running atomic.Bool

	level zap.AtomicLevel // of what client-go logs
	done  chan struct{}
	err   error // why it has died; to be read after done
}

func startCampaign(ctx context.Context, e *Elector) *campaign {
	ctx, cancel := context.WithCancel(ctx)
	c := &campaign{cancel: cancel, level: zap.NewAtomicLevelAt(e.log.Level()), done: make(chan struct{})}
	// client-go tells each step at Info. Ours are logged by us, so its are for debugging.
	ctx = klog.NewContext(ctx, zapr.NewLogger(e.log.WithOptions(zap.IncreaseLevel(c.level))).V(1))
	go func() {
		defer close(c.done)
		// It returns only when it is cancelled; what else ends it is a panic, or a Goexit, of which nothing is recovered.
		c.err = errors.New("client-go's elector has died")
		defer func() {
			if p := recover(); p != nil {
				c.err = fmt.Errorf("client-go's elector has died: %v", p)
			}
		}()
		c.err = e.runElectors(ctx, c)
	}()
	return c
}

// stop cancels the campaign and tells whether it has ended.
func (c *campaign) stop() bool {
	c.level.SetLevel(zap.DPanicLevel) // client-go reports the call that is cancelled as an error
	c.cancel()
	timeout := time.NewTimer(stopWithin)
	defer timeout.Stop()
	select {
	case <-c.done:
		return true
	case <-timeout.C:
		return false
	}
}

// campaign runs one client-go elector after the other until ctx is done. One that has given up knows an old version of
// the Lease, and would take a valid Lease from its holder; a new one begins with a read. Its callbacks and its opinion
// of who leads are not asked: the gate knows better.
func (e *Elector) runElectors(ctx context.Context, c *campaign) error {
	for ctx.Err() == nil {
		if !e.waitInSync(ctx) {
			return nil
		}
		c.running.Store(true)
		elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock:          e.lock,
			Name:          e.options.Name,
			LeaseDuration: e.options.LeaseDuration,
			RenewDeadline: e.options.RenewDeadline,
			RetryPeriod:   e.options.RetryPeriod,
			// Its release comes before the end of the guarded work, and may wipe the Lease of another holder.
			ReleaseOnCancel: false,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) {},
				OnStoppedLeading: func() {},
			},
		})
		if err != nil {
			return err
		}
		elector.Run(ctx)
	}
	return nil
}
