package faults_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/faults/proxy"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

// matrix has all rows, sorted by number.
var matrix = slices.SortedStableFunc(slices.Values(slices.Concat(everyMerge, night, falseLists)), func(a, b row) int {
	return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.variant, b.variant))
})

// night are the rows that are slow or need the whole machine, and those that cannot run.
var night = []row{
	{number: 8, name: "two processes with the same identity", demand: "one exits with an error ≤ 10 s", trials: 2, trial: func(f *fixture) {
		leader, standby := f.leader(), f.standby()
		mine, his := []byte(f.identity(standby)), []byte(f.identity(leader))
		// There is no flag for the identity: the proxy replaces that of the standby with that of the leader.
		remove := standby.proxy.Add(proxy.Rule{Resource: "leases",
			Ask:    func(b []byte) []byte { return bytes.ReplaceAll(b, mine, his) },
			Answer: func(b []byte) []byte { return bytes.ReplaceAll(b, his, mine) },
		})
		began := time.Now()
		f.wait("one of the two exits", 10*time.Second, func() error {
			if !leader.Ended() && !standby.Ended() {
				return errors.New("both are running")
			}
			return nil
		})
		f.recovered(time.Since(began), 10*time.Second)
		for _, r := range []*replica{leader, standby} {
			if !r.Ended() {
				continue
			}
			r.expected = true
			if code, err := r.Wait(time.Second); err != nil || code == 0 || !strings.Contains(r.Stderr(), "identity of its own") {
				f.Errorf("%s: exit code %d without a reason: %s", r.Name(), code, r.Tail())
			}
		}
		remove()
		f.pause(2 * f.lease.retry) // the other one detects the write under its identity
	}},
	{number: 9, variant: "a", name: "Lease writes fail with status 500, 429, 403", demand: "gate closed ≤ lease - margin; no replica publishes; cache up to date; recovery ≤ 25 s", trials: 1, trial: func(f *fixture) {
		for _, status := range []int{500, 429, 403} {
			at, seen := time.Now(), f.events()
			var removes []func()
			for _, r := range f.slots {
				removes = append(removes, r.proxy.Add(proxy.Rule{Verb: "write", Resource: "leases", Status: status}))
			}
			f.pause(f.lease.of(60 * time.Second))
			for _, r := range f.slots {
				f.publishesNothing(r, at.Add(f.lease.closes()))
				if err := ready(r); err != nil {
					f.Error(err)
				}
			}
			f.eventsSince(seen)
			for _, remove := range removes {
				remove()
			}
			f.publishes(time.Now(), 25*time.Second, f.slots[:]...)
			f.pair()
		}
	}},
	{number: 9, variant: "b", name: "permission for the Lease revoked and granted again", demand: "gate closed ≤ lease - margin; no replica publishes; cache up to date; recovery ≤ 25 s", trials: 1, trial: func(f *fixture) {
		if err := f.account.RevokeLease(f.Context()); err != nil {
			f.Fatal(err)
		}
		// The authorizer of the API server sees the change with a delay.
		at, seen := time.Now().Add(time.Second), f.events()
		f.pause(f.lease.of(60 * time.Second))
		for _, r := range f.slots {
			f.publishesNothing(r, at.Add(f.lease.closes()))
		}
		f.eventsSince(seen)
		if err := f.account.GrantLease(f.Context()); err != nil {
			f.Fatal(err)
		}
		f.publishes(time.Now(), 25*time.Second, f.slots[:]...)
	}},
	{number: 10, variant: "a", name: "packets of the leader's connections dropped (half-open connections)", demand: "detected ≤ 10 s; Lease kept; scores current ≤ 20 s", trials: 3, noChurn: true, trial: func(f *fixture) {
		leader, check := f.leader(), f.keepsLease(time.Second)
		watches := leader.proxy.Count("watch", "pods")
		at := time.Now()
		restore := f.dropFlows(leader)
		f.addPod()
		f.wait("a new watch", 10*time.Second, func() error {
			if leader.proxy.Count("watch", "pods") == watches {
				return errors.New("none")
			}
			return nil
		})
		f.notef("detected after %s", seconds(time.Since(at)))
		f.settledSince(at, 20*time.Second)
		f.recovered(time.Since(at), 20*time.Second)
		check()
		restore()
	}},
	{number: 10, variant: "b", name: "bytes of the leader's connections held back by a middlebox that acknowledges them", demand: "Lease kept; scores current ≤ 180 s", trials: 1, noChurn: true, trial: func(f *fixture) {
		check, at := f.keepsLease(time.Second), time.Now()
		f.leader().proxy.Stall()
		f.addPod()
		f.settledSince(at, silentWatchTimeout)
		f.recovered(time.Since(at), silentWatchTimeout)
		check()
	}},
	{number: 10, variant: "c", name: "the leader's watch stays open without events", demand: "Lease kept; scores current ≤ 180 s", trials: 1, noChurn: true, trial: func(f *fixture) {
		leader := f.leader()
		begin := f.silence(leader)
		check, at := f.keepsLease(time.Second), time.Now()
		begin()
		f.addPod()
		f.settledSince(at, silentWatchTimeout)
		f.recovered(time.Since(at), silentWatchTimeout)
		check()
	}},
	{number: 11, name: "flapping network: 30 interruptions of the leader, 2 to 20 s each", demand: "no double publish; at most as many handovers as interruptions longer than 12 s", trials: 1, trial: func(f *fixture) {
		const cuts = 30
		epoch, long := f.epoch(), 0
		for range cuts {
			var leader *replica
			for _, r := range f.slots {
				if r.leads() {
					leader = r
				}
			}
			if leader == nil {
				leader = f.slots[rand.IntN(2)]
			}
			length := 2*time.Second + rand.N(18*time.Second)
			if length > 12*time.Second {
				long++
			}
			leader.proxy.Blackhole()
			f.pause(f.lease.of(length))
			leader.proxy.Heal()
			f.pause(rand.N(f.lease.duration / 2))
		}
		f.publishes(time.Now(), f.lease.takeover(), f.slots[:]...)
		handovers := f.epoch() - epoch
		if handovers > float64(long) {
			f.Errorf("%v handovers in %d interruptions longer than 12 s", handovers, long)
		}
		f.notef("%.0f handovers in %d interruptions, %d of them longer than %s", handovers, cuts, long, seconds(f.lease.of(12*time.Second)))
	}},
	{number: 12, variant: "a", name: "both replicas start at the same time", demand: "exactly one publishes ≤ 2 leases", trials: 50, ownAgents: true, trial: func(f *fixture) {
		for _, r := range f.slots {
			if r != nil && !r.Ended() {
				r.expected = true
				r.Signal(syscall.SIGTERM)
			}
		}
		for _, r := range f.slots {
			if r != nil {
				f.exited(r, 0, stopTimeout)
			}
		}
		at := time.Now()
		f.start(0)
		f.start(1)
		f.publishes(at, 2*f.lease.duration, f.slots[:]...)
	}},
	{number: 12, variant: "b", name: "rolling replacement of both replicas", demand: "gap in publishing ≤ 20 s", trials: 3, trial: func(f *fixture) {
		at := time.Now()
		for slot, r := range f.slots {
			next := f.start(slot)
			f.slots[slot] = next
			f.wait("the new one is ready", 30*time.Second, func() error { return ready(next) })
			r.expected = true
			r.Signal(syscall.SIGTERM)
			f.exited(r, 0, stopTimeout)
		}
		f.next(time.Now(), f.lease.takeover(), f.slots[:]...)
		f.recovered(f.gap(at, f.all...), 20*time.Second)
	}},
	{number: 13, name: "leader disconnected while 8 scrapers do not read its response", demand: "gate closed ≤ lease - margin; no such response completes; the other replica publishes", trials: 2, ownControlPlane: true, trial: (*fixture).stuckPublisher},
	{number: 14, name: "wall clock changed", demand: "no handover", cannot: "changing the clock needs a machine of its own, and a time namespace does not cover the wall clock; TestFaults in agent/election steps fake clocks by ±10 min and ±1 h instead"},
	{number: 15, name: "both replicas paused for one minute (machine suspended)", demand: "no double publish; one publishes again", trials: 2, expectGaps: true, trial: func(f *fixture) {
		for _, r := range f.slots {
			r.Signal(syscall.SIGSTOP)
		}
		f.pause(f.lease.of(60 * time.Second))
		for _, r := range f.slots {
			r.Signal(syscall.SIGCONT)
		}
		f.publishes(time.Now(), f.lease.takeover(), f.slots[:]...)
	}},
	{number: 16, variant: "b", name: "API server down for 5 minutes", demand: "scores current ≤ 65 s; scores never wrong; staleness metric accurate to 2 s", trials: 1, ownControlPlane: true, noProxy: true, noChurn: true, trial: func(f *fixture) {
		f.serverRestarts(syscall.SIGKILL, f.lease.of(300*time.Second), healed)
	}},
	{number: 17, name: "etcd killed and started; etcd frozen for 30 s", demand: "scores current ≤ 30 s; no crash", trials: 1, ownControlPlane: true, noProxy: true, noChurn: true, trial: func(f *fixture) {
		f.Own.KillEtcd()
		f.pause(2 * time.Second)
		if err := f.Own.StartEtcd(f.Context()); err != nil {
			f.Fatal(err)
		}
		f.scoresCatchUp(30 * time.Second)
		f.Own.SignalEtcd(syscall.SIGSTOP)
		f.pause(f.lease.of(30 * time.Second))
		f.Own.SignalEtcd(syscall.SIGCONT)
		f.scoresCatchUp(30 * time.Second)
	}},
	{number: 18, name: "both replicas frozen for 150 s, 100 changes/s in the first 20 s, then compaction (410 Gone)", demand: "one 410 and one list each; scores correct ≤ takeover + 10 s after resuming; deleted pods removed", trials: 1, ownControlPlane: true, noChurn: true, expectGaps: true, trial: (*fixture).compacted},
	{number: 19, name: "etcd restored from an older snapshot (resource versions go back)", demand: "scores correct ≤ 60 s", trials: 1, ownControlPlane: true, noProxy: true, noChurn: true, trial: func(f *fixture) {
		if err := f.Own.SaveEtcd(f.Context(), "saved"); err != nil {
			f.Fatal(err)
		}
		f.scoresCatchUp(30 * time.Second)
		stop := f.churn(100)
		f.pause(5 * time.Second)
		stop()
		f.recompute(settleTimeout)
		f.Own.StopAPIServer(syscall.SIGKILL)
		if err := errors.Join(f.Own.RestoreEtcd(f.Context(), "saved"), f.Own.StartAPIServer(f.Context())); err != nil {
			f.Fatal(err)
		}
		restored := time.Now()
		f.recompute(60 * time.Second)
		f.recovered(time.Since(restored), 60*time.Second)
		// The API server assigns the same resource versions to other changes. The agent must not treat them as seen.
		stop = f.churn(100)
		f.pause(5 * time.Second)
		stop()
		f.recompute(60 * time.Second)
	}},
	{number: 20, name: "30 % of lists and watches fail with 429 or 500, and watches end early, for 5 minutes", demand: "≤ 2 requests/s; scores correct ≤ 65 s afterwards", trials: 1, trial: func(f *fixture) {
		began := time.Now()
		var removes []func()
		var before [2]int
		for i, r := range f.slots {
			before[i] = r.proxy.Count("list", "pods") + r.proxy.Count("watch", "pods")
			removes = append(removes,
				r.proxy.Add(proxy.Rule{Resource: "pods", Watch: func(e *proxy.Event) proxy.Fate {
					if e.N > 5 {
						return proxy.BreakOff
					}
					return proxy.Pass
				}}),
				r.proxy.Add(proxy.Rule{Resource: "pods", Chance: 0.15, Status: 500}),
				r.proxy.Add(proxy.Rule{Resource: "pods", Chance: 0.15, Status: 429}))
			f.restartWatch(r)
		}
		f.pause(max(30*time.Second, f.lease.of(300*time.Second)))
		most := 0.0
		for i, r := range f.slots {
			n := r.proxy.Count("list", "pods") + r.proxy.Count("watch", "pods") - before[i]
			if limit := 5 + int(2*time.Since(began).Seconds()); n > limit {
				f.Errorf("%s: %d requests for pods in %s", r.Name(), n, time.Since(began))
			}
			most = max(most, float64(n)/time.Since(began).Seconds())
		}
		f.notef("%.1f requests/s", most)
		for _, remove := range removes {
			remove()
		}
		healed := time.Now()
		f.scoresCatchUp(65 * time.Second)
		f.outcome.recovered(time.Since(healed), 65*time.Second)
	}},
	{number: 22, variant: "a", name: "a watch event that is not valid JSON", demand: "counted; scores correct ≤ 65 s", trials: 2, noChurn: true, trial: func(f *fixture) {
		leader := f.leader()
		var armed atomic.Bool
		var hits atomic.Int64
		remove := leader.proxy.Add(proxy.Rule{Verb: "watch", Resource: "pods", Times: 1, Watch: func(e *proxy.Event) proxy.Fate {
			if armed.Load() && e.Type != "BOOKMARK" && hits.CompareAndSwap(0, 1) {
				e.Line = []byte("{\"type\":\"MODIFIED\",\"object\":{\"metadata\":\n")
			}
			return proxy.Pass
		}})
		f.restartWatch(leader)
		failed := f.watchErrorsOf(leader)
		armed.Store(true)
		stop := f.churn(10)
		f.wait("an invalid event was sent", 10*time.Second, func() error {
			if hits.Load() == 0 {
				return errors.New("none")
			}
			return nil
		})
		f.pause(2 * time.Second)
		stop()
		at := time.Now()
		f.recompute(65 * time.Second)
		f.recovered(time.Since(at), 65*time.Second)
		remove()
		if now := f.watchErrorsOf(leader); now != failed+1 || hits.Load() != 1 {
			f.Errorf("%d invalid events, but %v failed watches are counted", hits.Load(), now-failed)
		}
	}},
	{number: 22, variant: "b", name: "a pod that cannot be evaluated", demand: "counted and named; scores of the other pods correct throughout", trials: 1, noChurn: true, trial: func(f *fixture) {
		deep := []byte(`"image":` + strings.Repeat("[", 300) + strings.Repeat("]", 300))
		var removes []func()
		for _, r := range f.slots {
			removes = append(removes, r.proxy.Add(proxy.Rule{Verb: "watch", Resource: "pods", Answer: func(line []byte) []byte {
				return bytes.ReplaceAll(line, []byte(`"image":"poison:1"`), deep)
			}}))
			f.restartWatch(r)
		}
		if err := f.CreatePods(f.Context(), cluster.NewPod(f.namespaces[0], "poison", cluster.Container{Image: "poison:1"})); err != nil {
			f.Fatal(err)
		}
		f.wait("the pod is counted and named", settleTimeout, func() error {
			n, err := f.leader().value("kube_devops_pods_unevaluated", "namespace", f.namespaces[0])
			if err == nil && (n != 1 || !strings.Contains(f.leader().Stderr(), `"pod":"poison"`)) {
				err = fmt.Errorf("%v pods are not evaluated", n)
			}
			return err
		})
		f.addPod() // which can be evaluated
		at := time.Now()
		f.wait("the scores of the other pods are correct", settleTimeout, func() error {
			return f.differsFrom(oracle.Default, func(ctx context.Context) ([]byte, error) {
				list, err := f.ListPods(ctx)
				if err != nil {
					return nil, err
				}
				return oracle.Without(list, f.namespaces[0], "poison")
			})
		})
		f.recovered(time.Since(at), settleTimeout)
		if err := f.DeletePod(f.Context(), f.namespaces[0], "poison"); err != nil {
			f.Fatal(err)
		}
		for _, remove := range removes {
			remove()
		}
	}},
	{number: 23, name: "one DELETED and one MODIFIED event lost", demand: "detected by the audit ≤ interval + 30 s; counted; corrected", trials: 2, noChurn: true, args: []string{"--audit-interval=10s"}, trial: func(f *fixture) {
		leader := f.leader()
		deleted, changed := fmt.Sprint("deleted-", rand.Int()), fmt.Sprint("changed-", rand.Int())
		if err := f.CreatePods(f.Context(), cluster.NewPod(f.namespaces[0], deleted, cluster.Bad), cluster.NewPod(f.namespaces[0], changed, cluster.Bad)); err != nil {
			f.Fatal(err)
		}
		f.recompute(settleTimeout)
		remove := leader.proxy.Add(proxy.Rule{Verb: "watch", Resource: "pods", Times: 1, Watch: func(e *proxy.Event) proxy.Fate {
			if e.Type == "DELETED" && e.Name == deleted || e.Type == "MODIFIED" && e.Name == changed {
				return proxy.Swallow
			}
			return proxy.Pass
		}})
		defer remove()
		f.restartWatch(leader)
		counted := func() float64 {
			n, err := leader.value("kube_devops_state_divergence_total", "part", "cache")
			if err != nil {
				f.Fatal(err)
			}
			return n
		}
		before, at := counted(), time.Now()
		if err := errors.Join(f.DeletePod(f.Context(), f.namespaces[0], deleted), f.SetImage(f.Context(), f.namespaces[0], changed, "nginx:1.29")); err != nil {
			f.Fatal(err)
		}
		f.pause(2 * time.Second)
		if f.differs() == nil {
			f.Fatal("no event was lost, so that the result is inconclusive")
		}
		f.wait("the audit finds the differences", time.Until(at)+40*time.Second, func() error {
			if n := counted() - before; n != 2 {
				return fmt.Errorf("%v differences", n)
			}
			return nil
		})
		f.recompute(settleTimeout)
		f.recovered(time.Since(at), 40*time.Second)
		for _, name := range []string{deleted, changed} {
			if !strings.Contains(leader.Stderr(), f.namespaces[0]+"/"+name+": ") {
				f.Errorf("the log does not name %s", name)
			}
		}
	}},
	{number: 24, name: "permission for pods revoked and granted again", demand: "no restart; scores kept; staleness metric accurate to 2 s; scores correct ≤ 65 s afterwards", trials: 1, noChurn: true, trial: func(f *fixture) {
		if err := f.account.RevokePods(f.Context()); err != nil {
			f.Fatal(err)
		}
		f.pause(time.Second)
		lastPod := time.Now()
		f.addPod() // open watches continue
		f.recompute(settleTimeout)
		before := f.served()
		at := time.Now()
		for _, r := range f.slots {
			r.proxy.Cut()
			r.proxy.Heal()
		}
		f.pause(20 * time.Second)
		if now := f.served(); !slices.Equal(before, now) {
			f.Errorf("scores %v, before %v", now, before)
		}
		for _, r := range f.slots {
			f.lastEventWithin(r, lastPod, at)
		}
		f.addPod()
		if err := f.account.GrantPods(f.Context()); err != nil {
			f.Fatal(err)
		}
		granted := time.Now()
		f.recompute(healed)
		f.recovered(time.Since(granted), healed)
	}},
	{number: 24, variant: "c", name: "permission for pods revoked from the leader only, permanently", demand: "it keeps the Lease for 2 min, then releases it; the standby takes over", trials: 1, trial: func(f *fixture) {
		f.losesSync(proxy.Rule{Resource: "pods", Status: http.StatusForbidden})
	}},
	{number: 25, variant: "a", name: "token expires and is rotated in its file", demand: "no gap > 65 s; no restart", trials: 1, ownAgents: true, trial: func(f *fixture) {
		old := f.tokenFile()
		f.pair()
		f.rotate()
		at := time.Now()
		for _, r := range f.slots {
			r.proxy.Add(proxy.Rule{Status: 401, If: func(q *http.Request) bool { return q.Header.Get("Authorization") == "Bearer "+old }})
			r.proxy.Cut() // an open watch would continue
			r.proxy.Heal()
		}
		f.pause(f.lease.closes())
		f.next(time.Now(), healed, f.slots[:]...)
		f.recovered(f.gap(at, f.all...), healed)
		f.recompute(healed)
	}},
	{number: 25, variant: "b", name: "certificate authority of the API server rotated, with both in the file for 5 minutes", demand: "no gap > 65 s; no restart", trials: 1, ownAgents: true, trial: func(f *fixture) {
		f.rotateAuthority(authorityReload+10*time.Second, healed)
	}},
	{number: 25, variant: "c", name: "certificate authority rotated without an overlap", demand: "no gap > 5 min + 65 s; no restart", trials: 1, ownAgents: true, trial: func(f *fixture) {
		f.rotateAuthority(0, authorityReload+healed)
	}},
	{number: 26, variant: "a", exclusive: true, name: "event storm: maximum change rate of the API server for 30 s", demand: "no event lost; scores correct ≤ 5 s afterwards; lag ≤ 2 s; resident memory at most doubles", trials: 1, noChurn: true, trial: func(f *fixture) { f.storm(30 * time.Second) }},
	{number: 26, variant: "b", exclusive: true, name: "event storm: 5,000 events/s for 10 s from a fake API server", demand: "no event lost; lag ≤ 2 s; resident memory at most doubles", trials: 1, standalone: true, trial: func(f *fixture) { f.burst(5000, 10*time.Second) }},
	{number: 27, name: "a check that panics or is slow", demand: "that pod is marked; others are not affected", cannot: "no policy can make the engine panic; TestPanicAffectsOnePod and TestHostilePods cover it"},
	{number: 28, exclusive: true, name: "giant pods: 50 containers; 250 KiB of annotations; 1.2 MB", demand: "evaluated in ≤ 50 ms in total; resident memory grows by ≤ 20 MiB", trials: 1, noChurn: true, trial: func(f *fixture) {
		leader := f.leader()
		before, err := leader.value("process_resident_memory_bytes")
		if err != nil {
			f.Fatal(err)
		}
		spent := f.evaluating(leader)
		many := cluster.NewPod(f.namespaces[0], "many", slices.Repeat([]cluster.Container{cluster.Bad}, 50)...)
		noted := cluster.NewPod(f.namespaces[0], "noted", cluster.Bad)
		noted.Annotations = map[string]string{"note": strings.Repeat("x", 250<<10)}
		giant := cluster.NewPod(f.namespaces[0], "giant", cluster.Bad)
		giant.Spec.Containers[0].Args = []string{strings.Repeat("x", 1200<<10)}
		if err := f.CreatePods(f.Context(), many, noted, giant); err != nil {
			f.Fatal(err)
		}
		f.recompute(settleTimeout)
		if spent = f.evaluating(leader) - spent; spent > 50*time.Millisecond {
			f.Errorf("evaluated in %s", spent)
		}
		f.notef("evaluated in %.1f ms", spent.Seconds()*1000)
		if after, err := leader.value("process_resident_memory_bytes"); err != nil || after > before+20<<20 {
			f.Errorf("resident memory %v, before %v (%v)", after, before, err)
		}
	}},
	{number: 29, variant: "a", exclusive: true, name: "namespace churn: 2,000 namespaces, 5 rounds", demand: "no scores in the first scrape after the last event; series and heap ≤ 105 % of the first round", trials: 1, noChurn: true, args: []string{"--profile-listen=127.0.0.1:0"}, trial: func(f *fixture) { f.churnNamespaces(2000, 5) }},
	{number: 29, variant: "b", exclusive: true, name: "5,200 namespaces", demand: "5,000 have their own series, the others share one; none is lost", trials: 1, ownControlPlane: true, noChurn: true, trial: (*fixture).namespacesBeyondLimit},
	{number: 30, name: "one pod name deleted and created 1,000 times", demand: "exact counts", trials: 1, noChurn: true, trial: func(f *fixture) {
		for i := range 1000 {
			pod := cluster.NewPod(f.namespaces[0], "again", []cluster.Container{cluster.Bad, cluster.Good}[i%2])
			if i > 0 {
				if err := f.DeletePod(f.Context(), f.namespaces[0], "again"); err != nil {
					f.Fatal(err)
				}
			}
			if err := f.CreatePods(f.Context(), pod); err != nil {
				f.Fatal(err)
			}
		}
		at := time.Now()
		f.recompute(settleTimeout)
		f.recovered(time.Since(at), settleTimeout)
	}},
	{number: 31, exclusive: true, name: "10,000 pods with 256 MiB of memory: initial list and relist", demand: "ready ≤ 30 s; peak ≤ 256 MiB; relist at most doubles memory; ≤ 8 KiB retained per pod", trials: 1, ownControlPlane: true, ownAgents: true, noChurn: true, args: []string{"--profile-listen=127.0.0.1:0"}, trial: (*fixture).tenThousandPods},
	{number: 33, name: "policy replaced ten times per second, with 8 files", demand: "no scrape mixes two policies; the last one in force on both replicas ≤ 5 s", trials: 1, ownAgents: true, noChurn: true, args: []string{"--policy=mount/table.yaml"}, trial: func(f *fixture) {
		good := f.defaultPolicy()
		f.mountPolicy(good)
		f.pair()
		list, err := f.ListPods(f.Context())
		if err != nil {
			f.Fatal(err)
		}
		began, seen := time.Now(), map[int]bool{}
		for i := 0; time.Since(began) < max(20*time.Second, f.lease.of(60*time.Second)); i++ {
			f.mountPolicy(generation(good, i%generations))
			f.pause(100 * time.Millisecond)
			seen[f.oneGeneration(list)] = true
		}
		if len(seen) < 3 {
			f.Errorf("only %d policies were in force", len(seen))
		}
		f.mountPolicy(good)
		last := time.Now()
		f.wait("the last policy is in force on both replicas", 5*time.Second, func() error {
			var hashes []string
			for _, r := range f.slots {
				metrics, err := r.Metrics()
				if err != nil {
					return err
				}
				for _, m := range metrics["kube_devops_policy_info"].GetMetric() {
					hashes = append(hashes, m.String())
				}
			}
			if len(hashes) != 2 || hashes[0] != hashes[1] {
				return fmt.Errorf("policies %q", hashes)
			}
			return f.differs()
		})
		f.recovered(time.Since(last), 5*time.Second)
	}},
	{number: 34, variant: "a", name: "policy changed within 3 s of a handover (SIGTERM)", demand: "in every scrape, the scores match the exported policy", trials: 10, ownAgents: true, noChurn: true, args: []string{"--policy=mount/table.yaml"}, trial: func(f *fixture) {
		f.swapAtHandover(syscall.SIGTERM, 5*time.Second)
	}},
	{number: 34, variant: "b", name: "policy changed within 3 s of killing the leader (SIGKILL)", demand: "in every scrape, the scores match the exported policy", trials: 3, ownAgents: true, noChurn: true, args: []string{"--policy=mount/table.yaml"}, trial: func(f *fixture) {
		f.swapAtHandover(syscall.SIGKILL, f.lease.takeover())
	}},
	{number: 35, variant: "a", name: "connections exhaust the file descriptors for longer than the lease duration", demand: "no restart; Lease kept; probes ≤ 10 s", trials: 1, ownAgents: true, expectGaps: true, trial: (*fixture).outOfFiles},
	{number: 35, variant: "b", name: "report written to a full or read-only disk", demand: "exit 2 with a reason; no partial file", trials: 1, standalone: true, trial: (*fixture).fullDisk},
	{number: 35, variant: "c", name: "mount of the policy disappears and returns", demand: "last valid policy stays; reported ≤ 5 s; recovery ≤ 5 s", trials: 1, ownAgents: true, noChurn: true, args: []string{"--policy=mount/table.yaml"}, trial: func(f *fixture) {
		folder := filepath.Join(f.dir, "mount")
		again := f.tmpfs(folder, "size=1m")
		good := f.defaultPolicy()
		f.mountPolicy(good)
		f.pair()
		before := f.served()
		f.unmount(folder)
		f.reloaded("the mount has vanished", 0)
		if now := f.served(); !slices.Equal(before, now) {
			f.Errorf("scores %v, before %v", now, before)
		}
		again("size=1m")
		f.mountPolicy(good)
		fixed := time.Now()
		f.reloaded("the mount is back", 1)
		f.recovered(time.Since(fixed), 5*time.Second)
	}},
	{number: 37, exclusive: true, expectGaps: true, name: "10,000 connections for /metrics", demand: "resident memory grows by ≤ 64 MiB; /healthz p99 ≤ 100 ms; Lease kept", trials: 1, trial: func(f *fixture) {
		leader, check := f.leader(), f.keepsLease(floodedScrapeGap)
		before, err := leader.value("process_resident_memory_bytes")
		if err != nil {
			f.Fatal(err)
		}
		stop, most, p99 := f.flood(leader, 10000)
		defer stop()
		if most > before+64<<20 {
			f.Errorf("resident memory %.0f MiB, before %.0f MiB", most/(1<<20), before/(1<<20))
		}
		f.recovered(p99, 100*time.Millisecond)
		check()
	}},
	{number: 38, variant: "a", exclusive: true, expectGaps: true, name: "leader limited to 5 % of a processor for one minute", demand: "no double publish; no scores without a renewal; one publishes ≤ 30 s afterwards", trials: 1, trial: func(f *fixture) {
		f.starved(5*time.Millisecond, 100*time.Millisecond, max(20*time.Second, f.lease.of(60*time.Second)))
	}},
	{number: 38, variant: "b", exclusive: true, expectGaps: true, name: "leader limited to 0.1 % of a processor", demand: "gate closed, by an exit if necessary; no double publish; no scores without a renewal; one publishes ≤ 30 s afterwards", trials: 1, trial: func(f *fixture) {
		if f.starved(time.Millisecond, time.Second, 2*f.lease.duration) == 0 {
			f.Error("it published all the time, so that the result is inconclusive")
		}
	}},
	{number: 40, variant: "a", name: "invalid recordings: empty, truncated, NUL, a million levels deep, duplicate key, not UTF-8, a million containers, truncated gzip", demand: "exit 2 with the byte offset; resident memory ≤ 256 MiB", trials: 1, standalone: true, trial: (*fixture).badRecordings},
	{number: 40, variant: "b", name: "recording of 5 GB that ends in the middle of a pod", demand: "exit 2 with the byte offset; resident memory ≤ 256 MiB; ≥ 20 MB/s", trials: 1, standalone: true, trial: func(f *fixture) { f.endless(5e9) }},
	soakRow,
	{number: 42, exclusive: true, name: "1,100 connections with invented tokens, --metrics-auth", demand: "each probe ≤ 1 s; no scrape of an authorized client fails; ≤ 10 reviews/s; ≤ 5 s afterwards a new client is served, response times are as before, and ≤ 3 reviews in 5 s", trials: 1, standalone: true, trial: func(f *fixture) { f.inventedTokens(1100, time.Minute) }},
	{number: 43, name: "API server redirects the leader to another host", demand: "that host receives no request; gate closed ≤ lease - margin; the other replica publishes; rejoins ≤ 65 s afterwards", trials: 2, noChurn: true, trial: (*fixture).redirected},
}

