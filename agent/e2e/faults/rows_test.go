package faults_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
	"github.com/kube-devops/kube-devops/agent/e2e/faults/proxy"
)

// everyMerge are the rows that run on every merge. Times that the matrix specifies for a lease duration of 15 s are scaled.
var everyMerge = []row{
	{number: 1, name: "leader killed (SIGKILL)", demand: "the other replica publishes within lease + 2 checks of a standby; median ≤ 18 s", quick: 3, trials: 20, median: 18 * time.Second, trial: func(f *fixture) {
		leader, standby := f.leader(), f.standby()
		f.kill(leader)
		f.publishes(time.Now(), f.lease.takeover(), standby)
	}},
	{number: 2, name: "leader stopped (SIGTERM) while pods change", demand: "the other replica publishes ≤ 5 s; exit 0 ≤ 10 s; last scrape complete", quick: 2, trials: 10, trial: func(f *fixture) {
		defer f.churn(200)()
		leader, standby := f.leader(), f.standby()
		at := time.Now()
		leader.expected = true
		leader.Signal(syscall.SIGTERM)
		f.publishes(at, 5*time.Second, standby)
		f.exited(leader, 0, stopTimeout)
		f.lastScrapeIsComplete(leader)
	}},
	{number: 3, name: "leader frozen and resumed (SIGSTOP)", demand: "gate closed before the first byte; a short stop causes no handover; one publishes ≤ renew deadline + 2 leases", quick: 1, trials: 1, expectGaps: true, trial: func(f *fixture) {
		for _, full := range []time.Duration{5 * time.Second, 14 * time.Second, 30 * time.Second, 120 * time.Second} {
			leader, standby := f.leader(), f.standby()
			frozen, d := time.Now(), f.lease.of(full)
			leader.Signal(syscall.SIGSTOP)
			f.pause(d)
			leader.Signal(syscall.SIGCONT)
			woken := time.Now()
			if full == 5*time.Second {
				f.publishes(woken, max(maxScrapeGap, f.lease.retry), leader)
				f.publishesNothing(standby, frozen)
				continue
			}
			// The new leader may be the replica that was resumed: client-go's old campaign continues until its renew deadline,
			// and the new campaign waits a lease duration from its first check.
			bound := f.lease.deadline + f.lease.takeover()
			// A scrape may be answered before the signal arrives.
			who, at := f.next(frozen.Add(100*time.Millisecond), bound, leader, standby)
			f.Logf("frozen for %s: %s published after %s", d, who.Name(), at.Sub(frozen))
			f.recovered(at.Sub(frozen), bound)
			f.pair()
		}
	}},
	{number: 4, name: "leader disconnected from the API server", demand: "gate closed ≤ lease - margin; the other replica publishes; rejoins ≤ 60 s", quick: 2, trials: 5, trial: func(f *fixture) {
		leader, standby := f.leader(), f.standby()
		leader.proxy.Blackhole()
		cut := time.Now() // earlier renewals have reached the server
		f.publishes(cut, f.lease.takeover(), standby)
		f.pause(f.lease.retry) // time for a double publish to be observed
		f.publishesNothing(leader, cut.Add(f.lease.closes()))
		leader.proxy.Heal()
		f.rejoins(leader, 60*time.Second)
	}},
	{number: 5, name: "response to the renewal delayed, then lost", demand: "no double publish", quick: 1, trials: 2, trial: func(f *fixture) {
		for _, full := range []time.Duration{time.Second, 3 * time.Second, 4800 * time.Millisecond, 9 * time.Second} {
			leader, standby := f.leader(), f.standby()
			renewals := leader.proxy.Count("update", "leases")
			remove := leader.proxy.Add(proxy.Rule{Verb: "write", Resource: "leases", Hold: f.lease.of(full)})
			f.wait("a renewal is sent", 2*f.lease.duration, func() error {
				if leader.proxy.Count("update", "leases") == renewals {
					return errors.New("none")
				}
				return nil
			})
			f.pause(f.lease.of(full))
			leader.proxy.Blackhole()
			f.publishes(time.Now(), f.lease.takeover(), standby)
			remove()
			leader.proxy.Heal()
			f.rejoins(leader, 60*time.Second)
			f.pair()
		}
	}},
	{number: 6, variant: "a", name: "Lease edited: holder set to the standby, to another name, to none; duration 1 and 86400; released manually", demand: "one replica publishes again ≤ 3 leases", quick: 1, trials: 2, trial: func(f *fixture) {
		for _, edit := range []string{
			fmt.Sprintf(`{"spec":{"holderIdentity":%q}}`, f.identity(f.standby())),
			`{"spec":{"holderIdentity":"x"}}`,
			`{"spec":{"holderIdentity":""}}`,
			`{"spec":{"leaseDurationSeconds":1}}`,
			`{"spec":{"leaseDurationSeconds":86400}}`,
			`{"spec":{"holderIdentity":"","leaseDurationSeconds":1}}`,
			releasedSpec(),
		} {
			f.edited(edit)
		}
	}},
	{number: 6, variant: "b", name: "Lease release forged, including the annotation of the agent", demand: "double publish ≤ 5 s, as documented; one replica publishes again", quick: 1, trials: 3, allowedDouble: 5 * time.Second, trial: func(f *fixture) {
		f.edited(`{"metadata":{"annotations":{"kube-devops.io/writer":"x/released"}},` + releasedSpec()[1:])
	}},
	{number: 6, variant: "c", name: "Lease edited: maximum transitions and duration, and times out of range", demand: "one replica publishes again ≤ 3 leases", quick: 1, trials: 2, trial: func(f *fixture) {
		const most = math.MaxInt32
		for _, edit := range []string{
			fmt.Sprintf(`{"spec":{"leaseTransitions":%d}}`, most),
			// The next holder increments it.
			fmt.Sprintf(`{"spec":{"holderIdentity":"x","leaseTransitions":%d}}`, most),
			fmt.Sprintf(`{"spec":{"leaseDurationSeconds":%d}}`, most),
			`{"spec":{"acquireTime":"9999-12-31T23:59:59.000000-14:00","renewTime":"9999-12-31T23:59:59.000000-14:00"}}`,
			`{"spec":{"acquireTime":"0000-01-01T00:00:00.000000+14:00","renewTime":"0000-01-01T00:00:00.000000+14:00"}}`,
		} {
			f.edited(edit)
		}
	}},
	{number: 7, name: "Lease deleted once, and every second for one minute", demand: "one replica publishes ≤ 2 leases + 5 s after the last deletion", quick: 1, trials: 2, trial: func(f *fixture) {
		f.deleteLease()
		noticed := time.Now().Add(2 * f.lease.retry)
		f.pause(time.Until(noticed))
		f.publishes(noticed, 2*f.lease.duration+5*time.Second, f.slots[:]...)
		f.pair()
		for range max(10, int(f.lease.of(time.Minute)/time.Second)) {
			f.deleteLease()
			f.pause(time.Second)
		}
		f.publishes(time.Now(), 2*f.lease.duration+5*time.Second, f.slots[:]...)
	}},
	{number: 16, variant: "a", name: "API server restarted, SIGTERM and SIGKILL, down 2 and 20 s", demand: "scores current ≤ 10 and 30 s; scores never wrong; staleness metric accurate to 2 s", quick: 1, trials: 1, ownControlPlane: true, noProxy: true, noChurn: true, trial: func(f *fixture) {
		f.serverRestarts(syscall.SIGTERM, 2*time.Second, 10*time.Second)
		f.serverRestarts(syscall.SIGKILL, f.lease.of(20*time.Second), 30*time.Second)
	}},
	{number: 21, variant: "a", name: "streaming list without its end bookmark", demand: "ready ≤ 150 s; ≤ 2 requests/s; scores correct ≤ 90 s afterwards", quick: 1, trials: 1, ownAgents: true, noChurn: true, trial: func(f *fixture) {
		f.startsDespite(proxy.Rule{Verb: "watch", Resource: "pods", Watch: func(e *proxy.Event) proxy.Fate {
			if e.End {
				return proxy.Swallow
			}
			return proxy.Pass
		}}, 0)
	}},
	{number: 21, variant: "b", name: "streaming list closed early, for a further minute", demand: "ready ≤ 150 s; ≤ 2 requests/s; scores correct ≤ 90 s afterwards", quick: 1, trials: 1, ownAgents: true, noChurn: true, trial: func(f *fixture) {
		f.startsDespite(proxy.Rule{Verb: "watch", Resource: "pods", Watch: func(e *proxy.Event) proxy.Fate {
			if e.N > 2 {
				return proxy.BreakOff
			}
			return proxy.Pass
		}}, time.Minute)
	}},
	{number: 21, variant: "c", name: "streaming list empty, for a further minute", demand: "ready ≤ 150 s; ≤ 2 requests/s; scores correct ≤ 90 s afterwards", quick: 1, trials: 1, ownAgents: true, noChurn: true, trial: func(f *fixture) {
		f.startsDespite(proxy.Rule{Verb: "watch", Resource: "pods", Watch: func(*proxy.Event) proxy.Fate { return proxy.BreakOff }}, time.Minute)
	}},
	{number: 21, variant: "d", name: "watch request not answered", demand: "ready ≤ 150 s; ≤ 2 requests/s; scores correct ≤ 90 s afterwards", quick: 1, trials: 1, ownAgents: true, noChurn: true, trial: func(f *fixture) {
		f.startsDespite(proxy.Rule{Verb: "watch", Resource: "pods", Silent: true}, 0)
	}},
	{number: 24, variant: "b", name: "no permission for pods from the start of a replica that is alone at first", demand: "it does not write the Lease, is not ready and reports why; the other replica publishes ≤ 2 leases", quick: 1, trials: 2, trial: func(f *fixture) {
		for _, r := range f.slots {
			f.kill(r)
		}
		remove := f.proxies[0].Add(proxy.Rule{Resource: "pods", Status: 403})
		defer remove()
		writes := func() int {
			return f.proxies[0].Count("create", "leases") + f.proxies[0].Count("update", "leases")
		}
		began, before := time.Now(), writes()
		blind := f.start(0)
		f.pause(f.lease.duration + f.lease.takeover())
		if status, body, err := blind.Get("/readyz?verbose"); err != nil || status != 503 || !strings.Contains(body, "initial list of pods") {
			f.Errorf("/readyz of a replica without permission for pods: %d %s %v", status, body, err)
		}
		if n := writes() - before; n > 0 {
			f.Errorf("a replica without permission for pods tried to write the Lease %d times", n)
		}
		started := time.Now()
		other := f.start(1)
		f.publishes(started, 2*f.lease.duration+f.lease.takeover(), other)
		f.publishesNothing(blind, began)
		remove()
	}},
	{number: 32, name: "policy truncated, empty, deleted, 5 MiB, a YAML bomb, with an unknown field, with two documents", demand: "last valid policy stays; reported with a reason ≤ 5 s; recovery ≤ 5 s", quick: 1, trials: 1, args: []string{"--policy=mount/table.yaml"}, ownAgents: true, noChurn: true, trial: func(f *fixture) {
		good := f.defaultPolicy()
		f.mountPolicy(good)
		f.pair()
		before := f.served()
		for _, broken := range []struct{ name, text, reason string }{
			{"broken", good[:len(good)/2] + "\n\t{", "a tab"},
			{"empty", "", "empty"},
			{"deleted", missing, "no such file"},
			{"5 MiB", good + strings.Repeat("# "+strings.Repeat("x", 1021)+"\n", 5<<10), "larger than 1048576 bytes"},
			{"a bomb", "a: &a [x,x]\nb: &b [*a,*a]\nchecks: [*b,*b]\n", "anchor"},
			{"an unknown field", good + "\nfrobnicate: true\n", "frobnicate"},
			{"two documents", good + "\n---\n" + good, "document"},
		} {
			var said [2]int
			for slot, r := range f.slots {
				said[slot] = len(r.Stderr())
			}
			f.mountPolicy(broken.text)
			f.reloaded(broken.name, 0)
			f.wait(broken.name+": the log has the reason", maxScrapeGap, func() error {
				for slot, r := range f.slots {
					words := r.Stderr()[said[slot]:]
					if !strings.Contains(words, "the last good one stays in force") || !strings.Contains(words, broken.reason) {
						return fmt.Errorf("the log of %s does not contain %q: %s", r.Name(), broken.reason, words)
					}
				}
				return nil
			})
			if diff := cmp.Diff(before, f.served()); diff != "" {
				f.Errorf("%s: scores (-before +now):\n%s", broken.name, diff)
			}
			f.mountPolicy(good)
			fixed := time.Now()
			f.reloaded(broken.name+", and fixed", 1)
			f.recovered(time.Since(fixed), 5*time.Second)
		}
	}},
	{number: 36, exclusive: true, name: "200 connections that send or read 1 byte per second", demand: "closed ≤ 35 s; every scrape answered, p99 ≤ 250 ms", quick: 1, trials: 1, trial: func(f *fixture) {
		leader := f.leader()
		f.fill(f.seeder(), 400)
		f.largePage(leader)
		files := f.files(leader)
		began := time.Now()
		defer f.slowClients(leader, 200, false)()
		f.wait("the slow connections are open", 5*time.Second, func() error {
			if now := f.files(leader); now < files+80 {
				return fmt.Errorf("%d open files, %d before", now, files)
			}
			return nil
		})
		f.wait("the slow connections are closed", 40*time.Second, func() error {
			if now := f.files(leader); now > files+5 {
				return fmt.Errorf("%d open files, %d before", now, files)
			}
			return nil
		})
		f.recovered(time.Since(began), 35*time.Second)
		f.pause(time.Until(began.Add(20 * time.Second)))
		p99, without := percentile(leader.scraped(), began, 99)
		if without > 0 {
			f.Errorf("%d scrapes without scores", without)
		}
		if p99 > 250*time.Millisecond {
			f.Errorf("p99 of scrapes is %s", p99)
		}
		f.notef("p99 of scrapes %.0f ms", p99.Seconds()*1000)
	}},
	{number: 39, name: "SIGTERM at the start, during an unanswered initial list, and while the API server is down; sent twice", demand: "exit 0 ≤ 10 s; after the second signal at once, not 0", quick: 1, trials: 5, ownAgents: true, trial: func(f *fixture) {
		stopped := func(r *replica) {
			at := time.Now()
			r.expected = true
			r.Signal(syscall.SIGTERM)
			f.exited(r, 0, stopTimeout)
			f.recovered(time.Since(at), stopTimeout)
		}
		if r := f.slots[0]; r != nil {
			f.kill(r)
		}
		stopped(f.start(0)) // right after its start
		remove := f.proxies[0].Add(proxy.Rule{Resource: "pods", Silent: true})
		before := f.proxies[0].Count("watch", "pods")
		syncing := f.start(0)
		f.wait("it has requested the pods", 10*time.Second, func() error {
			if f.proxies[0].Count("watch", "pods") == before {
				return errors.New("it has not")
			}
			return nil
		})
		if ready(syncing) == nil {
			f.Error("it is ready without pods")
		}
		stopped(syncing)
		remove()
		f.pair()
		leader, standby := f.leader(), f.standby()
		leader.proxy.Blackhole()
		standby.proxy.Cut()
		f.pause(time.Second)
		stopped(standby)
		leader.expected = true
		leader.Signal(syscall.SIGTERM)
		// Two pending signals are delivered as one.
		f.wait("it is stopping", maxScrapeGap, func() error {
			if !strings.Contains(leader.Stderr(), `"msg":"stopping"`) {
				return errors.New("no log line")
			}
			return nil
		})
		if leader.Ended() {
			f.Fatal("it ended before the second signal")
		}
		leader.Signal(syscall.SIGTERM)
		f.exited(leader, 130, stopTimeout) // a graceful stop would exit with 0
	}},
	{number: 39, variant: "b", name: "SIGTERM while a credential plugin hangs, in its first and in a later call, with and without leader election", demand: "exit 0 ≤ 10 s", quick: 1, trials: 2, standalone: true, trial: func(f *fixture) {
		for _, elect := range []string{"--leader-elect=true", "--leader-elect=false"} {
			for _, answers := range []int{0, 1} {
				kubeconfig, called := f.hangingPlugin(answers)
				r := f.start(0, "--kubeconfig="+kubeconfig, elect, "--audit-interval=2s") // an audit sends requests
				f.wait("the plugin has been called", time.Minute, func() error {
					if n := called(); n <= answers {
						return fmt.Errorf("it was called %d times", n)
					}
					return nil
				})
				at := time.Now()
				r.Signal(syscall.SIGTERM)
				f.exited(r, 0, stopTimeout)
				f.recovered(time.Since(at), stopTimeout)
			}
		}
	}},
}

