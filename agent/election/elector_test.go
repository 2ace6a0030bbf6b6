package election

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// logTo observes what an elector logs at Info and above.
func logTo(logs **observer.ObservedLogs) func(o *Options) {
	return func(o *Options) {
		core, observed := observer.New(zapcore.InfoLevel)
		o.Log, *logs = zap.New(core), observed
	}
}

// lines renders the log: level, message, and all fields except those of every line.
func lines(logs *observer.ObservedLogs) []string {
	var lines []string
	for _, entry := range logs.All() {
		line := entry.Level.String() + " " + entry.Message
		fields := entry.ContextMap()
		keys := make([]string, 0, len(fields))
		for key := range fields {
			if key != "lease" && key != "identity" && key != "lock" {
				keys = append(keys, key)
			}
		}
		slices.Sort(keys)
		for _, key := range keys {
			line += fmt.Sprintf(" %s=%v", key, fields[key])
		}
		lines = append(lines, line)
	}
	return lines
}

// Each transition of two replicas is logged with one line, and nothing else is.
func TestElectorLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.close()
		var logsA, logsB *observer.ObservedLogs
		a := c.start("a", logTo(&logsA))
		<-time.After(20 * time.Second)
		b := c.start("b", logTo(&logsB))
		<-time.After(5 * time.Second)
		a.clock.set(func(c *skewedClock) { c.step = -time.Minute })
		<-time.After(5 * time.Second)
		editHolder("b")(c, a, b)
		<-time.After(30 * time.Second)
		b.stop()
		<-b.ended
		<-time.After(5 * time.Second)
		c.kill(a)

		wantA := []string{
			"info lease acquired epoch=0",
			"info gate opened epoch=0",
			"warn gate closed epoch=0 reason=the wall clock and the monotonic clock disagree since the last renewal",
			"info gate opened epoch=0",
			"info another leader seen epoch=0 leader=b",
			"warn lease lost epoch=0 leader=b reason=another replica holds the lease",
			"info lease acquired epoch=1",
			"info gate opened epoch=1",
		}
		// This is client-go's: its last try ends with the renew deadline.
		gotA := slices.DeleteFunc(lines(logsA), func(line string) bool {
			return line == "error Error retrieving lease lock error=context deadline exceeded"
		})
		if diff := cmp.Diff(wantA, gotA); diff != "" {
			t.Errorf("log of a (-want +got):\n%s", diff)
		}
		wantB := []string{
			"info another leader seen epoch=0 leader=a",
			"info lease acquired epoch=0",
			"info gate opened epoch=0",
			"info lease released",
		}
		if diff := cmp.Diff(wantB, lines(logsB)); diff != "" {
			t.Errorf("log of b (-want +got):\n%s", diff)
		}
	})
}

// While the API server cannot be reached, each try is logged once with its reason.
func TestElectorLogsEachTryOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.close()
		var logs *observer.ObservedLogs
		a := c.start("a", logTo(&logs))
		<-time.After(20 * time.Second)
		a.client.set(func(f *faults) { f.refused = true })
		logs.TakeAll()
		before := len(a.client.made())
		<-time.After(10 * time.Minute)
		want := map[string]int{
			"error Error retrieving lease lock error=connection refused":                0,
			"warn lease lost epoch=0 leader=a reason=the lease was not renewed in time": 1,
		}
		got := map[string]int{}
		for _, line := range lines(logs) {
			got[line]++
		}
		gets := 0
		for _, call := range a.client.made()[before:] {
			if call.verb == "get" {
				gets++
			}
		}
		want["error Error retrieving lease lock error=connection refused"] = gets
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
		if perMinute := gets / 10; perMinute > 30 {
			t.Errorf("%d tries a minute", perMinute)
		}
	})
}