// gap returns the longest time without scores since the given time.
func (f *fixture) gap(since time.Time, some ...*replica) time.Duration {
	at := []time.Time{time.Now()}
	for _, r := range some {
		for _, s := range r.scraped() {
			if s.Publishes && s.Answered.After(since) {
				at = append(at, s.Answered)
			}
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	longest, last := time.Duration(0), since
	for _, t := range at {
		longest, last = max(longest, t.Sub(last)), t
	}
	return longest
}

// scoresCatchUp changes a pod as soon as the API server permits it, and waits until the scores are current.
func (f *fixture) scoresCatchUp(bound time.Duration) {
	f.Helper()
	at := time.Now()
	f.wait("a pod can be created", bound, f.makePod)
	f.recompute(bound)
	f.recovered(time.Since(at), bound)
}

func (f *fixture) makePod() error {
	return f.CreatePods(f.Context(), cluster.NewPod(f.namespaces[0], fmt.Sprint("pod-", rand.Int()), cluster.Bad))
}

// addPod creates a pod that changes the scores.
func (f *fixture) addPod() {
	f.Helper()
	if err := f.makePod(); err != nil {
		f.Fatal(err)
	}
}

// restartWatch makes a replica start a new watch of the pods.
func (f *fixture) restartWatch(r *replica) {
	f.Helper()
	before := r.proxy.Count("watch", "pods")
	r.proxy.Cut()
	r.proxy.Heal()
	f.wait("a new watch", 30*time.Second, func() error {
		if r.proxy.Count("watch", "pods") == before {
			return errors.New("none")
		}
		return nil
	})
	f.pause(500 * time.Millisecond) // until its response has begun
}

// tokenFile configures the agents to read their token from a file, and returns the token.
func (f *fixture) tokenFile() string {
	f.Helper()
	config, err := clientcmd.LoadFromFile(f.kubeconfig)
	if err != nil {
		f.Fatal(err)
	}
	var token string
	for _, user := range config.AuthInfos {
		token = user.Token
		user.Token, user.TokenFile = "", filepath.Join(f.dir, "token")
	}
	if err := errors.Join(os.WriteFile(filepath.Join(f.dir, "token"), []byte(token), 0o600), clientcmd.WriteToFile(*config, f.kubeconfig)); err != nil {
		f.Fatal(err)
	}
	return token
}

// authorityFile changes a kubeconfig to use a file with the certificate authority of a proxy.
func (f *fixture) authorityFile(kubeconfig string, p *proxy.Proxy) {
	f.Helper()
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		f.Fatal(err)
	}
	for _, cluster := range config.Clusters {
		cluster.CertificateAuthority, cluster.CertificateAuthorityData = f.writeAuthority(p, p.Authority()), nil
	}
	if err := clientcmd.WriteToFile(*config, kubeconfig); err != nil {
		f.Fatal(err)
	}
}

// writeAuthority writes this file, and returns its path.
func (f *fixture) writeAuthority(p *proxy.Proxy, authorities ...[]byte) string {
	f.Helper()
	path := filepath.Join(f.dir, fmt.Sprint("authority-", p.Port()))
	if err := os.WriteFile(path, bytes.Join(authorities, nil), 0o600); err != nil {
		f.Fatal(err)
	}
	return path
}

// authorityReload is the interval at which client-go reloads the certificate authority from its file.
const authorityReload = 5 * time.Minute

// rotateAuthority changes the certificate of the API server to one of a new authority. For the time beside, the file has both
// authorities before that.
func (f *fixture) rotateAuthority(beside, bound time.Duration) {
	f.Helper()
	f.authorities = true
	f.pair()
	var present []func()
	for _, r := range f.slots {
		old := r.proxy.Authority()
		activate, err := r.proxy.Rotate()
		if err != nil {
			f.Fatal(err)
		}
		if beside > 0 {
			f.writeAuthority(r.proxy, old, r.proxy.Authority())
		}
		present = append(present, activate)
	}
	f.pause(beside)
	at := time.Now()
	for slot, r := range f.slots {
		present[slot]()
		f.writeAuthority(r.proxy, r.proxy.Authority())
		r.proxy.Cut() // an open connection would continue
		r.proxy.Heal()
	}
	f.pause(f.lease.closes())
	f.next(time.Now(), bound, f.slots[:]...)
	f.recovered(f.gap(at, f.all...), bound)
	f.addPod()
	f.settledSince(at, bound)
	for _, r := range f.slots {
		f.rejoins(r, bound)
	}
}

// rotate writes a new token to the file.
func (f *fixture) rotate() {
	f.Helper()
	path, err := f.installation.Kubeconfig(f.Context(), f.TempDir(), f.account.Name)
	if err != nil {
		f.Fatal(err)
	}
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		f.Fatal(err)
	}
	for _, user := range config.AuthInfos {
		if err := os.WriteFile(filepath.Join(f.dir, "token"), []byte(user.Token), 0o600); err != nil {
			f.Fatal(err)
		}
	}
}