// identity returns the holder identity of a replica.
func (f *fixture) identity(r *replica) string {
	f.Helper()
	lines, err := r.Log()
	if err != nil {
		f.Fatal(err)
	}
	for _, line := range lines {
		if identity, ok := line["identity"].(string); ok {
			return identity
		}
	}
	f.Fatalf("the log of %s has no identity", r.Name())
	return ""
}

// edited patches the Lease, and waits until a replica publishes again.
func (f *fixture) edited(patch string) {
	f.Helper()
	at := time.Now()
	// The response may be impossible to decode.
	err := f.Admin.CoordinationV1().RESTClient().Patch(types.MergePatchType).Namespace(metav1.NamespaceDefault).
		Resource("leases").Name(f.account.Name).Body([]byte(patch)).Do(f.Context()).Error()
	if err != nil {
		f.Fatal(err)
	}
	// The leader sees the edit at its next renewal.
	settled := at.Add(2*f.lease.retry + time.Second)
	f.pause(time.Until(settled))
	_, again := f.next(settled, 3*f.lease.duration-time.Since(at), f.slots[:]...)
	f.recovered(again.Sub(at), 3*f.lease.duration)
	f.pair()
}

// releasedSpec returns the spec of a Lease that an agent has released.
func releasedSpec() string {
	now := metav1.NowMicro().UTC().Format(metav1.RFC3339Micro)
	return fmt.Sprintf(`{"spec":{"holderIdentity":"","leaseDurationSeconds":1,"acquireTime":%q,"renewTime":%q}}`, now, now)
}

