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
	// settleTimeout bounds the time from the last change of a pod until the agent serves the scores of a recompute.
	settleTimeout = 5 * time.Second
	// healed bounds a recovery that waits for the backoff of client-go: 30 s, plus as much jitter.
	healed = 65 * time.Second
	// maxScrapeGap bounds the time without an answered scrape of a running replica. With eight rows on two cores the gaps are up to
	// 0.5 s, and longer under other load. No fault takes effect and ends within that time.
	maxScrapeGap = 2 * time.Second
	// silentWatchTimeout bounds the time until the agent replaces a watch without events and bookmarks, and has listed the pods.
	silentWatchTimeout = 180 * time.Second
	// stopTimeout bounds a graceful stop.
	stopTimeout = 10 * time.Second
)

// A fixture has two replicas of the agent and their cluster, and the operations that rows apply to them.
type fixture struct {
	testing.TB
	*environment
	lease   lease
	account *cluster.Account
	row     *row
	outcome *outcome

	namespaces  []string // of this row only
	dir         string
	binary      string
	env         []string // of the agents
	authorities bool     // the agents read the certificate authority from a file
	kubeconfig  string
	token       string // in the kubeconfig
	slots       [2]*replica
	proxies     [2]*proxy.Proxy

	changed atomic.Int64 // pods changed by churn

	closed sync.Once

	mu  sync.Mutex
	all []*replica // including ended processes
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

// close stops all processes and proxies. It may be called twice.
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

// start starts the agent of a slot, behind the proxy of that slot unless the row uses none.
func (f *fixture) start(slot int, extra ...string) *replica {
	f.Helper()
	path := f.kubeconfig
	if !f.row.noProxy {
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

// live returns the running processes.
func (f *fixture) live() []*replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.all), func(r *replica) bool { return r.Ended() })
}

// wait polls holds until it returns nil. The time limit is extended by the time in which the machine was halted.
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

// pause waits for the length of a fault. It must not be used to wait for a condition.
func (f *fixture) pause(d time.Duration) {
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

// pair establishes the initial state of a trial: two replicas in sync, with one leader.
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
	f.wait("two replicas with one leader", healed, func() error {
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

// leader returns the replica that publishes, and standby the other one.
func (f *fixture) leader() *replica {
	f.Helper()
	var leader *replica
	f.wait("a replica publishes", maxScrapeGap, func() error {
		for _, r := range f.slots {
			if r != nil && r.leads() {
				leader = r
				return nil
			}
		}
		return errors.New("no replica publishes")
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

// publishes waits until one of the replicas publishes after the given time, and records how long that took.
func (f *fixture) publishes(since time.Time, within time.Duration, some ...*replica) *replica {
	f.Helper()
	who, at := f.next(since, within, some...)
	f.recovered(at.Sub(since), within)
	return who
}

// next waits for the first of the replicas to publish after the given time.
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
			return errors.New("no replica publishes")
		}
		return nil
	})
	return who, at
}

// recovered records a recovery time that ends now, and checks it against its bound, which is extended by the time in which the
// machine was halted.
func (f *fixture) recovered(took, bound time.Duration) {
	f.Helper()
	now := time.Now()
	stood := halts.Within(now.Add(-took), now)
	f.outcome.recovered(took, bound)
	if took > bound+stood {
		f.Errorf("recovered in %s, bound %s; the machine was halted for %s", took, bound, stood)
	} else if took > bound {
		f.notef("recovered in %s, including %s in which the machine was halted", seconds(took), seconds(stood))
	}
}

// publishesNothing checks that a replica did not publish after the given time.
func (f *fixture) publishesNothing(r *replica, after time.Time) {
	f.Helper()
	for _, s := range slices.Backward(r.scraped()) {
		if s.Publishes && s.Written().After(after) {
			f.Errorf("%s published %s after the limit", r.Name(), s.Written().Sub(after))
			return
		}
	}
}

// exited waits until a process ends that received a signal or must end.
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

// churn changes pods of this row at a rate until the returned function is called.
func (f *fixture) churn(perSecond int) (stop func()) { return f.churnIn(perSecond, f.namespaces) }

// churnIn is churn in the given namespaces.
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

// change creates, updates or deletes a pod. Errors are expected: the API server may be down, and the pod may or may not exist.
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

// recompute checks that the served scores equal those of a consistent list of the pods. Pods must not change meanwhile.
func (f *fixture) recompute(within time.Duration) {
	f.Helper()
	f.outcome.recomputed++
	f.settledSince(time.Now(), within)
}

// settledSince is recompute with a time limit that starts at the last change.
func (f *fixture) settledSince(last time.Time, within time.Duration) {
	f.Helper()
	f.wait("scores equal to a recompute", time.Until(last)+within, f.differs)
}

// differs returns the difference between the served scores and a recompute.
func (f *fixture) differs() error { return f.differsFrom(oracle.Default, f.ListPods) }

// differsFrom is differs for another source of pods, or a policy with other weights.
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
		if !f.row.ownControlPlane { // other rows have namespaces in the shared cluster
			own := func(name string) bool { return slices.Contains(f.namespaces, name) }
			want, got = want.Only(own), got.Only(own)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-12, 1e-12)); diff != "" {
			return fmt.Errorf("%s: scores (-want +got):\n%s", r.Name(), diff)
		}
		return nil
	}
	return errors.New("no replica publishes")
}

