package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/faults/proxy"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

const (
	// quiet bounds the time from the last change of a pod to the scores of a recompute.
	quiet = 5 * time.Second
	// healed bounds how long client-go may wait between two tries: up to 30 s, and as much again by chance.
	healed = 65 * time.Second
	// looks bounds how long nothing may be known of a replica that runs: with eight rows on two cores it is 0.5 s, and more
	// where those have other work. No fault takes effect and ends again in that time.
	looks = 2 * time.Second
	// silentWatch bounds how long a watch is believed that brings neither events nor bookmarks, and the list afterwards.
	silentWatch = 180 * time.Second
	// exits bounds a clean stop.
	exits = 10 * time.Second
)

// A fixture is a pair of replicas before a cluster, and what a row may do to them.
type fixture struct {
	testing.TB
	*environment
	lease   lease
	account *cluster.Account
	row     *row
	outcome *outcome

	namespaces  []string // of this row alone
	dir         string
	binary      string
	env         []string // of the agents
	authorities bool     // they read the authority of the API server's certificate from a file
	kubeconfig  string
	token       string // in it
	slots       [2]*replica
	proxies     [2]*proxy.Proxy

	changed atomic.Int64 // pods, by churn

	closed sync.Once

	mu  sync.Mutex
	all []*replica // every process that there was
}

func newFixture(t testing.TB, e *environment, r *row, o *outcome) *fixture {
	f := &fixture{TB: t, environment: e, row: r, outcome: o, lease: leases[*leaseFlag], binary: binary}
	var err error
	if f.dir, err = os.MkdirTemp(workDir, fmt.Sprintf("row-%d-", r.number)); err != nil {
		t.Fatal(err)
	}
	name := strings.ToLower(filepath.Base(f.dir))
	if f.account, err = e.installation.NewAccount(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if f.kubeconfig, err = e.installation.Kubeconfig(t.Context(), f.dir, name); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(f.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		f.token = user.Token
	}
	for range 2 {
		namespace, err := e.CreateNamespace(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		f.namespaces = append(f.namespaces, namespace)
	}
	t.Cleanup(f.close)
	if err := e.CreatePods(t.Context(), cluster.NewPod(f.namespaces[0], "bad", cluster.Bad),
		cluster.NewPod(f.namespaces[0], "good", cluster.Good), cluster.NewPod(f.namespaces[1], "pair", cluster.Bad, cluster.Good)); err != nil {
		t.Fatal(err)
	}
	return f
}

// close stops what still runs. It may be called twice.
func (f *fixture) close() { f.closed.Do(f.end) }

func (f *fixture) end() {
	for _, r := range f.all {
		if !r.Ended() {
			r.Signal(syscall.SIGCONT)
			r.Kill()
		}
		r.stop()
		<-r.ended
	}
	for _, p := range f.proxies {
		if p != nil {
			p.Close()
		}
	}
	for _, namespace := range f.namespaces {
		if f.Own.Running() {
			_ = f.EmptyNamespace(context.WithoutCancel(f.Context()), namespace)
		}
	}
	if f.Failed() {
		for _, r := range f.all {
			f.Logf("%s: %s", r.Name(), r.Tail())
		}
	}
}

// start starts the agent of a slot, behind the proxy of that slot unless the row goes without.
func (f *fixture) start(slot int, extra ...string) *replica {
	f.Helper()
	path := f.kubeconfig
	if !f.row.direct {
		path = filepath.Join(f.dir, fmt.Sprintf("%c.kubeconfig", 'a'+slot))
		if f.proxies[slot] == nil {
			p, err := proxy.Start(f.kubeconfig)
			if err != nil {
				f.Fatal(err)
			}
			f.proxies[slot] = p
		}
		if err := f.proxies[slot].Kubeconfig(f.kubeconfig, path); err != nil {
			f.Fatal(err)
		}
		if f.authorities {
			f.authorityFile(path, f.proxies[slot])
		}
	}
	args := append([]string{"agent", "--listen", "127.0.0.1:0", "--kubeconfig", path, "--lease-name", f.account.Name}, f.lease.args()...)
	args = append(args, f.row.args...)
	name := fmt.Sprintf("%c%d", 'a'+slot, len(f.all)+1)
	agent, err := blackbox.StartAgent(f.Context(), blackbox.Options{Name: name, Binary: f.binary, Dir: f.dir, Env: f.env, Args: append(args, extra...)})
	if err != nil {
		f.Fatal(err)
	}
	r := &replica{Agent: agent, proxy: f.proxies[slot]}
	r.listen()
	f.slots[slot] = r
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, r)
	return r
}

// live are the processes that run.
func (f *fixture) live() []*replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.all), func(r *replica) bool { return r.Ended() })
}