// The work of a term begins when the term may publish, ends with it, and does not overlap that of the next term.
func TestElectorLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.close()
		var mu sync.Mutex
		var spans []string
		a := c.start("a", func(o *Options) {
			o.Lead = func(ctx context.Context) {
				from := time.Since(c.began).Round(time.Second)
				<-ctx.Done()
				ended := time.Since(c.began).Round(time.Second)
				<-time.After(500 * time.Millisecond) // to finish
				mu.Lock()
				defer mu.Unlock()
				spans = append(spans, fmt.Sprintf("%s-%s", from, ended))
			}
		})
		<-time.After(30 * time.Second)
		a.client.set(func(f *faults) { f.cut = true })
		<-time.After(30 * time.Second)
		a.client.heal()
		<-time.After(10 * time.Second)
		c.store.Delete()
		<-time.After(30 * time.Second)
		a.stop()
		<-a.ended
		if len(spans) != 3 || spans[0] != "15s-41s" && spans[0] != "15s-43s" {
			t.Errorf("terms %v, want three, and the first from 15s to 13s after the last of the renewals each 2s", spans)
		}
		c.check()
	})
}

// A stop ends in time whatever else fails, and releases the Lease only if it is ours and idle.
func TestElectorStop(t *testing.T) {
	type result struct {
		Err      string
		Released bool
		Holder   string
	}
	tests := []struct {
		name   string
		wait   time.Duration // after the start; the term may publish after 15 s
		lead   func(ctx context.Context)
		do     func(t *testing.T, c *cluster, r *replica)
		want   result
		within time.Duration
	}{
		{name: "leader", wait: 20 * time.Second, want: result{Released: true}, within: 100 * time.Millisecond},
		{name: "before the term may publish", wait: 10 * time.Second, want: result{Holder: "a"}, within: 100 * time.Millisecond},
		{name: "before the first response", want: result{}, within: 3 * time.Second},
		{name: "standby", wait: 20 * time.Second, want: result{Holder: "b"}, within: 100 * time.Millisecond,
			do: func(_ *testing.T, c *cluster, _ *replica) {
				editHolder("b")(c, nil, nil)
				<-time.After(5 * time.Second)
			}},
		{name: "leader that has not seen its successor", wait: 20 * time.Second, want: result{Holder: "b"}, within: 100 * time.Millisecond,
			do: func(_ *testing.T, c *cluster, _ *replica) { editHolder("b")(c, nil, nil) }},
		{name: "API server unreachable", wait: 20 * time.Second, want: result{Holder: "a"}, within: 2100 * time.Millisecond,
			do: func(_ *testing.T, _ *cluster, r *replica) { r.client.set(func(f *faults) { f.cut = true }) }},
		{name: "API server unreachable for long", wait: 20 * time.Second, want: result{Holder: "a"}, within: 2100 * time.Millisecond,
			do: func(_ *testing.T, _ *cluster, r *replica) {
				r.client.set(func(f *faults) { f.cut = true })
				<-time.After(time.Minute)
			}},
		{name: "standby, API server unreachable", wait: 20 * time.Second, want: result{Holder: "b"}, within: 100 * time.Millisecond,
			do: func(_ *testing.T, c *cluster, r *replica) {
				editHolder("b")(c, nil, nil)
				<-time.After(5 * time.Second)
				r.client.set(func(f *faults) { f.cut = true })
			}},
		{name: "client call that does not return", wait: 20 * time.Second, want: result{Holder: "a"}, within: 1100 * time.Millisecond,
			do: func(_ *testing.T, c *cluster, r *replica) {
				thaw := make(chan struct{})
				r.client.set(func(f *faults) { f.frozen = thaw })
				c.watchers.Go(func() {
					<-time.After(10 * time.Second)
					close(thaw)
				})
				<-time.After(5 * time.Second)
			}},
		{name: "publication in flight", wait: 20 * time.Second, want: result{Released: true}, within: 3100 * time.Millisecond,
			do: func(t *testing.T, c *cluster, r *replica) {
				c.watchers.Go(func() {
					err := r.candidate.Publish(context.Background(), func(ctx context.Context) error {
						<-time.After(3 * time.Second)
						return ctx.Err()
					})
					if err != nil {
						t.Errorf("the last publication was cut short: %v", err)
					}
				})
			}},
		{name: "publication that ends with its context", wait: 20 * time.Second, want: result{Released: true}, within: 4100 * time.Millisecond,
			do: func(_ *testing.T, c *cluster, r *replica) {
				c.watchers.Go(func() {
					_ = r.candidate.Publish(context.Background(), func(ctx context.Context) error {
						<-ctx.Done()
						return ctx.Err()
					})
				})
			}},
		{name: "publication that is stuck", wait: 20 * time.Second, within: 5100 * time.Millisecond,
			want: result{Err: "run elector: a publication still runs 1s after its term has ended", Holder: "a"},
			do: func(_ *testing.T, c *cluster, r *replica) {
				c.watchers.Go(func() {
					_ = r.candidate.Publish(context.Background(), func(context.Context) error {
						<-time.After(time.Minute)
						return nil
					})
				})
			}},
		{name: "work that is stuck", wait: 20 * time.Second, within: 1100 * time.Millisecond,
			want: result{Err: "run elector: the leader's work still runs 1s after its term has ended", Holder: "a"},
			lead: func(context.Context) { <-time.After(time.Minute) }},
		{name: "work that has ended", wait: 20 * time.Second, want: result{Released: true}, within: 100 * time.Millisecond,
			lead: func(context.Context) {}},
		{name: "API server unreachable and publication that is stuck", wait: 20 * time.Second, within: 5100 * time.Millisecond,
			want: result{Err: "run elector: a publication still runs 1s after its term has ended", Holder: "a"},
			do: func(_ *testing.T, c *cluster, r *replica) {
				r.client.set(func(f *faults) { f.cut = true })
				c.watchers.Go(func() {
					_ = r.candidate.Publish(context.Background(), func(context.Context) error {
						<-time.After(time.Minute)
						return nil
					})
				})
			}},
		{name: "publication that is stuck when the lease runs out", wait: 20 * time.Second, within: 2500 * time.Millisecond,
			want: result{Err: "run elector: a publication still runs 1s after its term has ended", Holder: "a"},
			do: func(_ *testing.T, c *cluster, r *replica) {
				r.client.set(func(f *faults) { f.cut = true })
				c.watchers.Go(func() {
					_ = r.candidate.Publish(context.Background(), func(context.Context) error {
						<-time.After(time.Minute)
						return nil
					})
				})
				r.sleepAfterRenewal(12 * time.Second)
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				defer c.close()
				a := c.start("a", func(o *Options) {
					if tt.lead != nil {
						o.Lead = tt.lead
					}
				})
				<-time.After(tt.wait)
				if a.paused.Store(true); tt.wait > 0 {
					<-time.After(100 * time.Millisecond) // the cluster's own publications end
				}
				if tt.do != nil {
					tt.do(t, c, a)
					<-time.After(10 * time.Millisecond)
				}
				from := time.Now()
				a.stop()
				<-a.ended
				took := time.Since(from)
				var got result
				if a.err != nil {
					got.Err = a.err.Error()
				}
				if lease, err := c.store.Get(); err == nil {
					got.Released, got.Holder = released(lease), holder(lease)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("stop (-want +got):\n%s", diff)
				}
				if took > tt.within {
					t.Errorf("stopped after %s, want %s", took, tt.within)
				}
				if !a.disconnected.Load() {
					t.Error("the connections of the client are left")
				}
				var refused *NotLeaderError
				if err := a.candidate.Publish(t.Context(), nil); !errors.As(err, &refused) {
					t.Errorf("after the stop Publish returns %v", err)
				}
			})
		})
	}
}

