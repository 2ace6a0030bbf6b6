package election

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

var leaseResource = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

// A store is what an API server does with one Lease: conditional writes, in one order.
type store struct {
	mu      sync.Mutex
	lease   *coordinationv1.Lease
	version int
	uid     int
	writes  int
	refuse  func(lease *coordinationv1.Lease) error // why a write of a replica is not valid; nil: all are
}

func (s *store) get() (*coordinationv1.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil {
		return nil, apierrors.NewNotFound(leaseResource, "lease")
	}
	return s.lease.DeepCopy(), nil
}

func (s *store) create(lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.invalid(lease); err != nil {
		return nil, err
	}
	if s.lease != nil {
		return nil, apierrors.NewAlreadyExists(leaseResource, lease.Name)
	}
	s.uid++
	lease = lease.DeepCopy()
	lease.UID = types.UID("uid-" + strconv.Itoa(s.uid))
	return s.commit(lease), nil
}

func (s *store) update(lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.invalid(lease); err != nil {
		return nil, err
	}
	if s.lease == nil {
		return nil, apierrors.NewNotFound(leaseResource, lease.Name)
	}
	if lease.ResourceVersion != s.lease.ResourceVersion || lease.UID != s.lease.UID {
		return nil, apierrors.NewConflict(leaseResource, lease.Name, errors.New("the object has been modified"))
	}
	return s.commit(lease), nil
}

func (s *store) invalid(lease *coordinationv1.Lease) error {
	if s.refuse == nil {
		return nil
	}
	return s.refuse(lease)
}

// commit keeps a Lease as etcd does: in protobuf, which cuts its times to microseconds and takes any year.
func (s *store) commit(lease *coordinationv1.Lease) *coordinationv1.Lease {
	s.version++
	s.writes++
	data, err := lease.Marshal()
	if err != nil {
		panic(err)
	}
	s.lease = &coordinationv1.Lease{}
	if err := s.lease.Unmarshal(data); err != nil {
		panic(err)
	}
	s.lease.ResourceVersion = strconv.Itoa(s.version)
	return s.lease.DeepCopy()
}

// edit changes the Lease by hand, without a condition. Where there is none it does nothing.
func (s *store) edit(change func(lease *coordinationv1.Lease)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == nil {
		return
	}
	lease := s.lease.DeepCopy()
	change(lease)
	s.commit(lease)
}

func (s *store) delete() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease = nil
}

// A line is one replica's way to the store, and has the faults of a network and of an API server.
type line struct {
	coordinationv1client.LeaseInterface // the rest: not called, or the test panics
	store                               *store
	timeout                             time.Duration  // of a call; 0: only what its context says
	pending                             sync.WaitGroup // requests that arrive after their caller has gone

	mu     sync.Mutex
	faults faults
	calls  []call
}

type faults struct {
	cut         bool             // nothing arrives and nothing comes back
	refused     bool             // an error at once
	frozen      chan struct{}    // calls stand still until it is closed, whatever their context says
	sendDelay   time.Duration    // a request arrives this late, also if its caller has gone
	answerDelay time.Duration    // an answer comes this late
	loseAnswers bool             // a request is carried out, and its answer never comes
	fail        map[string]error // by verb: what the server answers
	panics      bool             // the client has a bug
}

// A call is one that was made, for tests that look at what was sent.
type call struct {
	at      time.Time
	verb    string
	success bool
}

// Leases makes a line the client of every namespace.
func (l *line) Leases(string) coordinationv1client.LeaseInterface { return l }

func (l *line) set(change func(f *faults)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.faults)
}

func (l *line) heal() { l.set(func(f *faults) { *f = faults{} }) }

func (l *line) Get(ctx context.Context, _ string, _ metav1.GetOptions) (*coordinationv1.Lease, error) {
	return l.call(ctx, "get", l.store.get)
}

func (l *line) Create(
	ctx context.Context, lease *coordinationv1.Lease, _ metav1.CreateOptions,
) (*coordinationv1.Lease, error) {
	lease = lease.DeepCopy()
	return l.call(ctx, "create", func() (*coordinationv1.Lease, error) { return l.store.create(lease) })
}

func (l *line) Update(
	ctx context.Context, lease *coordinationv1.Lease, _ metav1.UpdateOptions,
) (*coordinationv1.Lease, error) {
	lease = lease.DeepCopy()
	return l.call(ctx, "update", func() (*coordinationv1.Lease, error) { return l.store.update(lease) })
}

func (l *line) call(
	ctx context.Context, verb string, do func() (*coordinationv1.Lease, error),
) (*coordinationv1.Lease, error) {
	if l.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.timeout)
		defer cancel()
	}
	l.mu.Lock()
	f := l.faults
	l.calls = append(l.calls, call{at: time.Now(), verb: verb})
	this := len(l.calls) - 1
	l.mu.Unlock()
	if f.panics {
		panic("a bug in the client")
	}
	if f.frozen != nil {
		<-f.frozen
	}
	if f.refused {
		return nil, errors.New("connection refused")
	}
	if f.cut {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	// The way there goes on without the caller.
	var answer *coordinationv1.Lease
	var err error
	arrived := make(chan struct{})
	l.pending.Go(func() {
		defer close(arrived)
		<-time.After(f.sendDelay + latency())
		if err = f.fail[verb]; err == nil {
			answer, err = do()
		}
	})
	select {
	case <-arrived:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.loseAnswers {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	select {
	case <-time.After(f.answerDelay + latency()):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.mu.Lock()
	l.calls[this].success = err == nil
	l.mu.Unlock()
	return answer, err
}

// lastRenewal returns when the last successful write was sent.
func (l *line) lastRenewal() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range slices.Backward(l.calls) {
		if c.verb != "get" && c.success {
			return c.at
		}
	}
	return time.Time{}
}

// made returns the calls up to now.
func (l *line) made() []call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// latency is that of one way.
func latency() time.Duration {
	return time.Duration(1+rand.IntN(10)) * time.Millisecond
}