// wait asks until holds returns nil, for so long and as long as the machine stood still meanwhile.
func (f *fixture) wait(what string, within time.Duration, holds func() error) {
	f.Helper()
	began, given := time.Now(), time.Duration(0)
	err := cluster.Eventually(f.Context(), within, 10*time.Millisecond, holds)
	for err != nil {
		stood := halts.Within(began, time.Now())
		if stood <= given {
			f.Fatalf("%s: %v", what, err)
		}
		err = cluster.Eventually(f.Context(), stood-given, 10*time.Millisecond, holds)
		given = stood
	}
}

// pass lets time go by. It is the length of a fault, not the hope that something has happened.
func (f *fixture) pass(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.Context().Done():
	}
}

func ready(r *replica) error {
	status, body, err := r.Get("/readyz")
	if err == nil && status != 200 {
		err = fmt.Errorf("%s: /readyz: %d %s", r.Name(), status, body)
	}
	return err
}

// pair brings about what each trial begins with: two replicas that are in sync, one of which publishes.
func (f *fixture) pair() {
	f.Helper()
	for slot, r := range f.slots {
		if f.proxies[slot] != nil {
			f.proxies[slot].Heal()
		}
		if r == nil || r.Ended() {
			f.start(slot)
		}
	}
	f.wait("two replicas, one of which publishes", healed, func() error {
		leads := 0
		for _, r := range f.slots {
			if err := ready(r); err != nil {
				return err
			}
			if r.leads() {
				leads++
			}
		}
		if leads != 1 {
			return fmt.Errorf("%d publish", leads)
		}
		return nil
	})
	for _, r := range f.slots {
		if r.goroutines == 0 {
			r.goroutines, _ = r.value("go_goroutines")
		}
	}
}

// leader is who publishes, standby the other.
func (f *fixture) leader() *replica {
	f.Helper()
	var leader *replica
	f.wait("a replica publishes", looks, func() error {
		for _, r := range f.slots {
			if r != nil && r.leads() {
				leader = r
				return nil
			}
		}
		return errors.New("nobody does")
	})
	return leader
}

func (f *fixture) standby() *replica {
	f.Helper()
	if leader := f.leader(); leader == f.slots[0] {
		return f.slots[1]
	}
	return f.slots[0]
}

// publishes waits until one of some replicas has published after a moment, and notes how long that took.
func (f *fixture) publishes(since time.Time, within time.Duration, some ...*replica) *replica {
	f.Helper()
	who, at := f.next(since, within, some...)
	f.recovered(at.Sub(since), within)
	return who
}

// next waits for the next to publish after a moment.
func (f *fixture) next(since time.Time, within time.Duration, some ...*replica) (*replica, time.Time) {
	f.Helper()
	var who *replica
	var at time.Time
	f.wait("a replica publishes", time.Until(since)+within, func() error {
		for _, r := range some {
			if first := r.firstPublished(since); !first.IsZero() && (at.IsZero() || first.Before(at)) {
				who, at = r, first
			}
		}
		if who == nil {
			return errors.New("nobody publishes")
		}
		return nil
	})
	return who, at
}