// floodedScrapeGap bounds the time without a successful scrape in a flood.
const floodedScrapeGap = 15 * time.Second

// flood opens n connections that request metrics, and measures probes of /healthz and the memory of the agent meanwhile.
func (f *fixture) flood(r *replica, n int) (stop func(), most float64, p99 time.Duration) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	var running sync.WaitGroup
	var opened atomic.Int64
	request := []byte("GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n")
	dialer := net.Dialer{Timeout: 30 * time.Second}
	// Simultaneous connections would overflow the accept queue of the kernel.
	begun := time.Now()
	for i := range n {
		running.Go(func() {
			f.pause(time.Until(begun.Add(time.Duration(i) * 5 * time.Second / time.Duration(n))))
			conn, err := dialer.DialContext(ctx, "tcp", r.Addr)
			if err != nil {
				return
			}
			opened.Add(1)
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			defer func() { _ = conn.Close() }()
			if _, err := conn.Write(request); err != nil {
				return
			}
			buffer := make([]byte, 512)
			for err == nil {
				_, err = conn.Read(buffer)
			}
			<-ctx.Done() // do not reconnect
		})
	}
	var took []time.Duration
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}} // like a kubelet
	for began := time.Now(); time.Since(began) < 10*time.Second || opened.Load() < int64(n)*9/10 && time.Since(began) < time.Minute; {
		at := time.Now()
		res, err := client.Get("http://" + r.Addr + "/healthz")
		if err != nil {
			f.Fatalf("/healthz in a flood: %v", err)
		}
		_ = res.Body.Close()
		took = append(took, time.Since(at))
		if memory, err := r.value("process_resident_memory_bytes"); err == nil {
			most = max(most, memory)
		}
		f.pause(20 * time.Millisecond)
	}
	if opened.Load() < int64(n)*9/10 {
		f.Errorf("only %d of %d connections were opened", opened.Load(), n)
	}
	slices.Sort(took)
	return func() { cancel(); running.Wait() }, most, took[(len(took)*99+99)/100-1]
}

