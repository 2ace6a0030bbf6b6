package election

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// Valid reports whether this replica may publish now, by both clocks.
func (e *Elector) Valid() bool {
	return e.gate.state().open
}

// A candidate is the elector of a replica: that of this package, or one to compare with.
type candidate interface {
	Run(ctx context.Context) error
	Valid() bool
	Publish(ctx context.Context, publish func(ctx context.Context) error) error
}

// A cluster is a store and some replicas in virtual time, with two oracles: no two replicas may publish at any
// moment (exact, from the starts and the ends of the publications), and no two may be permitted to (sampled
// every 10 ms).
type cluster struct {
	t        *testing.T
	random   *random
	store    *fakeapi.Leases
	replicas []*replica
	stopping atomic.Bool
	watchers sync.WaitGroup

	mu         sync.Mutex
	publishing map[*replica]bool
	doubles    []string      // what two replicas did at the same moment, and when
	lastBegin  time.Time     // of any publication
	resumed    time.Time     // when a replica last published after a silence
	gap        time.Duration // the longest silence since it was set to zero
	began      time.Time
	permitted  time.Duration // in which two replicas were permitted to publish
}

// silence is the shortest interruption: no replica starts a publication, though all try every 50 ms.
const silence = 500 * time.Millisecond

// A replica is one process.
type replica struct {
	name         string
	client       *faultyClient
	clock        *skewedClock
	candidate    candidate
	elector      *Elector // nil: another candidate
	leading      atomic.Int32
	stop         context.CancelFunc
	ended        chan struct{}
	err          error // of Run, after ended
	paused       atomic.Bool
	dead         atomic.Bool
	disconnected atomic.Bool // its client's connections are closed
	first        time.Time   // when it first began to publish; guarded by the cluster's lock
}

// A skewedClock is a machine's clock that runs at its own rate, can be set, and can be suspended.
type skewedClock struct {
	mu        sync.Mutex
	start     time.Time
	rate      float64
	step      time.Duration // by how much the wall clock was set
	suspended time.Duration // how long the monotonic clock stood still
}

func newSkewedClock() *skewedClock { return &skewedClock{start: time.Now(), rate: 1} }

func (c *skewedClock) read() clockReading {
	c.mu.Lock()
	defer c.mu.Unlock()
	elapsed := time.Duration(float64(time.Since(c.start)) * c.rate)
	return clockReading{mono: elapsed - c.suspended, wall: c.start.Add(elapsed + c.step).Round(0)}
}

func (c *skewedClock) set(change func(c *skewedClock)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

func testOptions(identity string) Options {
	o := DefaultOptions()
	o.Identity = identity
	o.Log = zap.NewNop()
	o.Registerer = prometheus.NewRegistry()
	o.Lead = func(ctx context.Context) { <-ctx.Done() }
	return o
}

func newCluster(t *testing.T) *cluster { return newTrial(t, 0) }

// newTrial makes the cluster of one of several trials of a test, which differ in their random numbers.
func newTrial(t *testing.T, trial int) *cluster {
	c := &cluster{t: t, random: newRandom(t, trial), store: &fakeapi.Leases{}, publishing: map[*replica]bool{}, began: time.Now()}
	c.watchers.Go(c.watchPermissions)
	return c
}

// start starts a replica with the elector of this package.
func (c *cluster) start(name string, change ...func(o *Options)) *replica {
	c.t.Helper()
	o := testOptions(name)
	for _, f := range change {
		f(&o)
	}
	r := &replica{name: name, client: &faultyClient{random: c.random, store: c.store}, clock: newSkewedClock()}
	lead := o.Lead
	o.Lead = func(ctx context.Context) {
		if r.leading.Add(1) > 1 {
			c.note("%s leads twice", r.name)
		}
		defer r.leading.Add(-1)
		lead(ctx)
	}
	e, err := newWithClient(r.client, func() { r.disconnected.Store(true) }, r.clock.read, o)
	if err != nil {
		c.t.Fatal(err)
	}
	r.candidate, r.elector = e, e
	c.run(r)
	return r
}

// startNaive starts a replica that trusts client-go's IsLeader.
func (c *cluster) startNaive(name string) *replica {
	r := &replica{name: name, client: &faultyClient{random: c.random, store: c.store, timeout: 5 * time.Second}, clock: newSkewedClock()}
	r.candidate = &naive{name: name, client: r.client}
	c.run(r)
	return r
}

func (c *cluster) run(r *replica) {
	ctx, stop := context.WithCancel(context.Background())
	r.stop, r.ended = stop, make(chan struct{})
	c.mu.Lock()
	c.replicas = append(c.replicas, r)
	c.mu.Unlock()
	go func() {
		defer close(r.ended)
		r.err = r.candidate.Run(ctx)
	}()
	c.watchers.Go(func() { c.publish(r) })
}

// publish publishes all the time: 40 ms in every 50 ms.
func (c *cluster) publish(r *replica) {
	for !c.over(10 * time.Millisecond) {
		if r.paused.Load() || r.dead.Load() {
			continue
		}
		_ = r.candidate.Publish(context.Background(), func(ctx context.Context) error {
			c.begin(r)
			defer c.end(r)
			select {
			case <-ctx.Done():
			case <-time.After(40 * time.Millisecond):
			}
			return nil
		})
	}
}

func (c *cluster) begin(r *replica) {
	c.mu.Lock()
	c.publishing[r] = true
	if r.first.IsZero() {
		r.first = time.Now()
	}
	now := time.Now()
	if now.Sub(c.lastBegin) > silence {
		c.resumed = now
		c.gap = max(c.gap, now.Sub(c.lastBegin))
	}
	c.lastBegin = now
	var names []string
	if len(c.publishing) > 1 {
		for other := range c.publishing {
			names = append(names, other.name)
		}
	}
	c.mu.Unlock()
	if len(names) > 1 {
		slices.Sort(names)
		c.note("%v publish", names)
	}
}

func (c *cluster) end(r *replica) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.publishing, r)
}

