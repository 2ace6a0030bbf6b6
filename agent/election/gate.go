package election

import (
	"context"
	"sync"
	"time"
)

// Why a gate is closed, for the log and for NotLeaderError.
const (
	reasonNoLease   = "this replica does not hold the lease"
	reasonStopping  = "this replica is stopping"
	reasonNotBefore = "an earlier leader may still publish"
	reasonClocks    = "the wall clock and the monotonic clock disagree since the last renewal"
	reasonExpired   = "the lease was not renewed in time"
	reasonStarting  = "the term is about to begin"
)

// maxGrace bounds how long guarded work may take to stop after the end of its term.
const maxGrace = 5 * time.Second

// A gate says whether this process may publish, from nothing but the time of its own last successful Lease write. It
// asks neither the elector nor a callback: those stay true for seconds after another replica has taken over.
type gate struct {
	lease, margin time.Duration
	clock         clock

	mu       sync.Mutex
	term     *term         // nil: none is held
	stopping bool          // no publication begins, until reopen
	excluded string        // why this replica does not run for the Lease; "" if it does
	changed  chan struct{} // closed, and replaced, at each change
}

// A term is the time from a first successful write of the Lease to the end of its validity. All fields but the
// context and the channel are guarded by the gate's lock.
type term struct {
	epoch     int64         // the Lease's count of transitions
	sent      clockReading  // before the last successful write was sent
	notBefore time.Duration // on the monotonic clock: when no earlier leader can publish any more
	admitted  bool          // the work of the terms before has ended, and that of this one begins
	ended     string        // why it is over; "" while it is not

	ctx    context.Context //nolint:containedctx // ends with the term, which outlives every call
	cancel context.CancelFunc

	sealed       bool // no publication begins any more
	publications int
	idle         chan struct{} // closed when it is sealed and the last publication has ended
}

// A view is what a gate looks like at one moment.
type gateState struct {
	term      *term // nil: none is held
	epoch     int64
	ready     bool // it could be open, if the term were admitted
	open      bool
	reason    string          // why it is closed
	remaining time.Duration   // how long it stays open without a renewal; 0 when closed
	wake      time.Duration   // look again after this time even if nothing has changed; 0: no need
	changed   <-chan struct{} // closed at the next change
}

func newGate(lease, margin time.Duration, clock clock) *gate {
	return &gate{lease: lease, margin: margin, clock: clock, changed: make(chan struct{})}
}

// renewed records a successful write of the Lease, which was sent at the given time. It begins a term, or extends the
// one there is. The time of the answer plays no part: another replica may have seen the write as soon as it was sent.
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

// end closes the gate at once and cancels the guarded work and the publications of the term.
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

// reopen undoes shut: a term that begins from now on may publish. There is none when it is called.
func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopping = false
	g.broadcast()
}

// bar notes why this replica does not run for the Lease, for whoever asks why it may not publish; "" when it does.
func (g *gate) setExcluded(reason string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.excluded = reason
	g.broadcast()
}

// shut closes the gate until reopen, and lets the publications in flight finish.
func (g *gate) stopAdmitting() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopping = true
	if g.term != nil {
		g.term.seal()
	}
	g.broadcast()
}

// admit lets publications begin in a term. Until then it is closed, so that no two terms of one process overlap.
func (g *gate) admit(t *term) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t.admitted = true
	g.broadcast()
}

// look returns the state of the gate at this moment. A term that has run out by either clock ends here.
func (g *gate) state() gateState {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stateLocked()
}

// enter begins a publication if the gate is open: ctx is bounded by the time that remains, and done must be called at
// its end. Where the gate is closed done is nil and the view says why.
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

// A permission is the context of a publication. The timer of a context goes by the monotonic clock, which stands still
// while a machine is suspended: asked for its error, a permission looks at the gate, which knows both clocks.
type permission struct {
	context.Context //nolint:containedctx // a permission is a context
	gate            *gate
	term            *term
	cancel          context.CancelFunc
}

// Err tells why the permission has ended; nil while it has not.
func (p permission) Err() error {
	if !p.gate.permits(p.term) {
		p.cancel()
	}
	return p.Context.Err()
}

// permits tells whether a publication that began in a term may still go on: it may until the term ends, also in a gate
// that lets no other one begin.
func (g *gate) permits(t *term) bool {
	v := g.state()
	return v.term == t && v.reason != reasonClocks
}

// finishing tells whether a publication goes on in a gate that was shut after it had begun. It may: a page that has scores
// must not say that nobody was permitted to publish them.
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

// grace returns how long the guarded work of a term that has ended may take to stop: until another replica could
// publish, but not less than the margin, which a process needs that was itself stopped for a while.
func (g *gate) grace(t *term) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	left := t.sent.mono + g.lease - g.clock().mono
	return min(max(left, g.margin), maxGrace)
}

// why returns the reason for which a term has ended; "" while it has not.
func (g *gate) why(t *term) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return t.ended
}

func (g *gate) broadcast() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// seal lets no further publication begin. The gate's lock is held.
func (t *term) seal() {
	if t.sealed {
		return
	}
	t.sealed = true
	if t.publications == 0 {
		close(t.idle)
	}
}