// starved limits the leader to a share of a processor in each period. The leader may publish meanwhile only after a successful
// renewal. It returns the number of scrapes without scores.
func (f *fixture) starved(share, period, length time.Duration) (closed int) {
	f.Helper()
	leader := f.leader()
	confine, release := f.group("cpu", map[string]string{
		"cpu.cfs_period_us": fmt.Sprint(period.Microseconds()), "cpu.cfs_quota_us": fmt.Sprint(share.Microseconds()),
	})
	began := time.Now()
	confine(leader)
	f.pause(length)
	release()
	f.publishes(time.Now(), 30*time.Second, f.slots[:]...)
	const slack = 500 * time.Millisecond // accuracy of the oracle
	var renewed []time.Time
	for _, request := range leader.proxy.Requests() {
		if request.Verb == "update" && request.Resource == "leases" {
			renewed = append(renewed, request.At)
		}
	}
	for _, s := range leader.scraped() {
		if !s.Asked.After(began) || !s.Heard {
			continue
		}
		if !s.Publishes {
			closed++
			continue
		}
		last, _ := slices.BinarySearchFunc(renewed, s.Answered, time.Time.Compare)
		if last == 0 || s.Answered.Sub(renewed[last-1]) > f.lease.closes()+slack {
			f.Errorf("it published %s after its last renewal", s.Answered.Sub(renewed[max(0, last-1)]))
			break
		}
	}
	ended := ""
	if leader.Ended() && strings.Contains(leader.Stderr(), "after its term has ended") {
		// A leader that cannot stop publishing in time must exit, which closes the gate too.
		leader.expected, closed, ended = true, closed+1, ", and its exit"
	}
	f.notef("%d renewals, %d scrapes without scores%s", len(renewed), closed, ended)
	return closed
}