func (c *cluster) watchPermissions() {
	const tick = 10 * time.Millisecond
	var names []string
	for !c.over(tick) {
		names = names[:0]
		for _, r := range c.all() {
			if !r.dead.Load() && !r.paused.Load() && r.candidate.Valid() {
				names = append(names, r.name)
			}
		}
		if len(names) > 1 {
			c.mu.Lock()
			c.permitted += tick
			c.mu.Unlock()
			c.note("%v are permitted", names)
		}
	}
}

// over waits and reports whether the cluster is stopping.
func (c *cluster) over(d time.Duration) bool {
	<-time.After(d)
	return c.stopping.Load()
}

func (c *cluster) all() []*replica {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.replicas)
}

func (c *cluster) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.doubles) < 20 {
		c.doubles = append(c.doubles, fmt.Sprintf("%s: ", time.Since(c.began))+fmt.Sprintf(format, args...))
	}
}

// found returns the double publications, and the longest time without a publication.
func (c *cluster) found() (doubles []string, gap time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.doubles), c.gap
}

// forgive forgets the silence so far.
func (c *cluster) forgive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gap = 0
}

// check fails the test if two replicas published at one moment.
func (c *cluster) check() {
	c.t.Helper()
	if doubles, _ := c.found(); len(doubles) > 0 {
		c.t.Errorf("%s", strings.Join(doubles, "\n"))
	}
}

// settle waits, and returns how long it took from its start until a replica
// published without another interruption.
func (c *cluster) settle(d time.Duration) (time.Duration, error) {
	from := time.Now()
	<-time.After(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.lastBegin) > silence {
		return 0, fmt.Errorf("no replica publishes %s after the fault", d)
	}
	return max(0, c.resumed.Sub(from)), nil
}

// sleepAfterRenewal sleeps until some time after the last successful renewal of a replica that cannot renew any more.
func (r *replica) sleepAfterRenewal(d time.Duration) {
	<-time.After(100 * time.Millisecond) // for one that was under way
	<-time.After(time.Until(r.client.lastRenewal().Add(d)))
}

// kill ends a replica as SIGKILL does, as seen from outside.
func (c *cluster) kill(r *replica) {
	r.dead.Store(true)
	r.client.set(func(f *faults) { *f = faults{cut: true} })
}

// close stops all replicas and all goroutines of the bubble.
func (c *cluster) close() {
	c.stopping.Store(true)
	for _, r := range c.all() {
		r.stop()
	}
	for _, r := range c.all() {
		<-r.ended
	}
	c.watchers.Wait()
	<-time.After(10 * time.Minute) // for goroutines that outlive their replica
	for _, r := range c.all() {
		r.client.pending.Wait()
	}
}

// naive is a candidate that publishes while client-go says that it leads.
type naive struct {
	name   string
	client *faultyClient
	now    atomic.Pointer[leaderelection.LeaderElector]
}

func (n *naive) Run(ctx context.Context) error {
	ctx = klog.NewContext(ctx, klog.Logger{}) // says nothing
	for ctx.Err() == nil {
		le, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				Client:     n.client,
				LockConfig: resourcelock.ResourceLockConfig{Identity: n.name},
			},
			LeaseDuration:   15 * time.Second,
			RenewDeadline:   10 * time.Second,
			RetryPeriod:     2 * time.Second,
			ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) {},
				OnStoppedLeading: func() { n.now.Store(nil) },
			},
		})
		if err != nil {
			return err
		}
		n.now.Store(le)
		le.Run(ctx)
	}
	return nil
}

func (n *naive) Valid() bool {
	le := n.now.Load()
	return le != nil && le.IsLeader()
}

func (n *naive) Publish(ctx context.Context, publish func(ctx context.Context) error) error {
	if !n.Valid() {
		return errors.New("not the leader")
	}
	return publish(ctx)
}
