package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// work is the guarded work of one term.
type leading struct {
	term   *term
	epoch  int64
	done   chan struct{} // closed when Lead has returned; nil before it was called
	opened bool          // the gate was open when last looked at
}

// follow does what the gate says: it calls Lead in each term that opens, and sees it end with the term. It returns the
// work of the present term when ctx is done or this replica is not in sync any more, and the reason; or an error that says
// why the process must exit.
func (e *Elector) lead(ctx context.Context, campaign *campaign) (*leading, string, error) {
	var w *leading
	for {
		v := e.gate.state()
		if w != nil && w.term != v.term {
			e.log.Warn("lease lost", zap.Int64("epoch", w.epoch),
				zap.String("reason", e.gate.why(w.term)), zap.String("leader", e.Leader()))
			if err := e.waitStopped(w, e.gate.grace(w.term)); err != nil {
				return nil, "", err
			}
			w = nil
			if ctx.Err() != nil {
				return nil, reasonStopping, nil
			}
			continue // the view is older than the wait
		}
		if w == nil && v.term != nil {
			w = &leading{term: v.term, epoch: v.epoch}
			e.log.Info("lease acquired", zap.Int64("epoch", w.epoch))
		}
		if w != nil {
			e.updateTerm(w, v)
		}
		if campaign.running.Load() {
			if err := e.inSync(); err != nil {
				e.log.Warn("giving up the campaign for the lease", zap.Bool("held", w != nil), zap.Error(err))
				return w, err.Error(), nil
			}
		}
		// Timers stand still in a suspended machine; at each retry the wall clock is asked too.
		wake := e.options.RetryPeriod
		if v.wake > 0 {
			wake = min(v.wake, wake)
		}
		select {
		case <-ctx.Done():
			return w, reasonStopping, nil
		case <-campaign.done:
			return w, "", e.endTerm(w, campaign.err)
		case err := <-e.lock.fatal:
			return w, "", e.endTerm(w, err)
		case <-v.changed:
		case <-time.After(wake):
		}
	}
}

// attend calls Lead when the gate opens for the first time in a term, and logs when it opens and closes.
func (e *Elector) updateTerm(w *leading, v gateState) {
	if v.ready && w.done == nil {
		e.gate.admit(w.term)
		w.done = make(chan struct{})
		go func() {
			defer close(w.done)
			e.options.Lead(w.term.ctx)
		}()
	}
	switch {
	case v.ready && !w.opened:
		e.log.Info("gate opened", zap.Int64("epoch", w.epoch))
	case !v.ready && w.opened:
		e.log.Warn("gate closed", zap.Int64("epoch", w.epoch), zap.String("reason", v.reason))
	}
	w.opened = v.ready
}

// waitStopped waits for the guarded work of a term that has ended.
func (e *Elector) waitStopped(w *leading, within time.Duration) error {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	select {
	case <-w.term.idle:
	case <-timeout.C:
		return fmt.Errorf("a publication still runs %s after its term has ended", within)
	}
	if w.done == nil {
		return nil
	}
	select {
	case <-w.done:
		return nil
	case <-timeout.C:
		return fmt.Errorf("the leader's work still runs %s after its term has ended", within)
	}
}

// endTerm ends the term because the process must exit, and gives the guarded work the time that is left.
func (e *Elector) endTerm(w *leading, why error) error {
	e.gate.end(why.Error())
	if w == nil {
		return why
	}
	return errors.Join(why, e.waitStopped(w, e.gate.grace(w.term)))
}

// drain ends the guarded work before the Lease is released: publications in flight may finish, unless the Lease is lost
// meanwhile.
func (e *Elector) drain(w *leading, reason string) error {
	if w == nil {
		return nil
	}
	within := drainWithin
	if v := e.gate.state(); v.term == w.term {
		within = min(within, v.wake) // it may run out meanwhile, if the API server cannot be reached
	}
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	select {
	case <-w.term.idle:
	case <-w.term.ctx.Done():
	case <-timeout.C:
	}
	e.gate.end(reason)
	return e.waitStopped(w, stopWithin)
}