// outOfFiles limits a leader to 64 file descriptors, and exhausts them with connections for longer than the lease duration.
func (f *fixture) outOfFiles() {
	agent := f.binary
	limited := filepath.Join(f.dir, "limited")
	script := "#!/bin/sh\nulimit -n 64\nexec " + strconv.Quote(agent) + " \"$@\"\n"
	if err := os.WriteFile(limited, []byte(script), 0o755); err != nil {
		f.Fatal(err)
	}
	f.binary = limited
	f.start(0)
	f.binary = agent
	f.wait("it publishes", 2*f.lease.takeover(), func() error {
		if !f.slots[0].leads() {
			return errors.New("it does not")
		}
		return nil
	})
	f.pair()
	leader, check := f.slots[0], f.keepsLease(time.Second)
	at := time.Now()
	stop := f.slowClients(leader, 160, true) // the readers keep their descriptors as long as possible
	defer stop()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}} // like a kubelet
	for most := time.Duration(0); time.Since(at) < f.lease.duration*4/3; f.pause(time.Second) {
		asked := time.Now()
		res, err := client.Get("http://" + leader.Addr + "/healthz")
		if err != nil {
			f.Fatalf("a probe after %s: %v", time.Since(at), err)
		}
		_ = res.Body.Close()
		if took := time.Since(asked); took > most {
			most = took
			f.recovered(took, 10*time.Second)
		}
	}
	if !strings.Contains(leader.Stderr(), "too many open files") {
		f.Error("its file descriptors were not exhausted, so that the result is inconclusive")
	}
	check()
}

