package election

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
)

// The bounds of a clean stop. With the elector's own second they add up to 8 s, which leaves room in a limit of 10 s
// even when neither a publication nor the API server comes to an end.
const (
	drainWithin   = 4 * time.Second // for publications in flight
	stopWithin    = time.Second     // for Lead, and then for client-go's elector, once their contexts have ended
	releaseWithin = 2 * time.Second // for the read and the write that give the Lease up
)

// An Elector campaigns for one Lease, and says at each publication whether it is permitted. Its methods are safe for
// concurrent use.
type Elector struct {
	options    Options
	gate       *gate
	lock       *leaseLock
	log        *zap.Logger
	disconnect func() // closes the connections of the Lease client
	started    atomic.Bool
}

// NotLeaderError says that this replica may not publish at this moment.
type NotLeaderError struct {
	// Leader is the identity that the Lease named when it was last read; "" if it named none or was never read. It may
	// be our own: before a term may publish, and after it has run out.
	Leader string
	// Reason says why this replica may not publish.
	Reason string
}

// Error returns one line with the reason and the leader.
func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return fmt.Sprintf("may not publish: %s; no leader is known", e.Reason)
	}
	return fmt.Sprintf("may not publish: %s; the leader is %s", e.Reason, e.Leader)
}

// New makes an elector with an API client of its own, and registers its metrics. It makes no request. The error is
// that of Options.Validate, or says what else is missing.
func New(cfg *rest.Config, o Options) (*Elector, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	client, disconnect, err := newClient(cfg, o.callTimeout())
	if err != nil {
		return nil, fmt.Errorf("make lease client: %w", err)
	}
	return newWithClient(client, disconnect, systemClock(), o)
}

func newWithClient(
	client coordinationv1client.LeasesGetter, disconnect func(), clock clock, o Options,
) (*Elector, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Log == nil || o.Registerer == nil || o.Lead == nil {
		return nil, errors.New("make elector: Log, Registerer and Lead must be set")
	}
	log := o.Log.With(zap.String("lease", o.Namespace+"/"+o.Name), zap.String("identity", o.Identity))
	gate := newGate(o.LeaseDuration, o.margin(), clock)
	lock := &leaseLock{
		leases:    client.Leases(o.Namespace),
		namespace: o.Namespace,
		name:      o.Name,
		id:        o.Identity,
		writer:    o.Identity + "/" + rand.Text(),
		lease:     o.LeaseDuration,
		timeout:   o.callTimeout(),
		gate:      gate,
		clock:     clock,
		log:       log,
		fatal:     make(chan error, 1),
		responses: responses{gap: o.LeaseDuration},
	}
	if err := registerMetrics(o.Registerer, gate, lock); err != nil {
		return nil, err
	}
	return &Elector{options: o, gate: gate, lock: lock, log: log, disconnect: disconnect}, nil
}

// Publish runs publish if this replica may publish at this moment, and returns its error; else it returns a
// *NotLeaderError. The context of publish ends when the permission does, at the latest when the last renewal of the
// Lease is too old. What publish does must end with it, a blocked write included: give the connection a write
// deadline of ctx.Deadline() and interrupt it when ctx is done. What takes time is better prepared first; ask ctx.Err
// again before the first byte, as that looks at the wall clock too, which goes on while a machine is suspended.
func (e *Elector) Publish(ctx context.Context, publish func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, done, v := e.gate.begin(ctx)
	if !v.open {
		return &NotLeaderError{Leader: e.Leader(), Reason: v.reason}
	}
	defer done()
	return publish(ctx)
}

// Leader returns the identity that the Lease named when it was last read or written; "" if none. It is for people:
// it may be out of date, and permits nothing.
func (e *Elector) Leader() string {
	if seen := e.lock.lastObserved(); seen != nil {
		return holder(seen.lease)
	}
	return ""
}

// Run campaigns until ctx is done, while this replica is in sync. Losing the Lease ends a term, and the campaign goes on.
// When ctx is done, or this replica is not in sync any more, it stops publishing, waits for the publications in flight and
// for Lead, and releases the Lease. After the end of ctx it returns nil, all within 8 s.
//
// An error means that the process must exit, at once and without waiting for anything else: guarded work still runs
// though another replica may lead, another process has our identity, or client-go's elector has died. The Lease is then
// not released. Run may be called once.
func (e *Elector) Run(ctx context.Context) error {
	if e.started.Swap(true) {
		return errors.New("run elector: it runs only once")
	}
	defer e.disconnect()

	for ctx.Err() == nil {
		if err := e.run(ctx); err != nil {
			return fmt.Errorf("run elector: %w", err)
		}
	}
	return nil
}

// run campaigns until ctx is done or this replica must give the Lease back.
func (e *Elector) run(ctx context.Context) error {
	campaign := startCampaign(context.WithoutCancel(ctx), e)
	w, reason, err := e.lead(ctx, campaign)
	e.gate.stopAdmitting()
	if err == nil {
		// The campaign goes on meanwhile, so that the Lease stays ours.
		err = e.drain(w, reason)
	}
	e.gate.end(reason)
	ended := campaign.stop()
	if err != nil {
		return err
	}
	if !ended {
		e.log.Error("lease not released", zap.String("reason", "a call to the API server does not end"))
		if !wait(ctx, campaign.done) {
			return nil
		}
	}
	released := e.release(context.WithoutCancel(ctx))
	if ctx.Err() == nil && wait(ctx, released) {
		e.gate.reopen()
		return nil
	}
	// The calls of the release end with its time, unless a credential plugin hangs, which client-go cannot interrupt.
	timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer cancel()
	if !wait(timeout, released) {
		e.log.Warn("lease not released", zap.String("reason", "a call to the API server does not end"))
	}
	return nil
}

// wait waits until done is closed; it returns false when ctx is done before.
func wait(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// release begins to give the Lease up, if it is ours; done is closed at the end.
func (e *Elector) release(ctx context.Context) (done <-chan struct{}) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if e.lock.mayBeOurs() {
			e.giveUp(ctx)
		}
	}()
	return ended
}

// giveUp releases the Lease. A Lease that is not released costs the next leader a whole lease and nothing else, so a
// failure is logged and is no error.
func (e *Elector) giveUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, releaseWithin)
	defer cancel()
	if err := e.lock.release(ctx); err != nil {
		e.log.Warn("lease not released", zap.Error(err))
		return
	}
	e.log.Info("lease released")
}
