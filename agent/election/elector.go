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

// The limits of a graceful stop. They add up to 8 s (stopWithin counts twice), within the 10 s that the agent has, even if
// neither a publication nor a call to the API server ends.
const (
	drainWithin   = 4 * time.Second // for publications in flight
	stopWithin    = time.Second     // for Lead, and again for client-go's elector, after their contexts have ended
	releaseWithin = 2 * time.Second // for the read and the write that release the Lease
)

// An Elector campaigns for one Lease and permits publications. Its methods are safe for concurrent use.
type Elector struct {
	options    Options
	gate       *gate
	lock       *leaseLock
	log        *zap.Logger
	disconnect func() // closes the connections of the Lease client
	started    atomic.Bool
}

// NotLeaderError means that this replica may not publish now.
type NotLeaderError struct {
	// Leader is the holder of the Lease when it was last read; "" if it had none or was not read. It may be this replica:
	// before its term may publish, and after its term has expired.
	Leader string
	// Reason is why this replica may not publish.
	Reason string
	// Wait is for how long this replica, which holds the Lease, waits until no earlier leader can publish; 0 if it does not wait for that.
	Wait time.Duration
}

// Error returns one line with the reason and the leader.
func (e *NotLeaderError) Error() string {
	if e.Wait > 0 {
		// A person who starts the first replica of a cluster must not look for another leader.
		wait := max(time.Second, e.Wait.Round(time.Second))
		return fmt.Sprintf("may not publish: this replica holds the lease and publishes in %s; until then %s; the leader is %s", wait, e.Reason, e.Leader)
	}
	if e.Leader == "" {
		return fmt.Sprintf("may not publish: %s; no leader is known", e.Reason)
	}
	return fmt.Sprintf("may not publish: %s; the leader is %s", e.Reason, e.Leader)
}

// New makes an elector with an API client of its own, and registers its metrics. It sends no request.
func New(cfg *rest.Config, o Options) (*Elector, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	client, disconnect, err := newClient(cfg, o.callTimeout())
	if err != nil {
		return nil, fmt.Errorf("create lease client: %w", err)
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
		return nil, errors.New("create elector: Log, Registerer and Lead must be set")
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

// Publish runs publish if this replica may publish now, and returns its error; else it returns a *NotLeaderError. The context
// of publish ends with the permission, at the latest when the last renewal of the Lease is too old. All that publish does must
// end with it, including a blocked write: set a write deadline of ctx.Deadline() and interrupt the connection when ctx is done.
// Prepare slow work before Publish, and check ctx.Err before the first byte: Err also considers the wall clock, which goes on
// while a machine is suspended.
func (e *Elector) Publish(ctx context.Context, publish func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, done, state := e.gate.begin(ctx)
	if !state.open {
		return &NotLeaderError{Leader: e.Leader(), Reason: state.reason, Wait: state.wait}
	}
	defer done()
	return publish(ctx)
}

// Leader returns the holder of the Lease when it was last read or written; "" if it had none. It is for display, and may be
// out of date.
func (e *Elector) Leader() string {
	if seen := e.lock.lastObserved(); seen != nil {
		return holder(seen.lease)
	}
	return ""
}

// Run campaigns until ctx is done, while this replica is in sync. After the loss of the Lease the campaign continues. When ctx
// is done, or this replica is no longer in sync, Run stops publications, waits for those in flight and for Lead, and releases
// the Lease. After the end of ctx it returns nil within 8 s.
//
// An error means that the process must exit at once: guarded work still runs though another replica may lead, another process
// has the same identity, or client-go's elector has died. Then the Lease is not released. Run may be called once.
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

// run campaigns until ctx is done or this replica must give up the Lease.
func (e *Elector) run(ctx context.Context) error {
	campaign := startCampaign(context.WithoutCancel(ctx), e)
	l, reason, err := e.lead(ctx, campaign)
	e.gate.stopAdmitting()
	if err == nil {
		err = e.drain(l, reason) // the campaign goes on and keeps the Lease
	}
	e.gate.end(reason)
	ended := campaign.stop()
	if err != nil {
		return err
	}
	if !ended {
		e.log.Error("lease not released", zap.String("reason", reasonCallHangs))
		if !wait(ctx, campaign.done) {
			return nil
		}
	}
	released := e.release(context.WithoutCancel(ctx))
	if ctx.Err() == nil && wait(ctx, released) {
		e.gate.reopen()
		return nil
	}
	// The calls of the release have a timeout, but client-go cannot interrupt a credential plugin that hangs.
	if !waitFor(releaseWithin, released) {
		e.log.Warn("lease not released", zap.String("reason", reasonCallHangs))
	}
	return nil
}

// wait waits until done is closed; it returns false if ctx is done before.
func wait(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// waitFor waits until done is closed; it returns false after a timeout.
func waitFor(timeout time.Duration, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-time.After(timeout):
		return false
	}
}

// release starts to release the Lease, if it may be ours; done is closed at the end. A Lease that is not released only makes the
// next leader wait for a whole lease, so a failure is logged and not returned.
func (e *Elector) release(ctx context.Context) (done <-chan struct{}) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if !e.lock.mayBeOurs() {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, releaseWithin)
		defer cancel()
		if err := e.lock.release(ctx); err != nil {
			e.log.Warn("lease not released", zap.Error(err))
			return
		}
		e.log.Info("lease released")
	}()
	return ended
}