// compacted freezes both replicas while pods change and etcd compacts the history.
func (f *fixture) compacted() {
	const named = "deleted-meanwhile"
	if err := f.CreatePods(f.Context(), cluster.NewPod(f.namespaces[0], named, cluster.Bad)); err != nil {
		f.Fatal(err)
	}
	f.recompute(settleTimeout)
	reported := func() bool {
		_, report, err := f.leader().Get("/api/v1/report")
		if err != nil {
			f.Fatal(err)
		}
		return strings.Contains(report, named)
	}
	if !reported() {
		f.Fatal("the report does not name the pod")
	}
	failed := f.watchErrors()
	frozen := time.Now()
	for _, r := range f.slots {
		r.Signal(syscall.SIGSTOP)
		r.proxy.Cut() // otherwise the kernel buffers megabytes of events
	}
	stop := f.churn(100)
	f.pause(20 * time.Second)
	stop()
	if err := f.DeletePod(f.Context(), f.namespaces[0], named); err != nil {
		f.Fatal(err)
	}
	f.Own.StopAPIServer(syscall.SIGKILL)
	if err := errors.Join(f.Own.CompactEtcd(f.Context()), f.Own.StartAPIServer(f.Context())); err != nil {
		f.Fatal(err)
	}
	f.pause(time.Until(frozen.Add(f.lease.of(150 * time.Second))))
	before := [2]int{f.lists(0), f.lists(1)}
	woken := time.Now()
	for _, r := range f.slots {
		r.proxy.Heal()
		r.Signal(syscall.SIGCONT)
	}
	f.recompute(f.lease.takeover() + 10*time.Second)
	f.recovered(time.Since(woken), f.lease.takeover()+10*time.Second)
	f.pair()
	if reported() {
		f.Error("the report names a deleted pod")
	}
	// The standby retries after its backoff of one or two seconds.
	f.wait("both have listed the pods", healed, func() error {
		if n := [2]int{f.lists(0), f.lists(1)}; n[0] == before[0] || n[1] == before[1] {
			return fmt.Errorf("%v lists, before %v", n, before)
		}
		return nil
	})
	f.recompute(settleTimeout)
	f.expired(failed)
	for slot, r := range f.slots {
		if n := f.lists(slot) - before[slot]; n != 1 {
			f.Errorf("%s listed the pods %d times", r.Name(), n)
		}
	}
}