// Guarded work that does not end with its term makes the process exit before another replica can lead.
func TestElectorMustExit(t *testing.T) {
	stuck := func(context.Context) error {
		<-time.After(5 * time.Minute)
		return nil
	}
	publishStuck := func(c *cluster, r *replica) {
		c.watchers.Go(func() { _ = r.candidate.Publish(context.Background(), stuck) })
	}
	tests := []struct {
		name string
		lead func(ctx context.Context)
		do   func(c *cluster, r *replica)
		want string
		// within bounds the time from the end of the term, which for a cut is 13 s after the last renewal.
		within time.Duration
	}{
		{"publication stuck, cut off", nil, func(c *cluster, r *replica) {
			publishStuck(c, r)
			r.client.set(func(f *faults) { f.cut = true })
			r.sleepAfterRenewal(13 * time.Second)
		}, "run elector: a publication still runs 2s after its term has ended", 2100 * time.Millisecond},
		{"publication stuck, lease deleted", nil, func(c *cluster, r *replica) {
			publishStuck(c, r)
			<-time.After(time.Second)
			c.store.Delete()
		}, "run elector: a publication still runs 5s after its term has ended", 7100 * time.Millisecond},
		{"work stuck, lease edited", func(context.Context) { <-time.After(5 * time.Minute) }, func(c *cluster, r *replica) {
			editHolder("b")(c, nil, nil)
		}, "run elector: the leader's work still runs 5s after its term has ended", 7100 * time.Millisecond},
		{"elector dies", nil, func(_ *cluster, r *replica) {
			r.client.set(func(f *faults) { f.panics = true })
		}, "run elector: client-go's elector has died: a bug in the client", 2100 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				defer c.close()
				a := c.start("a", func(o *Options) {
					if tt.lead != nil {
						o.Lead = tt.lead
					}
				})
				<-time.After(time.Second)
				b := c.start("b")
				<-time.After(19 * time.Second)
				tt.do(c, a)
				from := time.Now()
				<-a.ended
				a.dead.Store(true)
				if took := time.Since(from); took > tt.within {
					t.Errorf("Run returned after %s, want %s", took, tt.within)
				}
				if a.err == nil || a.err.Error() != tt.want {
					t.Errorf("Run returned %v, want %s", a.err, tt.want)
				}
				if b.candidate.Valid() {
					t.Error("another replica may publish before the process has ended")
				}
				if recovery, err := c.settle(40 * time.Second); err != nil || recovery > 24*time.Second {
					t.Errorf("published again after %s: %v", recovery, err)
				}
				c.check()
			})
		})
	}
}