func (f *fixture) deleteLease() {
	f.Helper()
	err := f.Admin.CoordinationV1().Leases(metav1.NamespaceDefault).Delete(f.Context(), f.account.Name, metav1.DeleteOptions{})
	if err != nil && !strings.Contains(err.Error(), "not found") {
		f.Fatal(err)
	}
}

// rejoins waits until a replica has received data from the API server again, and is ready.
func (f *fixture) rejoins(r *replica, within time.Duration) {
	f.Helper()
	healed := time.Now()
	f.wait(r.Name()+" rejoins", within, func() error {
		heard, err := r.value("kube_devops_last_event_timestamp_seconds")
		if err != nil {
			return err
		}
		if at := time.UnixMilli(int64(heard * 1000)); at.Before(healed) {
			return fmt.Errorf("last contact %s before the recovery", healed.Sub(at))
		}
		return ready(r)
	})
}

// lastScrapeIsComplete checks that no response of a leader was interrupted, and that the last one with scores is complete.
func (f *fixture) lastScrapeIsComplete(r *replica) {
	f.Helper()
	for _, s := range r.scraped() {
		if s.Cut {
			f.Errorf("a response was interrupted %s before the last one", r.lastPublished().Sub(s.Answered))
		}
	}
	r.mu.Lock()
	words := string(r.lastBody)
	r.mu.Unlock()
	if !strings.HasSuffix(words, "\n") {
		f.Errorf("the last scrape ends in the middle of a line: %q", words[max(0, len(words)-100):])
	}
	for _, family := range []string{"cluster_health_score ", "namespace_health_score{", "kube_devops_pods{", "kube_devops_violations{", "process_start_time_seconds "} {
		if !strings.Contains(words, "\n"+family) {
			f.Errorf("the last scrape has no %s", family)
		}
	}
}

