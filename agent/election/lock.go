package election

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// writerAnnotation names the process that wrote the Lease last: its identity, a slash and a random part. An edit of the holder by
// hand does not change it, so it distinguishes such an edit from another process with our identity.
const writerAnnotation = "kube-devops.io/writer"

// releasedMark follows the writer when it has released the Lease after the end of its work. An edit by hand that makes the spec
// look released does not have it.
const releasedMark = "/released"

// maxPendingWrites limits how many unanswered writes are remembered. They all build on one version of the Lease, so at most one of
// them was carried out.
const maxPendingWrites = 16

// A leaseLock is the resourcelock.Interface for client-go's elector, and the only part that reads and writes the Lease. It reports
// to the gate what each response means. It outlives the campaigns, because it must know what this process wrote in an earlier
// one; each campaign has a new elector, which begins with a read.
//
// resourcelock.LeaseLock does not do because it does not expose the Lease that it read last.
type leaseLock struct {
	leases              coordinationv1client.LeaseInterface
	namespace, name, id string
	writer              string        // the value of writerAnnotation
	lease               time.Duration // our LeaseDuration, not that of the Lease
	timeout             time.Duration // of one call
	gate                *gate
	clock               clock
	log                 *zap.Logger
	fatal               chan error // receives the first reason why the process must exit; buffered
	responses           responses

	mu          sync.Mutex
	observed    *observedLease // nil: no response yet
	pending     []write        // writes on top of observed that failed but may have been carried out
	otherWriter string         // another writer with our identity; "" if none was seen
	fatalErr    error          // why nothing is written any more
}

// A write is what was sent, and the rule of the Lease on which it builds.
type write struct {
	spec      coordinationv1.LeaseSpec
	startRule startRule
}

var _ resourcelock.Interface = (*leaseLock)(nil)

// Get reads the Lease, and closes the gate if it shows that the term is over. The record has a duration that this process honours,
// whatever the Lease says; the raw bytes show every change.
func (l *leaseLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	lease, err := l.leases.Get(ctx, l.name, metav1.GetOptions{})
	l.responses.record(l.clock().mono, err == nil || apierrors.IsNotFound(err))
	if apierrors.IsNotFound(err) {
		l.observe(nil)
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, err
	}
	l.observe(lease)
	record := resourcelock.LeaseSpecToLeaderElectionRecord(&lease.Spec)
	record.LeaseDurationSeconds = int(l.effectiveDuration(lease) / time.Second)
	sanitize(record)
	return record, []byte(raw(lease)), nil
}

// Create creates the Lease.
func (l *leaseLock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	lease := l.signed(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: l.name}}, record)
	return l.write(ctx, lease, startRule{waitFullLease: true}, func(ctx context.Context) (*coordinationv1.Lease, error) {
		return l.leases.Create(ctx, lease, metav1.CreateOptions{})
	})
}

// Update writes the Lease if it is still the one that was last read or written.
func (l *leaseLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	seen := l.lastObserved()
	if seen == nil || seen.lease == nil {
		return errors.New("the lease was not read")
	}
	lease := l.signed(seen.lease, record)
	return l.write(ctx, lease, seen.startRule, func(ctx context.Context) (*coordinationv1.Lease, error) {
		return l.leases.Update(ctx, lease, metav1.UpdateOptions{})
	})
}

// Identity returns the holder that this process writes.
func (l *leaseLock) Identity() string { return l.id }

// Describe names the Lease in client-go's log.
func (l *leaseLock) Describe() string { return l.namespace + "/" + l.name }

// RecordEvent does nothing: the agent has no right to create events.
func (l *leaseLock) RecordEvent(string) {}

// release releases the Lease, so that a standby need not wait until it expires. It does so only if a read just now shows that the
// Lease is ours, the write builds on that read, and the term could publish: a standby takes a released Lease as proof that no
// earlier leader publishes. The caller has ended all guarded work.
func (l *leaseLock) release(ctx context.Context) error {
	const tries = 3 // a renewal in flight may still be carried out, once
	var err error
	for range tries {
		if _, _, err = l.Get(ctx); err != nil {
			return fmt.Errorf("read lease: %w", err)
		}
		seen := l.lastObserved()
		if !seen.own {
			return fmt.Errorf("the lease is held by %q", holder(seen.lease))
		}
		if seen.startRule.waitFullLease || l.clock().mono < seen.startRule.notBefore {
			return errors.New(reasonNotBefore)
		}
		now := metav1.Now()
		lease := l.signed(seen.lease, resourcelock.LeaderElectionRecord{
			LeaseDurationSeconds: 1,
			AcquireTime:          now,
			RenewTime:            now,
			LeaderTransitions:    int(epoch(seen.lease)),
		})
		lease.Annotations[writerAnnotation] += releasedMark
		if lease, err = l.leases.Update(ctx, lease, metav1.UpdateOptions{}); err == nil {
			l.observe(lease)
			return nil
		}
		if !apierrors.IsConflict(err) {
			break
		}
	}
	return fmt.Errorf("write lease: %w", err)
}

// signed returns a copy of a Lease with another record and our signature.
func (l *leaseLock) signed(lease *coordinationv1.Lease, record resourcelock.LeaderElectionRecord) *coordinationv1.Lease {
	lease = lease.DeepCopy()
	sanitize(&record)
	lease.Spec = resourcelock.LeaderElectionRecordToLeaseSpec(&record)
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, writerAnnotation, l.writer)
	return lease
}

