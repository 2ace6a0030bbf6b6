package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// leading is the guarded work of one term.
type leading struct {
	term   *term
	epoch  int64
	done   chan struct{} // closed when Lead has returned; nil before Lead is called
	opened bool          // the gate was open at the last check
}

// lead calls Lead in each term whose gate opens, and waits for its end after the term. It returns the work of the current term
// and the reason when ctx is done or this replica is no longer in sync. An error is why the process must exit.
func (e *Elector) lead(ctx context.Context, campaign *campaign) (*leading, string, error) {
	var l *leading
	for {
		state := e.gate.state()
		if l != nil && l.term != state.term {
			e.log.Warn("lease lost", zap.Int64("epoch", l.epoch),
				zap.String("reason", e.gate.why(l.term)), zap.String("leader", e.Leader()))
			if err := l.waitStopped(e.gate.grace(l.term)); err != nil {
				return nil, "", err
			}
			l = nil
			if ctx.Err() != nil {
				return nil, reasonStopping, nil
			}
			continue // the state is older than the wait
		}
		if l == nil && state.term != nil {
			l = &leading{term: state.term, epoch: state.epoch}
			e.log.Info("lease acquired", zap.Int64("epoch", l.epoch))
		}
		if l != nil {
			e.updateTerm(l, state)
		}
		if campaign.running.Load() {
			if err := e.inSync(); err != nil {
				e.log.Warn("giving up the campaign for the lease", zap.Bool("held", l != nil), zap.Error(err))
				return l, err.Error(), nil
			}
		}
		// Timers stop while a machine is suspended, so the wall clock is checked at each retry.
		wake := e.options.RetryPeriod
		if state.wake > 0 {
			wake = min(state.wake, wake)
		}
		select {
		case <-ctx.Done():
			return l, reasonStopping, nil
		case <-campaign.done:
			return l, "", e.endTerm(l, campaign.err)
		case err := <-e.lock.fatal:
			return l, "", e.endTerm(l, err)
		case <-state.changed:
		case <-time.After(wake):
		}
	}
}

// updateTerm calls Lead when the gate of a term opens for the first time, and logs when the gate opens and closes.
func (e *Elector) updateTerm(l *leading, state gateState) {
	if state.ready && l.done == nil {
		e.gate.admit(l.term)
		l.done = make(chan struct{})
		go func() {
			defer close(l.done)
			e.options.Lead(l.term.ctx)
		}()
	}
	switch {
	case state.ready && !l.opened:
		e.log.Info("gate opened", zap.Int64("epoch", l.epoch))
	case !state.ready && l.opened:
		e.log.Warn("gate closed", zap.Int64("epoch", l.epoch), zap.String("reason", state.reason))
	}
	l.opened = state.ready
}

// waitStopped waits for the publications and the work of a term that has ended.
func (l *leading) waitStopped(within time.Duration) error {
	timeout := time.After(within)
	select {
	case <-l.term.idle:
	case <-timeout:
		return fmt.Errorf("a publication still runs %s after its term has ended", within)
	}
	if l.done == nil {
		return nil
	}
	select {
	case <-l.done:
		return nil
	case <-timeout:
		return fmt.Errorf("the leader's work still runs %s after its term has ended", within)
	}
}

// endTerm ends the term because the process must exit, and gives the guarded work the time that remains.
func (e *Elector) endTerm(l *leading, why error) error {
	e.gate.end(why.Error())
	if l == nil {
		return why
	}
	return errors.Join(why, l.waitStopped(e.gate.grace(l.term)))
}

// drain ends the guarded work before the Lease is released. Publications in flight may finish, unless the Lease is lost.
func (e *Elector) drain(l *leading, reason string) error {
	if l == nil {
		return nil
	}
	within := drainWithin
	if state := e.gate.state(); state.term == l.term {
		within = min(within, state.wake) // the term may expire if the API server cannot be reached
	}
	select {
	case <-l.term.idle:
	case <-l.term.ctx.Done():
	case <-time.After(within):
	}
	e.gate.end(reason)
	return l.waitStopped(stopWithin)
}
