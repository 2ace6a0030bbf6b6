package election

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/klog/v2"
)

// A campaign is the goroutine that runs client-go's electors, one after the other.
type campaign struct {
	cancel  context.CancelFunc
	running atomic.Bool     // this replica was in sync and runs for the Lease
	level   zap.AtomicLevel // of client-go's log
	done    chan struct{}
	err     error // why it ended, to be read after done
}

func startCampaign(ctx context.Context, e *Elector) *campaign {
	ctx, cancel := context.WithCancel(ctx)
	c := &campaign{cancel: cancel, level: zap.NewAtomicLevelAt(e.log.Level()), done: make(chan struct{})}
	// client-go logs each step at Info. This package logs the transitions, so client-go's messages are for debugging.
	ctx = klog.NewContext(ctx, zapr.NewLogger(e.log.WithOptions(zap.IncreaseLevel(c.level))).V(1))
	go func() {
		defer close(c.done)
		c.err = errors.New("client-go's elector has died") // by a Goexit, which cannot be recovered
		defer func() {
			if p := recover(); p != nil {
				c.err = fmt.Errorf("client-go's elector has died: %v", p)
			}
		}()
		c.err = e.runElectors(ctx, c)
	}()
	return c
}

// stop cancels the campaign and reports whether it ended in time.
func (c *campaign) stop() bool {
	c.level.SetLevel(zap.DPanicLevel) // client-go logs the cancelled call as an error
	c.cancel()
	return waitFor(stopWithin, c.done)
}

// runElectors runs one client-go elector after the other until ctx is done. An elector that has given up remembers an old
// version of the Lease and would take a valid Lease from its holder; a new one begins with a read. The callbacks are not used:
// only the gate permits publications.
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
			// client-go releases before the guarded work has ended, and may wipe the Lease of another holder.
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