// Of two processes with one identity one exits with a reason, and the other goes on.
func TestElectorSameIdentity(t *testing.T) {
	for _, after := range []time.Duration{0, time.Millisecond, 20 * time.Second} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				defer c.close()
				one := c.start("a")
				<-time.After(after)
				two := c.start("a")
				<-time.After(10 * time.Second)
				var errs []string
				for _, r := range []*replica{one, two} {
					select {
					case <-r.ended:
						errs = append(errs, r.err.Error())
					default:
					}
				}
				want := []string{`run elector: another process writes the lease default/kube-devops-leader as "a": each process needs an identity of its own`}
				if diff := cmp.Diff(want, errs); diff != "" {
					t.Errorf("errors (-want +got):\n%s", diff)
				}
				if recovery, err := c.settle(60 * time.Second); err != nil || recovery > 15*time.Second {
					t.Errorf("published again after %s: %v", recovery, err)
				}
				c.check()
			})
		})
	}
}

// If replicas start together, one publishes. If all are replaced one by one, the gap is short.
func TestElectorRollout(t *testing.T) {
	trials := 25
	if testing.Short() {
		trials = 8
	}
	for trial := range trials {
		synctest.Test(t, func(t *testing.T) {
			c := newTrial(t, trial)
			defer c.close()
			old := []*replica{c.start("a"), c.start("b")}
			if recovery, err := c.settle(30 * time.Second); err != nil || recovery > 20*time.Second {
				t.Fatalf("trial %d: published after %s: %v", trial, recovery, err)
			}
			c.forgive()
			for i, r := range old {
				c.start(fmt.Sprintf("new-%d", i))
				<-time.After(3 * time.Second)
				r.stop()
				<-r.ended
			}
			recovery, err := c.settle(30 * time.Second)
			if _, gap := c.found(); err != nil || recovery > 5*time.Second || gap > 5*time.Second {
				t.Errorf("trial %d: published %s after the replacement, gap %s: %v", trial, recovery, gap, err)
			}
			c.check()
		})
	}
}