// recovered notes a time to recover that ends now, and checks it against its bound. For as long as the machine stood
// still nothing could recover.
func (f *fixture) recovered(took, bound time.Duration) {
	f.Helper()
	now := time.Now()
	stood := halts.Within(now.Add(-took), now)
	f.outcome.recovered(took, bound)
	if took > bound+stood {
		f.Errorf("recovered in %s, bound %s; the machine stood still for %s", took, bound, stood)
	} else if took > bound {
		f.notef("recovered in %s, of which the machine stood still for %s", seconds(took), seconds(stood))
	}
}

// silent checks that a replica has not published after a moment.
func (f *fixture) silent(r *replica, after time.Time) {
	f.Helper()
	for _, s := range slices.Backward(r.heard()) {
		if s.Publishes && s.Written().After(after) {
			f.Errorf("%s published %s too late", r.Name(), s.Written().Sub(after))
			return
		}
	}
}

// exited waits for the end of a process that was told to end, or must.
func (f *fixture) exited(r *replica, code int, within time.Duration) {
	f.Helper()
	r.expected = true
	got, err := r.Wait(within)
	if err != nil {
		f.Fatal(err)
	}
	if got != code {
		f.Errorf("%s: exit code %d, want %d", r.Name(), got, code)
	}
}

func (f *fixture) kill(r *replica) {
	r.expected = true
	r.Kill()
}

// churn changes pods of this row at a rate until the returned func is called.
func (f *fixture) churn(perSecond int) (stop func()) { return f.churnIn(perSecond, f.namespaces) }

// churnIn is churn in some of its namespaces.
func (f *fixture) churnIn(perSecond int, namespaces []string) (stop func()) {
	ctx, cancel := context.WithCancel(f.Context())
	var running sync.WaitGroup
	writers := max(4, perSecond/25)
	for w := range writers {
		running.Go(func() {
			ticker := time.NewTicker(time.Duration(writers) * time.Second / time.Duration(max(writers, perSecond)))
			defer ticker.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				}
				if f.change(ctx, namespaces[rand.IntN(len(namespaces))], fmt.Sprintf("churn-%d-%d", w, rand.IntN(8))) == nil {
					f.changed.Add(1)
				}
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); running.Wait() })
}

// change makes, changes or deletes a pod. It fails where the fault has taken the API server away, or the pod is there or is
// not, and that is no matter.
func (f *fixture) change(ctx context.Context, namespace, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	switch rand.IntN(4) {
	case 0:
		return f.DeletePod(ctx, namespace, name)
	case 1:
		return f.SetImage(ctx, namespace, name, []string{"nginx:latest", "nginx:1.29"}[rand.IntN(2)])
	default:
		return f.CreatePods(ctx, cluster.NewPod(namespace, name, cluster.Container{
			Image: []string{"nginx:latest", "nginx:1.29"}[rand.IntN(2)], Liveness: rand.IntN(2) == 0, Readiness: rand.IntN(2) == 0,
		}))
	}
}

// recompute checks that what is served is what the pods of a consistent list come to. Nothing must change any more.
func (f *fixture) recompute(within time.Duration) {
	f.Helper()
	f.outcome.recomputed++
	f.settledSince(time.Now(), within)
}

// settledSince is recompute, with a bound that counts from the last change.
func (f *fixture) settledSince(last time.Time, within time.Duration) {
	f.Helper()
	f.wait("the scores are those of a recompute", time.Until(last)+within, f.differs)
}

// differs says how the scores that are served differ from a recompute.
func (f *fixture) differs() error { return f.differsFrom(oracle.Default, f.ListPods) }

// differsFrom is differs for a list that is not that of the API server, or a policy with other weights.
func (f *fixture) differsFrom(weights oracle.Weights, pods func(context.Context) ([]byte, error)) error {
	list, err := pods(f.Context())
	if err != nil {
		return err
	}
	want, err := weights.FromList(list)
	if err != nil {
		return err
	}
	for _, r := range f.slots {
		if r == nil || !r.leads() {
			continue
		}
		metrics, err := r.Metrics()
		if err != nil {
			return err
		}
		got := metrics.Scores()
		if !f.row.alone { // other rows have namespaces too, and what is of the whole cluster is of theirs as well
			own := func(name string) bool { return slices.Contains(f.namespaces, name) }
			want, got = want.Only(own), got.Only(own)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-12, 1e-12)); diff != "" {
			return fmt.Errorf("%s: scores (-want +got):\n%s", r.Name(), diff)
		}
		return nil
	}
	return errors.New("nobody publishes")
}