// served returns the published scores of the namespaces of this row.
func (f *fixture) served() []string {
	f.Helper()
	metrics, err := f.leader().Metrics()
	if err != nil {
		f.Fatal(err)
	}
	var lines []string
	for name, n := range metrics.Scores().Namespaces {
		if slices.Contains(f.namespaces, name) {
			lines = append(lines, fmt.Sprint(name, n))
		}
	}
	slices.Sort(lines)
	if len(lines) != len(f.namespaces) {
		f.Fatalf("scores of %d namespaces, want %d", len(lines), len(f.namespaces))
	}
	return lines
}

// serverRestarts stops the API server for some time, and waits until the scores are current again.
func (f *fixture) serverRestarts(signal syscall.Signal, down, bound time.Duration) {
	f.Helper()
	lastPod := time.Now()
	f.addPod()
	f.recompute(settleTimeout)
	leader := f.leader()
	first, err := leader.Metrics()
	if err != nil {
		f.Fatal(err)
	}
	stopped := time.Now()
	f.Own.StopAPIServer(signal)
	gone := time.Now()
	for time.Since(stopped) < down {
		f.pause(200 * time.Millisecond)
		now, err := leader.Metrics()
		if err != nil {
			f.Fatal(err)
		}
		// Without renewals its term expires, and it publishes nothing.
		if diff := cmp.Diff(first.Scores(), now.Scores()); diff != "" && len(now.Published()) > 0 {
			f.Errorf("scores without an API server (-before +now):\n%s", diff)
		}
	}
	f.lastEventWithin(leader, lastPod, gone)
	if err := f.Own.StartAPIServer(f.Context()); err != nil {
		f.Fatal(err)
	}
	up := time.Now()
	f.addPod()
	f.recompute(bound)
	f.recovered(time.Since(up), bound)
	f.pair()
}

