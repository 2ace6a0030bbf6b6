package election

import (
	"context"
	"sync"
	"time"
)

// Reasons for the log and for NotLeaderError.
const (
	reasonNoLease   = "this replica does not hold the lease"
	reasonStopping  = "this replica is stopping"
	reasonNotBefore = "an earlier leader may still publish"
	reasonClocks    = "the wall clock and the monotonic clock disagree since the last renewal"
	reasonExpired   = "the lease was not renewed in time"
	reasonStarting  = "the term is about to begin"
	reasonCallHangs = "a call to the API server does not end"
)

// maxGrace limits how long guarded work may take to stop after the end of its term.
const maxGrace = 5 * time.Second

// A gate decides whether this process may publish, from the time of its own last successful write of the Lease. client-go's
// elector and its callbacks are not asked: they report leadership for seconds after another replica has taken over.
type gate struct {
	lease, margin time.Duration
	clock         clock

	mu       sync.Mutex
	term     *term         // nil: this replica does not hold the Lease
	stopping bool          // no publication may begin until reopen
	excluded string        // why this replica does not run for the Lease; "" if it does
	changed  chan struct{} // closed and replaced at each change
}

// A term lasts from a first successful write of the Lease to the end of its validity. The gate's lock guards all fields except
// the context and the channel.
type term struct {
	epoch     int64         // the Lease's count of transitions
	sent      clockReading  // before the last successful write was sent
	notBefore time.Duration // on the monotonic clock: from then on no earlier leader can publish
	admitted  bool          // the work of the previous term has ended
	ended     string        // why it is over; "" while it is not

	ctx    context.Context //nolint:containedctx // ends with the term, which outlives every call
	cancel context.CancelFunc

	sealed       bool // no publication may begin any more
	publications int
	idle         chan struct{} // closed when the term is sealed and its last publication has ended
}

// A gateState is the state of a gate at one moment.
type gateState struct {
	term      *term // nil: this replica does not hold the Lease
	epoch     int64
	ready     bool // open if the term were admitted
	open      bool
	reason    string          // why it is closed
	wait      time.Duration   // until no earlier leader can publish; 0 if it is closed for another reason
	remaining time.Duration   // how long it stays open without a renewal; 0 if closed
	wake      time.Duration   // check again after this time even if nothing has changed; 0: no need
	changed   <-chan struct{} // closed at the next change
}

func newGate(lease, margin time.Duration, clock clock) *gate {
	return &gate{lease: lease, margin: margin, clock: clock, changed: make(chan struct{})}
}

// renewed records a successful write of the Lease. It begins a term or extends the current one. What counts is the time at which
// the write was sent, not that of the response: another replica may have seen the write as soon as it was sent.
func (g *gate) renewed(sent clockReading, notBefore time.Duration, epoch int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.term == nil {
		ctx, cancel := context.WithCancel(context.Background())
		g.term = &term{notBefore: notBefore, ctx: ctx, cancel: cancel, idle: make(chan struct{})}
		if g.stopping {
			g.term.seal()
		}
	}
	g.term.sent, g.term.epoch = sent, epoch
	g.broadcast()
}

// end ends the term: it closes the gate at once and cancels the guarded work and the publications.
func (g *gate) end(reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.endLocked(reason)
}

func (g *gate) endLocked(reason string) {
	t := g.term
	if t == nil {
		return
	}
	g.term = nil
	t.ended = reason
	t.seal()
	t.cancel()
	g.broadcast()
}

// reopen undoes stopAdmitting: a term that begins later may publish.
func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopping = false
	g.broadcast()
}

// setExcluded sets why this replica does not run for the Lease; "" if it does.
func (g *gate) setExcluded(reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.excluded = reason
	g.broadcast()
}

// stopAdmitting lets no publication begin until reopen. Publications in flight may finish.
func (g *gate) stopAdmitting() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopping = true
	if g.term != nil {
		g.term.seal()
	}
	g.broadcast()
}

// admit lets publications begin in a term. Until then the gate is closed, so that no two terms of one process overlap.
func (g *gate) admit(t *term) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.admitted = true
	g.broadcast()
}

// state returns the current state of the gate. It ends a term that has expired by either clock.
func (g *gate) state() gateState {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stateLocked()
}

// begin begins a publication if the gate is open. Its context is limited to the time that remains, and done must be called at its
// end. If the gate is closed, done is nil and the state has the reason.
func (g *gate) begin(ctx context.Context) (_ context.Context, done func(), v gateState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v = g.stateLocked()
	if !v.open {
		return nil, nil, v
	}
	t := v.term
	t.publications++
	ctx, cancel := context.WithTimeout(ctx, v.remaining)
	unhook := context.AfterFunc(t.ctx, cancel)
	return permission{ctx, g, t, cancel}, func() {
		unhook()
		cancel()
		g.finish(t)
	}, v
}

// A permission is the context of a publication. The timer of a context follows the monotonic clock, which stops while a machine
// is suspended, so Err also asks the gate, which knows both clocks.
type permission struct {
	context.Context //nolint:containedctx // a permission is a context
	gate            *gate
	term            *term
	cancel          context.CancelFunc
}

// Err returns why the permission has ended; nil while it has not.
func (p permission) Err() error {
	if !p.gate.permits(p.term) {
		p.cancel()
	}
	return p.Context.Err()
}

// permits reports whether a publication of a term may go on: until the term ends, even if no other publication may begin.
func (g *gate) permits(t *term) bool {
	v := g.state()
	return v.term == t && v.reason != reasonClocks
}

// draining reports whether a publication goes on that began before stopAdmitting. A page with scores must not report that its
// replica was not permitted to publish them.
func (g *gate) draining() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.stateLocked()
	return v.reason == reasonStopping && v.term.publications > 0
}

func (g *gate) finish(t *term) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.publications--
	if t.sealed && t.publications == 0 {
		close(t.idle)
	}
}

// grace returns how long the guarded work of an ended term may take to stop: until another replica could publish, but at least
// the margin, which a process needs that was itself stopped for a while.
func (g *gate) grace(t *term) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := t.sent.mono + g.lease - g.clock().mono
	return min(max(left, g.margin), maxGrace)
}

// why returns why a term has ended; "" while it has not.
func (g *gate) why(t *term) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return t.ended
}

func (g *gate) broadcast() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// seal lets no publication begin any more. The caller holds the gate's lock.
func (t *term) seal() {
	if t.sealed {
		return
	}
	t.sealed = true
	if t.publications == 0 {
		close(t.idle)
	}
}