// holdsLease begins a part of a row in which leadership must not change hands. The returned func ends it: when a standby
// has had the time to take over, which it has not used, and the leader has published all the time.
func (f *fixture) holdsLease(pause time.Duration) (check func()) {
	f.Helper()
	leader, standby, at := f.leader(), f.standby(), time.Now()
	epoch := func() float64 {
		n, err := standby.value("kube_devops_lease_epoch")
		if err != nil {
			f.Fatal(err)
		}
		return n
	}
	before := epoch()
	return func() {
		f.Helper()
		f.pass(time.Until(at.Add(f.lease.takeover())))
		if now := epoch(); now != before {
			f.Errorf("the Lease has changed hands: epoch %v, before %v", now, before)
		}
		f.silent(standby, at)
		if gap := f.gap(at, leader); gap > pause {
			f.Errorf("the leader did not publish for %s", gap)
		}
	}
}

// skip ends a row that cannot be run here, and keeps the reason for the table.
func (f *fixture) skip(format string, args ...any) {
	f.Helper()
	f.outcome.skipped = fmt.Sprintf(format, args...)
	f.Skip(f.outcome.skipped)
}

// notef adds to the table what was measured besides the time to recover.
func (f *fixture) notef(format string, args ...any) {
	f.Helper()
	note := fmt.Sprintf(format, args...)
	f.Log(note)
	f.outcome.notes = append(f.outcome.notes, note)
}

// judge asks what is asked of every row. The error that it returns says that the oracle has not looked for a while: the
// row has not failed, and nothing is shown.
func (f *fixture) judge() (unshown error) {
	f.Helper()
	f.outcome.double = f.double()
	if f.outcome.double > f.row.stated {
		f.Errorf("both replicas published for %s", f.outcome.double)
	}
	for _, r := range f.all {
		unseen := oracle.Unseen(r.heard())
		f.outcome.unseen = max(f.outcome.unseen, unseen)
		if unseen > looks && !f.row.blind {
			unshown = fmt.Errorf("%s gave no answer for %s: the oracle has not looked", r.Name(), unseen)
		}
		if log := r.Stderr(); strings.Contains(log, "panic: ") || strings.Contains(log, "\ngoroutine ") || strings.Contains(log, "DATA RACE") {
			f.Errorf("%s panicked", r.Name())
		}
		if r.Ended() != r.expected {
			f.Errorf("%s ended: %v, by the row: %v", r.Name(), r.Ended(), r.expected)
		}
		if f.token != "" && strings.Contains(r.Stderr()+r.Stdout(), f.token) {
			f.Errorf("%s has logged its token", r.Name())
		}
		message, err := r.floods()
		if err != nil || message != "" {
			f.Errorf("%s logs more than once a second: %q %v", r.Name(), message, err)
		}
		if r.Ended() || r.goroutines == 0 {
			continue
		}
		// A connection on which nothing is asked any more has two, and is kept for 90 s.
		f.wait(r.Name()+" has as many goroutines as at the start", 100*time.Second, func() error {
			now, err := r.value("go_goroutines")
			if err == nil && now > r.goroutines+5 {
				err = fmt.Errorf("%v, at the start %v", now, r.goroutines)
			}
			return err
		})
	}
	return unshown
}

// double sums for how long two of all processes published at the same time.
func (f *fixture) double() (total time.Duration) {
	for i, a := range f.all {
		for _, b := range f.all[:i] {
			total += oracle.DoublePublish(a.heard(), b.heard())
		}
	}
	return total
}
