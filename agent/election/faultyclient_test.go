package election

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

var leaseResource = schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}

// A faultyClient is the Lease client of one replica, with the faults of a network and of an API server.
type faultyClient struct {
	coordinationv1client.LeaseInterface // the rest: not called, or the test panics
	store                               *fakeapi.Leases
	random                              *random
	timeout                             time.Duration  // of a call; 0: that of its context
	pending                             sync.WaitGroup // requests in flight

	mu     sync.Mutex
	faults faults
	calls  []call
}

type faults struct {
	cut         bool             // no request arrives
	refused     bool             // an error at once
	frozen      chan struct{}    // calls block until it is closed, whatever their context
	sendDelay   time.Duration    // a request arrives this late, also if its caller has gone
	answerDelay time.Duration    // a response comes this late
	loseAnswers bool             // a request is carried out, but its response does not come
	fail        map[string]error // the response, by verb
	panics      bool             // the client has a bug
}

// A call is a request that was sent.
type call struct {
	at      time.Time
	verb    string
	success bool
}

// Leases implements LeasesGetter.
func (l *faultyClient) Leases(string) coordinationv1client.LeaseInterface { return l }

func (l *faultyClient) set(change func(f *faults)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.faults)
}

func (l *faultyClient) heal() { l.set(func(f *faults) { *f = faults{} }) }

func (l *faultyClient) Get(ctx context.Context, _ string, _ metav1.GetOptions) (*coordinationv1.Lease, error) {
	return l.call(ctx, "get", l.store.Get)
}

func (l *faultyClient) Create(
	ctx context.Context, lease *coordinationv1.Lease, _ metav1.CreateOptions,
) (*coordinationv1.Lease, error) {
	lease = lease.DeepCopy()
	return l.call(ctx, "create", func() (*coordinationv1.Lease, error) { return l.store.Create(lease) })
}

func (l *faultyClient) Update(
	ctx context.Context, lease *coordinationv1.Lease, _ metav1.UpdateOptions,
) (*coordinationv1.Lease, error) {
	lease = lease.DeepCopy()
	return l.call(ctx, "update", func() (*coordinationv1.Lease, error) { return l.store.Update(lease) })
}

func (l *faultyClient) call(
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
	// The request arrives even if the caller has gone.
	var answer *coordinationv1.Lease
	var err error
	arrived := make(chan struct{})
	l.pending.Go(func() {
		defer close(arrived)
		<-time.After(f.sendDelay + l.latency())
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
	case <-time.After(f.answerDelay + l.latency()):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.mu.Lock()
	l.calls[this].success = err == nil
	l.mu.Unlock()
	return answer, err
}

// lastRenewal returns when the last successful write was sent.
func (l *faultyClient) lastRenewal() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range slices.Backward(l.calls) {
		if c.verb != "get" && c.success {
			return c.at
		}
	}
	return time.Time{}
}

// made returns the calls so far.
func (l *faultyClient) made() []call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// latency is that of a request or of a response.
func (l *faultyClient) latency() time.Duration {
	return time.Millisecond + l.random.duration(10*time.Millisecond)
}
