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
)

// matrix is all rows, by number.
var matrix = slices.SortedStableFunc(slices.Values(append(everyMerge, night...)), func(a, b row) int {
	return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.variant, b.variant))
})

// night are the rows that take long, or much of the machine, and those that do not run here.
var night = []row{
	{number: 8, name: "two processes of one identity", demand: "one exits, not 0, and says why ≤ 10 s", trials: 2, trial: func(f *fixture) {
		leader, standby := f.leader(), f.standby()
		mine, his := []byte(f.identity(standby)), []byte(f.identity(leader))
		// There is no flag for an identity: the proxy gives the standby that of the leader.
		remove := standby.proxy.Add(proxy.Rule{Resource: "leases",
			Ask:    func(b []byte) []byte { return bytes.ReplaceAll(b, mine, his) },
			Answer: func(b []byte) []byte { return bytes.ReplaceAll(b, his, mine) },
		})
		began := time.Now()
		f.wait("one of the two exits", 10*time.Second+2*f.lease.retry, func() error {
			if !leader.Ended() && !standby.Ended() {
				return errors.New("both run")
			}
			return nil
		})
		f.recovered(time.Since(began), 10*time.Second+2*f.lease.retry)
		for _, r := range []*replica{leader, standby} {
			if !r.Ended() {
				continue
			}
			r.expected = true
			if code, err := r.Wait(time.Second); err != nil || code == 0 || !strings.Contains(r.Stderr(), "identity of its own") {
				f.Errorf("%s: exit code %d, and it does not say why: %s", r.Name(), code, r.Tail())
			}
		}
		remove()
		f.pass(2 * f.lease.retry) // the other one sees that somebody wrote in its name
	}},
	{number: 9, variant: "a", name: "writes of the Lease answered with 500, 429, 403", demand: "gate closed ≤ lease - margin; nobody publishes; recovered ≤ 25 s", trials: 1, trial: func(f *fixture) {
		for _, status := range []int{500, 429, 403} {
			at := time.Now()
			var removes []func()
			for _, r := range f.slots {
				removes = append(removes, r.proxy.Add(proxy.Rule{Verb: "write", Resource: "leases", Status: status}))
			}
			f.pass(f.lease.of(60 * time.Second))
			for _, r := range f.slots {
				f.silent(r, at.Add(f.lease.closes()))
				if err := ready(r); err != nil {
					f.Error(err)
				}
			}
			for _, remove := range removes {
				remove()
			}
			f.publishes(time.Now(), 25*time.Second, f.slots[:]...)
			f.pair()
		}
	}},
	{number: 9, variant: "b", name: "permission for the Lease revoked, given back", demand: "gate closed ≤ lease - margin; nobody publishes; recovered ≤ 25 s", trials: 1, trial: func(f *fixture) {
		if err := f.account.RevokeLease(f.Context()); err != nil {
			f.Fatal(err)
		}
		// The API server itself learns of it a moment later.
		at := time.Now().Add(time.Second)
		f.pass(f.lease.of(60 * time.Second))
		for _, r := range f.slots {
			f.silent(r, at.Add(f.lease.closes()))
		}
		if err := f.account.GrantLease(f.Context()); err != nil {
			f.Fatal(err)
		}
		f.publishes(time.Now(), 25*time.Second, f.slots[:]...)
	}},
	{number: 10, name: "half-open connections of the leader", demand: "Lease kept; caught up ≤ 20 s", trials: 3, still: true, trial: func(f *fixture) {
		leader, standby := f.leader(), f.standby()
		at := time.Now()
		leader.proxy.Stall()
		f.onePodMore()
		f.recompute(20 * time.Second)
		f.recovered(time.Since(at), 20*time.Second)
		f.silent(standby, at)
	}},
	{number: 11, name: "flapping network: ten cuts of 2 to 20 s of the leader", demand: "no double publish", trials: 1, trial: func(f *fixture) {
		for range 10 {
			var leader *replica
			for _, r := range f.slots {
				if r.leads() {
					leader = r
				}
			}
			if leader == nil {
				leader = f.slots[rand.IntN(2)]
			}
			leader.proxy.Blackhole()
			f.pass(f.lease.of(2*time.Second + rand.N(18*time.Second)))
			leader.proxy.Heal()
			f.pass(rand.N(f.lease.duration / 2))
		}
		f.publishes(time.Now(), f.lease.takeover(), f.slots[:]...)
	}},
	{number: 12, variant: "a", name: "both start at once", demand: "exactly one publishes ≤ 2 leases", trials: 20, fresh: true, trial: func(f *fixture) {
		for _, r := range f.slots {
			if r != nil && !r.Ended() {
				r.expected = true
				r.Signal(syscall.SIGTERM)
			}
		}
		for _, r := range f.slots {
			if r != nil {
				f.exited(r, 0, exits)
			}
		}
		at := time.Now()
		f.start(0)
		f.start(1)
		f.publishes(at, 2*f.lease.duration, f.slots[:]...)
	}},
	{number: 12, variant: "b", name: "rolling replacement of both", demand: "gap in publishing ≤ 20 s", trials: 3, trial: func(f *fixture) {
		at := time.Now()
		for slot, r := range f.slots {
			next := f.start(slot)
			f.slots[slot] = next
			f.wait("the new one is ready", 30*time.Second, func() error { return ready(next) })
			r.expected = true
			r.Signal(syscall.SIGTERM)
			f.exited(r, 0, exits)
		}
		f.next(time.Now(), f.lease.takeover(), f.slots[:]...)
		f.recovered(f.gap(at, f.all...), 20*time.Second)
	}},
	{number: 13, name: "publisher stuck on a scraper that never reads", demand: "gate closes on time", cannot: "a page must outgrow the buffers of a socket; held by TestClientThatStopsToRead, TestPermissionEndsWhileWriting and TestElectorMustExit"},
	{number: 14, name: "wall clock set", demand: "no handover", cannot: "it would set the clock of the whole machine; held by TestFaults of agent/election with clocks of its own"},
	{number: 15, name: "both replicas paused for a minute (machine suspended)", demand: "no double publish; one publishes again", trials: 2, trial: func(f *fixture) {
		for _, r := range f.slots {
			r.Signal(syscall.SIGSTOP)
		}
		f.pass(f.lease.of(60 * time.Second))
		for _, r := range f.slots {
			r.Signal(syscall.SIGCONT)
		}
		f.publishes(time.Now(), f.lease.takeover(), f.slots[:]...)
	}},
	{number: 17, name: "etcd killed and started; etcd frozen for 30 s", demand: "caught up ≤ 30 s; no crash", trials: 1, alone: true, direct: true, still: true, trial: func(f *fixture) {
		f.Own.KillEtcd()
		f.pass(2 * time.Second)
		if err := f.Own.StartEtcd(f.Context()); err != nil {
			f.Fatal(err)
		}
		f.caughtUp(30 * time.Second)
		f.Own.SignalEtcd(syscall.SIGSTOP)
		f.pass(f.lease.of(30 * time.Second))
		f.Own.SignalEtcd(syscall.SIGCONT)
		f.caughtUp(30 * time.Second)
	}},
	{number: 18, name: "compaction while both are frozen, under 100 changes a second: 410", demand: "scores right ≤ a takeover + 10 s after waking", trials: 1, alone: true, direct: true, still: true, trial: func(f *fixture) {
		for _, r := range f.slots {
			r.Signal(syscall.SIGSTOP)
		}
		stop := f.churn(100)
		f.pass(20 * time.Second)
		stop()
		f.Own.StopAPIServer(syscall.SIGKILL)
		if err := errors.Join(f.Own.CompactEtcd(f.Context()), f.Own.StartAPIServer(f.Context())); err != nil {
			f.Fatal(err)
		}
		woken := time.Now()
		for _, r := range f.slots {
			r.Signal(syscall.SIGCONT)
		}
		f.recompute(f.lease.takeover() + 10*time.Second)
		f.recovered(time.Since(woken), f.lease.takeover()+10*time.Second)
	}},
	{number: 19, name: "etcd restored from an older state (versions run backwards)", demand: "scores right ≤ 60 s", trials: 1, alone: true, direct: true, still: true, args: []string{"--audit-interval=10s"}, trial: func(f *fixture) {
		if err := f.Own.SaveEtcd(f.Context(), "saved"); err != nil {
			f.Fatal(err)
		}
		f.caughtUp(30 * time.Second)
		stop := f.churn(100)
		f.pass(5 * time.Second)
		stop()
		f.recompute(quiet)
		f.Own.StopAPIServer(syscall.SIGKILL)
		if err := errors.Join(f.Own.RestoreEtcd(f.Context(), "saved"), f.Own.StartAPIServer(f.Context())); err != nil {
			f.Fatal(err)
		}
		restored := time.Now()
		f.recompute(60 * time.Second)
		f.recovered(time.Since(restored), 60*time.Second)
		// Each version is given out again, to other changes. None may be taken for one that was seen.
		stop = f.churn(100)
		f.pass(5 * time.Second)
		stop()
		f.recompute(60 * time.Second)
	}},
	{number: 20, name: "30 % of lists and watches answered with 429 or 500, watches cut short", demand: "≤ 2 requests/s; right ≤ 65 s afterwards", trials: 1, trial: func(f *fixture) {
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
			f.rewatch(r)
		}
		f.pass(max(30*time.Second, f.lease.of(120*time.Second)))
		for i, r := range f.slots {
			n := r.proxy.Count("list", "pods") + r.proxy.Count("watch", "pods") - before[i]
			if limit := 5 + int(2*time.Since(began).Seconds()); n > limit {
				f.Errorf("%s: %d requests for pods in %s", r.Name(), n, time.Since(began))
			}
		}
		for _, remove := range removes {
			remove()
		}
		healed := time.Now()
		f.caughtUp(65 * time.Second)
		f.outcome.recovered(time.Since(healed), 65*time.Second)
	}},
	{number: 22, variant: "a", name: "an event that is no JSON", demand: "right ≤ 65 s", trials: 2, still: true, trial: func(f *fixture) {
		leader := f.leader()
		remove := leader.proxy.Add(proxy.Rule{Verb: "watch", Resource: "pods", Times: 1, Watch: func(e *proxy.Event) proxy.Fate {
			if e.N == 3 {
				e.Line = []byte("{\"type\":\"MODIFIED\",\"object\":{\"metadata\":\n")
			}
			return proxy.Pass
		}})
		f.rewatch(leader)
		stop := f.churn(10)
		f.pass(3 * time.Second)
		stop()
		at := time.Now()
		f.recompute(65 * time.Second)
		f.recovered(time.Since(at), 65*time.Second)
		remove()
	}},
	{number: 22, variant: "b", name: "a pod that cannot be evaluated", demand: "counted and named; the others right", trials: 1, still: true, trial: func(f *fixture) {
		deep := []byte(`"image":` + strings.Repeat("[", 300) + strings.Repeat("]", 300))
		var removes []func()
		for _, r := range f.slots {
			removes = append(removes, r.proxy.Add(proxy.Rule{Verb: "watch", Resource: "pods", Answer: func(line []byte) []byte {
				return bytes.ReplaceAll(line, []byte(`"image":"poison:1"`), deep)
			}}))
			f.rewatch(r)
		}
		if err := f.CreatePods(f.Context(), cluster.NewPod(f.namespaces[0], "poison", cluster.Container{Image: "poison:1"})); err != nil {
			f.Fatal(err)
		}
		f.wait("the pod is counted and named", quiet, func() error {
			n, err := f.leader().value("kube_devops_pods_unevaluated", "namespace", f.namespaces[0])
			if err == nil && (n != 1 || !strings.Contains(f.leader().Stderr(), `"pod":"poison"`)) {
				err = fmt.Errorf("%v pods are not evaluated", n)
			}
			return err
		})
		if err := f.DeletePod(f.Context(), f.namespaces[0], "poison"); err != nil {
			f.Fatal(err)
		}
		for _, remove := range removes {
			remove()
		}
	}},
	{number: 23, name: "one DELETE and one MODIFY swallowed", demand: "found by the audit ≤ its interval + 30 s; counted; healed", trials: 2, still: true, args: []string{"--audit-interval=10s"}, trial: func(f *fixture) {
		leader := f.leader()
		deleted, changed := fmt.Sprint("deleted-", rand.Int()), fmt.Sprint("changed-", rand.Int())
		if err := f.CreatePods(f.Context(), cluster.NewPod(f.namespaces[0], deleted, cluster.Bad), cluster.NewPod(f.namespaces[0], changed, cluster.Bad)); err != nil {
			f.Fatal(err)
		}
		f.recompute(quiet)
		remove := leader.proxy.Add(proxy.Rule{Verb: "watch", Resource: "pods", Times: 1, Watch: func(e *proxy.Event) proxy.Fate {
			if e.Type == "DELETED" && e.Name == deleted || e.Type == "MODIFIED" && e.Name == changed {
				return proxy.Swallow
			}
			return proxy.Pass
		}})
		defer remove()
		f.rewatch(leader)
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
		f.pass(2 * time.Second)
		if f.differs() == nil {
			f.Fatal("nothing was swallowed, so that nothing is shown")
		}
		f.wait("the audit finds it", time.Until(at)+40*time.Second, func() error {
			if n := counted() - before; n != 2 {
				return fmt.Errorf("%v differences", n)
			}
			return nil
		})
		f.recompute(quiet)
		f.recovered(time.Since(at), 40*time.Second)
		for _, name := range []string{deleted, changed} {
			if !strings.Contains(leader.Stderr(), f.namespaces[0]+"/"+name+": ") {
				f.Errorf("the log does not name %s", name)
			}
		}
	}},
	{number: 24, name: "permission for pods revoked, given back", demand: "stays up, scores kept and told to be old; right ≤ 65 s afterwards", trials: 1, still: true, trial: func(f *fixture) {
		before := f.served()
		if err := f.account.RevokePods(f.Context()); err != nil {
			f.Fatal(err)
		}
		f.pass(time.Second)
		for _, r := range f.slots {
			r.proxy.Cut()
			r.proxy.Heal()
		}
		at := time.Now()
		f.pass(20 * time.Second)
		if now := f.served(); !slices.Equal(before, now) {
			f.Errorf("scores %v, before %v", now, before)
		}
		heard, err := f.leader().value("kube_devops_last_event_timestamp_seconds")
		if err != nil || time.UnixMilli(int64(heard*1000)).After(at.Add(2*time.Second)) {
			f.Errorf("it says it has heard of the pods %s after it might not (%v)", time.UnixMilli(int64(heard*1000)).Sub(at), err)
		}
		f.onePodMore()
		if err := f.account.GrantPods(f.Context()); err != nil {
			f.Fatal(err)
		}
		granted := time.Now()
		f.recompute(healed)
		f.recovered(time.Since(granted), healed)
	}},
	{number: 25, name: "token expired and rotated in its file", demand: "no gap > 65 s; no restart", trials: 1, fresh: true, trial: func(f *fixture) {
		old := f.tokenFile()
		f.pair()
		f.rotate()
		at := time.Now()
		for _, r := range f.slots {
			r.proxy.Add(proxy.Rule{Status: 401, If: func(q *http.Request) bool { return q.Header.Get("Authorization") == "Bearer "+old }})
			r.proxy.Cut() // a watch that stands would go on
			r.proxy.Heal()
		}
		f.pass(f.lease.closes())
		f.next(time.Now(), healed, f.slots[:]...)
		f.recovered(f.gap(at, f.all...), healed)
		f.recompute(healed)
	}},
	{number: 26, heavy: true, name: "event storm: changes as fast as the API server takes them, 30 s", demand: "nothing lost; right ≤ 5 s afterwards", trials: 1, still: true, trial: func(f *fixture) {
		stop := f.churn(2000)
		f.pass(30 * time.Second)
		stop()
		at := time.Now()
		f.recompute(quiet)
		f.recovered(time.Since(at), quiet)
	}},
	{number: 27, name: "a rule that panics or is slow", demand: "pod marked, others go on", cannot: "no policy can make the engine panic; held by TestPanicIsOnePods and TestHostilePods"},
	{number: 28, heavy: true, name: "giant pods: 50 containers; 250 KiB of annotations; 1.2 MB", demand: "evaluated; resident memory + ≤ 20 MiB", trials: 1, still: true, trial: func(f *fixture) {
		leader := f.leader()
		before, err := leader.value("process_resident_memory_bytes")
		if err != nil {
			f.Fatal(err)
		}
		many := cluster.NewPod(f.namespaces[0], "many", slices.Repeat([]cluster.Container{cluster.Bad}, 50)...)
		noted := cluster.NewPod(f.namespaces[0], "noted", cluster.Bad)
		noted.Annotations = map[string]string{"note": strings.Repeat("x", 250<<10)}
		giant := cluster.NewPod(f.namespaces[0], "giant", cluster.Bad)
		giant.Spec.Containers[0].Args = []string{strings.Repeat("x", 1200<<10)}
		if err := f.CreatePods(f.Context(), many, noted, giant); err != nil {
			f.Fatal(err)
		}
		f.recompute(quiet)
		if after, err := leader.value("process_resident_memory_bytes"); err != nil || after > before+20<<20 {
			f.Errorf("resident memory %v, before %v (%v)", after, before, err)
		}
	}},
	{number: 29, heavy: true, name: "namespace churn: 200 namespaces, 5 rounds", demand: "no score of a namespace without pods", trials: 1, still: true, trial: func(f *fixture) {
		var names []string
		for range 200 {
			name, err := f.CreateNamespace(f.Context(), "row-29")
			if err != nil {
				f.Fatal(err)
			}
			names = append(names, name)
		}
		for range 5 {
			for _, name := range names {
				if err := f.CreatePods(f.Context(), cluster.NewPod(name, "pod", cluster.Bad)); err != nil {
					f.Fatal(err)
				}
			}
			for _, name := range names {
				if err := f.DeletePods(f.Context(), name); err != nil {
					f.Fatal(err)
				}
			}
		}
		at := time.Now()
		f.wait("no score of a namespace without pods", quiet, func() error {
			metrics, err := f.leader().Metrics()
			if err != nil {
				return err
			}
			for name := range metrics.Scores().Namespaces {
				if slices.Contains(names, name) {
					return fmt.Errorf("%s has scores", name)
				}
			}
			return nil
		})
		f.recovered(time.Since(at), quiet)
	}},
	{number: 30, name: "one name deleted and created 500 times", demand: "counts exact", trials: 1, still: true, trial: func(f *fixture) {
		for i := range 500 {
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
		f.recompute(quiet)
		f.recovered(time.Since(at), quiet)
	}},
	{number: 31, name: "10,000 and 50,000 pods", demand: "ready ≤ 30 and 150 s", cannot: "the size of a cluster is a matter of the benches"},
	{number: 33, name: "policy swapped ten times a second, 8 files", demand: "no scrape of two policies; the last one on both ≤ 5 s", trials: 1, fresh: true, still: true, args: []string{"--policy=mount/table.yaml"}, trial: func(f *fixture) {
		good := f.defaultPolicy()
		f.mountPolicy(good)
		f.pair()
		began, seen := time.Now(), map[string]bool{}
		for i := 0; time.Since(began) < max(20*time.Second, f.lease.of(60*time.Second)); i++ {
			f.mountPolicy(generation(good, i%8))
			f.pass(100 * time.Millisecond)
			seen[f.oneGeneration()] = true
		}
		if len(seen) < 3 {
			f.Errorf("only %d policies were seen in force", len(seen))
		}
		f.mountPolicy(good)
		last := time.Now()
		f.wait("the last policy is in force on both", 5*time.Second, func() error {
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
	{number: 34, name: "policy changed at the moment of a failover", demand: "the scores are of the policy that is told", trials: 2, fresh: true, still: true, args: []string{"--policy=mount/table.yaml"}, trial: func(f *fixture) {
		good := f.defaultPolicy()
		f.mountPolicy(good)
		f.pair()
		leader, standby := f.leader(), f.standby()
		f.mountPolicy(generation(good, 5))
		f.kill(leader)
		f.publishes(time.Now(), f.lease.takeover(), standby)
		if got := f.oneGeneration(); got != "5" {
			f.Errorf("the policy in force is %q, want the new one", got)
		}
		f.mountPolicy(good)
		f.wait("the first policy is in force again", 5*time.Second, f.differs)
	}},
	{number: 35, name: "file descriptors exhausted by connections", demand: "no restart; Lease kept; probes answered ≤ 10 s", trials: 1, fresh: true, trial: func(f *fixture) {
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
		leader, at := f.slots[0], time.Now()
		stop := f.slowClients(leader, 200)
		f.pass(3 * time.Second)
		stop()
		f.wait("a probe is answered", 10*time.Second, func() error { return ready(leader) })
		f.recovered(time.Since(at), 15*time.Second)
		f.silent(f.slots[1], at)
	}},
	{number: 37, heavy: true, name: "10,000 connections for /metrics", demand: "resident memory + ≤ 64 MiB; /healthz p99 ≤ 100 ms; Lease kept", trials: 1, trial: func(f *fixture) {
		leader, standby := f.leader(), f.standby()
		before, err := leader.value("process_resident_memory_bytes")
		if err != nil {
			f.Fatal(err)
		}
		at := time.Now()
		stop, most, p99 := f.flood(leader, 10000)
		defer stop()
		if most > before+64<<20 {
			f.Errorf("resident memory %.0f MiB, before %.0f MiB", most/(1<<20), before/(1<<20))
		}
		f.recovered(p99, 100*time.Millisecond)
		f.silent(standby, at)
	}},
	{number: 38, heavy: true, name: "leader with 5 % of a processor for a minute", demand: "no double publish; one publishes ≤ 30 s afterwards", trials: 1, trial: func(f *fixture) {
		leader := f.leader()
		free := f.starve(leader)
		f.pass(max(20*time.Second, f.lease.of(60*time.Second)))
		free()
		f.publishes(time.Now(), 30*time.Second, f.slots[:]...)
	}},
	{number: 40, name: "bad recordings", demand: "exit 2 and the place", cannot: "it needs no cluster; held by the tests and fuzz targets of agent/dump (TestEveryPrefix, TestEveryByteBroken, TestMemoryDoesNotGrowWithTheRecording)"},
	{number: 41, name: "soak", demand: "no double publish; flat", cannot: "a run of its own: make soak"},
}

// gap is the longest time since a moment in which no scrape of some replicas published.
func (f *fixture) gap(since time.Time, some ...*replica) time.Duration {
	at := []time.Time{time.Now()}
	for _, r := range some {
		for _, s := range r.heard() {
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

// caughtUp changes a pod, as soon as that can be done, and waits until the scores show it.
func (f *fixture) caughtUp(bound time.Duration) {
	f.Helper()
	at := time.Now()
	f.wait("a pod can be made", bound, f.makePod)
	f.recompute(bound)
	f.recovered(time.Since(at), bound)
}

func (f *fixture) makePod() error {
	return f.CreatePods(f.Context(), cluster.NewPod(f.namespaces[0], fmt.Sprint("pod-", rand.Int()), cluster.Bad))
}

// onePodMore makes a pod that changes the scores.
func (f *fixture) onePodMore() {
	f.Helper()
	if err := f.makePod(); err != nil {
		f.Fatal(err)
	}
}

// rewatch lets a replica begin a new watch of the pods.
func (f *fixture) rewatch(r *replica) {
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
	f.pass(500 * time.Millisecond) // its answer has begun
}

// tokenFile makes the agents read their token from a file, and returns the token.
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

// rotate puts a new token into the file.
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

// generation is the policy with checks of other names.
func generation(policy string, n int) string {
	return strings.NewReplacer("latest_tag", fmt.Sprint("latest_tag", n), "missing_liveness", fmt.Sprint("missing_liveness", n),
		"missing_readiness", fmt.Sprint("missing_readiness", n)).Replace(policy)
}

// oneGeneration scrapes who publishes, and returns the generation that all its series are of.
func (f *fixture) oneGeneration() string {
	f.Helper()
	var which []string
	for _, r := range f.slots {
		if !r.leads() {
			continue
		}
		metrics, err := r.Metrics()
		if err != nil {
			f.Fatal(err)
		}
		for _, n := range metrics.Scores().Namespaces {
			for check := range n.Violations {
				which = append(which, strings.TrimLeft(check, "abcdefghijklmnopqrstuvwxyz_"))
			}
		}
	}
	slices.Sort(which)
	if which = slices.Compact(which); len(which) > 1 {
		f.Fatalf("one scrape has series of the policies %q", which)
	}
	return strings.Join(which, "")
}

// flood opens so many connections that ask for metrics, and again when they are closed, and asks for /healthz meanwhile.
func (f *fixture) flood(r *replica, n int) (stop func(), most float64, p99 time.Duration) {
	f.Helper()
	ctx, cancel := context.WithCancel(f.Context())
	var running sync.WaitGroup
	var opened atomic.Int64
	request := []byte("GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n")
	dialer := net.Dialer{Timeout: 30 * time.Second}
	// All in the same moment would be more than the kernel keeps for any listener.
	begun := time.Now()
	for i := range n {
		running.Go(func() {
			f.pass(time.Until(begun.Add(time.Duration(i) * 5 * time.Second / time.Duration(n))))
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
			<-ctx.Done() // one that was sent away does not come again
		})
	}
	var took []time.Duration
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}} // as a kubelet
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
		f.pass(20 * time.Millisecond)
	}
	if opened.Load() < int64(n)*9/10 {
		f.Errorf("only %d of %d connections were opened", opened.Load(), n)
	}
	slices.Sort(took)
	return func() { cancel(); running.Wait() }, most, took[(len(took)*99+99)/100-1]
}

// starve gives a process 5 % of a processor, until the returned func is called.
func (f *fixture) starve(r *replica) (free func()) {
	f.Helper()
	group := filepath.Join("/sys/fs/cgroup/cpu", "kube-devops-"+f.account.Name)
	if err := os.Mkdir(group, 0o755); err != nil {
		f.skip("no processor group can be made: %v", err)
	}
	write := func(folder, file, text string) {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	write(group, "cpu.cfs_quota_us", "5000")
	pid := strconv.Itoa(r.PID())
	write(group, "cgroup.procs", pid)
	free = sync.OnceFunc(func() {
		write(filepath.Dir(group), "cgroup.procs", pid)
		_ = os.Remove(group)
	})
	f.Cleanup(free)
	return free
}