// epoch returns the number of leader changes.
func (f *fixture) epoch() float64 {
	f.Helper()
	n, err := f.leader().value("kube_devops_lease_epoch")
	if err != nil {
		f.Fatal(err)
	}
	return n
}

// events returns the number of events that each replica has received, by slot.
func (f *fixture) events() (seen [2]float64) {
	f.Helper()
	for slot, r := range f.slots {
		var err error
		if seen[slot], err = r.value("pod_events_total"); err != nil {
			f.Fatal(err)
		}
	}
	return seen
}

// eventsSince checks that each replica has received more events.
func (f *fixture) eventsSince(before [2]float64) {
	f.Helper()
	now := f.events()
	for slot, r := range f.slots {
		if now[slot] <= before[slot] {
			f.Errorf("%s received no event", r.Name())
		}
	}
}

// watchErrorsOf returns the number of failed pod watches.
func (f *fixture) watchErrorsOf(r *replica) float64 {
	f.Helper()
	n, err := r.value("kube_devops_watch_errors_total", "verb", "watch")
	if err != nil {
		f.Fatal(err)
	}
	return n
}

// evaluating returns the total evaluation time of a replica.
func (f *fixture) evaluating(r *replica) time.Duration {
	f.Helper()
	metrics, err := r.Metrics()
	if err != nil {
		f.Fatal(err)
	}
	for _, metric := range metrics["kube_devops_evaluation_duration_seconds"].GetMetric() {
		return time.Duration(metric.GetHistogram().GetSampleSum() * float64(time.Second))
	}
	f.Fatal("no kube_devops_evaluation_duration_seconds")
	return 0
}