// lastEventWithin checks that the last contact with the API server, as exported by a replica, is after from and at most 2 s after until.
func (f *fixture) lastEventWithin(r *replica, from, until time.Time) {
	f.Helper()
	const slack = 2 * time.Second
	heard, err := r.value("kube_devops_last_event_timestamp_seconds")
	if err != nil {
		f.Fatal(err)
	}
	if last := time.UnixMilli(int64(heard * 1000)); last.Before(from) || last.After(until.Add(slack)) {
		f.Errorf("%s exports %s as the last contact with the API server, want between %s and %s", r.Name(), last, from, until)
	}
}

// startsDespite starts two agents behind proxies with a rule, waits until they are ready despite it, keeps the rule for some time,
// removes it, and waits until the scores are current.
func (f *fixture) startsDespite(rule proxy.Rule, longer time.Duration) {
	f.Helper()
	const bound = 150 * time.Second
	var removes []func()
	began := time.Now()
	for slot := range f.slots {
		p, err := proxy.Start(f.kubeconfig)
		if err != nil {
			f.Fatal(err)
		}
		removes = append(removes, p.Add(rule))
		f.proxies[slot] = p
		f.start(slot)
	}
	for _, r := range f.slots {
		f.wait(r.Name()+" is ready", time.Until(began)+bound, func() error { return ready(r) })
		f.recovered(time.Since(began), bound)
	}
	stop := f.churn(2) // the rule needs events
	defer stop()
	f.pause(longer) // the fault lasts
	most := 0.0
	for _, r := range f.slots {
		n := r.proxy.Count("list", "pods") + r.proxy.Count("watch", "pods")
		took := time.Since(began)
		most = max(most, float64(n)/took.Seconds())
		if n > 5+int(2*took.Seconds()) {
			f.Errorf("%d requests for pods in %s", n, took)
		}
	}
	for _, remove := range removes {
		remove()
	}
	stop()
	f.pair()
	fixed := time.Now()
	f.addPod()
	// The timeout of an unanswered watch is one minute, and client-go backs off before the next one.
	f.settledSince(fixed, 90*time.Second)
	f.notef("%.1f requests/s; scores correct %s afterwards", most, seconds(time.Since(fixed)))
}