// keepsLease starts a part of a row in which the leader must not change. The returned function waits until a standby could have
// taken over, and checks that it did not, and that the leader published without a longer gap.
func (f *fixture) keepsLease(pause time.Duration) (check func()) {
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
		f.pause(time.Until(at.Add(f.lease.takeover())))
		if now := epoch(); now != before {
			f.Errorf("the leader changed: epoch %v, before %v", now, before)
		}
		f.publishesNothing(standby, at)
		if gap := f.gap(at, leader); gap > pause {
			f.Errorf("the leader did not publish for %s", gap)
		}
	}
}

// skip ends a row that cannot run on this machine, and records the reason for the table.
func (f *fixture) skip(format string, args ...any) {
	f.Helper()
	f.outcome.skipped = fmt.Sprintf(format, args...)
	f.Skip(f.outcome.skipped)
}

// notef adds a further measurement to the table.
func (f *fixture) notef(format string, args ...any) {
	f.Helper()
	note := fmt.Sprintf(format, args...)
	f.Log(note)
	f.outcome.notes = append(f.outcome.notes, note)
}

// checkInvariants checks what every row requires. The returned error means that the oracle had a gap: the row has neither failed
// nor passed.
func (f *fixture) checkInvariants() (inconclusive error) {
	f.Helper()
	f.outcome.double = f.doublePublish()
	if f.outcome.double > f.row.allowedDouble {
		f.Errorf("both replicas published for %s", f.outcome.double)
	}
	for _, r := range f.all {
		unseen := oracle.Unseen(r.scraped())
		f.outcome.unseen = max(f.outcome.unseen, unseen)
		if unseen > maxScrapeGap && !f.row.expectGaps {
			inconclusive = fmt.Errorf("%s did not answer a scrape for %s, so that the result is inconclusive", r.Name(), unseen)
		}
		if log := r.Stderr(); strings.Contains(log, "panic: ") || strings.Contains(log, "\ngoroutine ") || strings.Contains(log, "DATA RACE") {
			f.Errorf("%s panicked", r.Name())
		}
		if r.Ended() != r.expected {
			f.Errorf("%s ended: %v, expected: %v", r.Name(), r.Ended(), r.expected)
		}
		if f.token != "" && strings.Contains(r.Stderr()+r.Stdout(), f.token) {
			f.Errorf("%s logged its token", r.Name())
		}
		message, err := r.repeatedWarning()
		if err != nil || message != "" {
			f.Errorf("%s logged a message more than once per second: %q %v", r.Name(), message, err)
		}
		if r.Ended() || r.goroutines == 0 {
			continue
		}
		// An idle connection has two goroutines and stays open for 90 s.
		f.wait("number of goroutines of "+r.Name()+" as at the start", 100*time.Second, func() error {
			now, err := r.value("go_goroutines")
			if err == nil && now > r.goroutines+5 {
				err = fmt.Errorf("%v, at the start %v", now, r.goroutines)
			}
			return err
		})
	}
	return inconclusive
}

// doublePublish returns the total time in which two processes published at the same time.
func (f *fixture) doublePublish() (total time.Duration) {
	for i, a := range f.all {
		for _, b := range f.all[:i] {
			total += oracle.DoublePublish(a.scraped(), b.scraped())
		}
	}
	return total
}