// sanitize limits what a record takes over from the Lease, which anyone may have edited, to what the API server accepts. client-go
// adds 1 to the count of transitions, and an int32 that overflows is rejected; so is a time whose year does not have four digits.
func sanitize(record *resourcelock.LeaderElectionRecord) {
	record.LeaderTransitions = min(max(0, record.LeaderTransitions), math.MaxInt32)
	for _, t := range []*metav1.Time{&record.AcquireTime, &record.RenewTime} {
		if year := t.UTC().Year(); year < 0 || year > 9999 {
			*t = metav1.Now()
		}
	}
}

// mayBeOurs reports whether the Lease on the API server could be ours.
func (l *leaseLock) mayBeOurs() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.observed != nil && l.observed.own || len(l.pending) > 0
}

// lastObserved returns what was last read or written; nil before the first response. It never changes.
func (l *leaseLock) lastObserved() *observedLease {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.observed
}

// write sends one write and reports its success to the gate. A write that fails may have been carried out: any error, including a
// conflict, may be the response to a second try of the HTTP client.
func (l *leaseLock) write(
	ctx context.Context, lease *coordinationv1.Lease, on startRule, send func(context.Context) (*coordinationv1.Lease, error),
) error {
	if err := l.remember(write{lease.Spec, on}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	sent := l.clock()
	answer, err := send(ctx)
	l.responses.record(l.clock().mono, err == nil || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err))
	if err != nil {
		return err
	}
	notBefore := on.start(l.clock().mono, l.lease)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.observed = &observedLease{lease: answer, raw: raw(answer), own: true, startRule: startRule{notBefore: notBefore}}
	l.pending = nil
	l.gate.renewed(sent, notBefore, epoch(answer))
	return nil
}

func (l *leaseLock) remember(w write) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatalErr != nil {
		return l.fatalErr
	}
	l.pending = append(l.pending, w)
	if len(l.pending) > maxPendingWrites {
		l.pending = l.pending[1:]
	}
	return nil
}

// observe evaluates what a read has shown; nil for no Lease.
func (l *leaseLock) observe(lease *coordinationv1.Lease) {
	now := l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()

	before := l.observed
	next := &observedLease{lease: lease, raw: raw(lease)}
	if before != nil && before.raw == next.raw {
		next.own, next.startRule = before.own, before.startRule
		l.observed = next // its resourceVersion may be later
		return
	}
	l.observed = next
	w := l.findPending(lease)
	if w != nil {
		next.own, next.startRule = true, w.startRule
	} else {
		var reason string
		next.startRule, reason = l.classify(lease, now)
		l.gate.end(reason)
		l.checkIdentity(lease)
	}
	l.logChange(before, lease)
	// They build on another version of the Lease and can no longer be carried out.
	l.pending = nil
}

func (l *leaseLock) findPending(lease *coordinationv1.Lease) *write {
	if lease == nil {
		return nil
	}
	spec := rawSpec(&lease.Spec)
	for i := range l.pending {
		if rawSpec(&l.pending[i].spec) == spec {
			return &l.pending[i]
		}
	}
	return nil
}

// classify returns the rule for a term that begins on top of a Lease that this process did not write, and why the current term has
// ended.
func (l *leaseLock) classify(lease *coordinationv1.Lease, now clockReading) (startRule, string) {
	switch {
	case lease == nil:
		return startRule{waitFullLease: true}, "the lease was deleted"
	case holder(lease) == l.id:
		return startRule{waitFullLease: true}, "another client wrote the lease with the identity of this replica"
	case released(lease):
		return startRule{notBefore: now.mono}, "another client released the lease"
	case holder(lease) == "":
		return startRule{waitFullLease: true}, "another client removed the holder from the lease"
	default:
		return startRule{notBefore: now.mono + l.effectiveDuration(lease)}, "another replica holds the lease"
	}
}

// effectiveDuration returns how long the holder of a Lease may lead after a write: at least our own duration, however short the one in
// the Lease is, and at most twice that, because one edit could lock out all replicas otherwise.
func (l *leaseLock) effectiveDuration(lease *coordinationv1.Lease) time.Duration {
	return min(max(leaseDuration(lease), l.lease), 2*l.lease)
}

// checkIdentity makes the process exit if another one has our identity. One write of another process may be that of a predecessor
// that is dead; a second one is not.
func (l *leaseLock) checkIdentity(lease *coordinationv1.Lease) {
	if lease == nil || holder(lease) != l.id {
		return
	}
	writer := lease.Annotations[writerAnnotation]
	if writer == l.writer || !strings.HasPrefix(writer, l.id+"/") {
		return // an edit by hand
	}
	if writer == l.otherWriter && l.fatalErr == nil {
		l.fatalErr = fmt.Errorf("another process writes the lease %s as %q: each process needs an identity of its own", l.Describe(), l.id)
		l.fatal <- l.fatalErr
	}
	l.otherWriter = writer
}

// logChange logs another leader, and a duration that is not ours, when they are new.
func (l *leaseLock) logChange(before *observedLease, lease *coordinationv1.Lease) {
	if lease == nil || holder(lease) == "" || holder(lease) == l.id {
		return
	}
	var was *coordinationv1.Lease
	if before != nil {
		was = before.lease
	}
	if holder(was) != holder(lease) {
		l.log.Info("another leader seen", zap.String("leader", holder(lease)), zap.Int64("epoch", epoch(lease)))
	}
	if d := leaseDuration(lease); d != l.lease && d != leaseDuration(was) {
		l.log.Warn("the leader's lease duration is not ours", zap.String("leader", holder(lease)),
			zap.Duration("duration", d), zap.Duration("honoured", l.effectiveDuration(lease)))
	}
}