// defaultPolicy returns the default policy table.
func (f *fixture) defaultPolicy() string {
	f.Helper()
	root, err := binaries.Root()
	if err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "policies", "default.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	return string(text)
}

// hangingPlugin writes a kubeconfig whose credential plugin returns short-lived tokens for the first calls, and then hangs. called
// returns the number of calls.
func (f *fixture) hangingPlugin(answers int) (kubeconfig string, called func() int) {
	f.Helper()
	dir, err := os.MkdirTemp(f.dir, "plugin-")
	if err != nil {
		f.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(f.kubeconfig)
	if err != nil {
		f.Fatal(err)
	}
	plugin, pids := filepath.Join(dir, "plugin.sh"), filepath.Join(dir, "pids")
	script := fmt.Sprintf(`#!/bin/sh
echo $$ >> %[1]s
if [ $(wc -l < %[1]s) -gt %[2]d ]; then exec sleep 600; fi
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%[3]s","expirationTimestamp":"%[4]s"}}'
`, pids, answers, f.token, time.Now().Add(8*time.Second).UTC().Format(time.RFC3339))
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &api.AuthInfo{Exec: &api.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1", Command: plugin, InteractiveMode: api.NeverExecInteractiveMode,
		}}
	}
	kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := errors.Join(os.WriteFile(plugin, []byte(script), 0o700), clientcmd.WriteToFile(*config, kubeconfig)); err != nil {
		f.Fatal(err)
	}
	calls := func() []string {
		text, _ := os.ReadFile(pids)
		return strings.Fields(string(text))
	}
	f.Cleanup(func() { // the plugin outlives the agent
		for _, text := range calls() {
			if pid, err := strconv.Atoi(text); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	return kubeconfig, func() int { return len(calls()) }
}

const missing = "\x00no file"

// mountPolicy updates the policy like a kubelet: it writes a new directory, and replaces a symbolic link atomically.
func (f *fixture) mountPolicy(text string) {
	f.Helper()
	mount := filepath.Join(f.dir, "mount")
	name := fmt.Sprintf("..%d", time.Now().UnixNano())
	folder := filepath.Join(mount, name)
	err := os.MkdirAll(folder, 0o755)
	if err == nil && text != missing {
		err = os.WriteFile(filepath.Join(folder, "table.yaml"), []byte(text), 0o600)
	}
	old, _ := os.Readlink(filepath.Join(mount, "..data"))
	fresh := filepath.Join(mount, "..data_tmp")
	if err := errors.Join(err, os.Symlink(name, fresh), os.Rename(fresh, filepath.Join(mount, "..data"))); err != nil {
		f.Fatal(err)
	}
	if old == "" {
		if err := os.Symlink(filepath.Join("..data", "table.yaml"), filepath.Join(mount, "table.yaml")); err != nil {
			f.Fatal(err)
		}
	} else if err := os.RemoveAll(filepath.Join(mount, old)); err != nil {
		f.Fatal(err)
	}
}

// reloaded waits until both replicas export the result of the last reload.
func (f *fixture) reloaded(what string, want float64) {
	f.Helper()
	f.wait(what, 5*time.Second, func() error {
		for _, r := range f.slots {
			got, err := r.value("kube_devops_policy_last_reload_successful")
			if err != nil {
				return err
			}
			if got != want {
				return fmt.Errorf("%s: the last reload is %v, want %v", r.Name(), got, want)
			}
		}
		return nil
	})
}

// files returns the number of open file descriptors of a process.
func (f *fixture) files(r *replica) int {
	f.Helper()
	open, err := r.value("process_open_fds")
	if err != nil {
		f.Fatal(err)
	}
	return int(open)
}