// A takeover, from its cause to the successor's first publication, ends in time.
func TestElectorTakeover(t *testing.T) {
	trials := 20
	if testing.Short() {
		trials = 7
	}
	tests := []struct {
		name  string
		cause func(c *cluster, r *replica)
		bound time.Duration
	}{
		{"graceful", func(_ *cluster, r *replica) { r.stop() }, 5 * time.Second},
		{"killed", func(c *cluster, r *replica) { c.kill(r) }, 24 * time.Second},
		{"cut off", func(_ *cluster, r *replica) { r.client.set(func(f *faults) { f.cut = true }) }, 24 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var times []time.Duration
			for trial := range trials {
				synctest.Test(t, func(t *testing.T) {
					c := newTrial(t, trial)
					defer c.close()
					a := c.start("a")
					<-time.After(20 * time.Second)
					b := c.start("b")
					<-time.After(5*time.Second + c.random.duration(2*time.Second))
					from := time.Now()
					tt.cause(c, a)
					if _, err := c.settle(40 * time.Second); err != nil {
						t.Error(err)
					}
					times = append(times, b.first.Sub(from))
					c.check()
				})
			}
			slices.Sort(times)
			t.Logf("takeover: median %s, from %s to %s, bound %s", times[trials/2].Round(10*time.Millisecond),
				times[0].Round(10*time.Millisecond), times[trials-1].Round(10*time.Millisecond), tt.bound)
			if times[0] <= 0 || times[trials-1] > tt.bound {
				t.Errorf("takeovers from %s to %s, want up to %s", times[0], times[trials-1], tt.bound)
			}
		})
	}
}

func TestElectorPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.close()
		a := c.start("a")
		a.paused.Store(true)
		e := a.elector
		publish := func() string {
			err := e.Publish(t.Context(), func(context.Context) error { return errors.New("from the publisher") })
			return err.Error()
		}
		var got []string
		got = append(got, publish())
		<-time.After(10 * time.Second)
		got = append(got, publish())
		<-time.After(10 * time.Second)
		got = append(got, publish())
		editHolder("b")(c, nil, nil)
		<-time.After(5 * time.Second)
		got = append(got, publish())
		a.stop()
		<-a.ended
		got = append(got, publish())
		want := []string{
			"may not publish: this replica does not hold the lease; no leader is known",
			"may not publish: this replica holds the lease and publishes in 5s; until then an earlier leader may still publish; the leader is a",
			"from the publisher",
			"may not publish: this replica does not hold the lease; the leader is b",
			"may not publish: this replica does not hold the lease; the leader is b",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Publish (-want +got):\n%s", diff)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.Publish(ctx, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Publish with a context that is over returns %v", err)
		}
		if err := e.Run(t.Context()); err == nil || err.Error() != "run elector: it runs only once" {
			t.Errorf("a second Run returns %v", err)
		}
	})
}

// The next read shows the loss of the Lease and cancels the publication in flight.
func TestElectorPublicationEndsWithTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.close()
		a := c.start("a")
		a.paused.Store(true)
		<-time.After(20 * time.Second)
		var took time.Duration
		err := a.elector.Publish(t.Context(), func(ctx context.Context) error {
			from := time.Now()
			c.store.Edit(func(lease *coordinationv1.Lease) { lease.Spec.LeaseDurationSeconds = new(int32(1)) })
			<-ctx.Done()
			took = time.Since(from)
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) || took > 2100*time.Millisecond {
			t.Errorf("the publication ended after %s with %v", took, err)
		}
	})
}

func TestNewOptionErrors(t *testing.T) {
	tests := []struct {
		name   string
		change func(o *Options)
		want   string
	}{
		{"several errors", func(o *Options) { o.Name, o.RetryPeriod = "", 0 }, "--lease-name: must not be empty\n--retry-period 0s: must be greater than 0s"},
		{"no work", func(o *Options) { o.Lead = nil }, "create elector: Log, Registerer and Lead must be set"},
		{"no log", func(o *Options) { o.Log = nil }, "create elector: Log, Registerer and Lead must be set"},
		{"no registry", func(o *Options) { o.Registerer = nil }, "create elector: Log, Registerer and Lead must be set"},
		{"registry that has our metrics", func(o *Options) {
			reg := prometheus.NewRegistry()
			if err := registerMetrics(reg, nil, nil); err != nil {
				panic(err)
			}
			o.Registerer = reg
		}, "register election metrics: duplicate metrics collector registration attempted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := testOptions("a")
			tt.change(&o)
			_, err := newWithClient(&faultyClient{store: &fakeapi.Leases{}}, func() {}, systemClock(), o)
			if err == nil || strings.TrimSpace(err.Error()) != tt.want {
				t.Errorf("New returns %v, want %s", err, tt.want)
			}
		})
	}
}
