package election

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"pgregory.net/rapid"
)

// A fault is a row of the fault matrix, injected into a cluster in which a leads and b stands by.
type fault struct {
	row    int // in deploy/RELIABILITY.md
	name   string
	inject func(c *cluster, a, b *replica)
	// recovers limits the time from the return of inject until a replica publishes without interruption.
	recovers time.Duration
	// naive: a replica that trusts client-go's IsLeader fails here.
	naive bool
}

var lateAnswers = []time.Duration{time.Second, 3 * time.Second, 4800 * time.Millisecond, 9 * time.Second}

func faultTable() []fault {
	table := []fault{
		{row: 1, name: "leader killed", recovers: 24 * time.Second, inject: func(c *cluster, a, _ *replica) {
			c.kill(a)
		}},
		{row: 2, name: "leader stopped", recovers: 5 * time.Second, inject: func(_ *cluster, a, _ *replica) {
			a.stop()
			<-a.ended
		}},
		{row: 4, name: "leader cut off", recovers: 24 * time.Second, inject: func(_ *cluster, a, _ *replica) {
			a.client.set(func(f *faults) { f.cut = true })
			<-time.After(14 * time.Second) // a may publish in these
		}, naive: true},
		{row: 4, name: "leader cut off and healed", recovers: 24 * time.Second, inject: func(c *cluster, a, _ *replica) {
			a.client.set(func(f *faults) { f.cut = true })
			<-time.After(c.random.duration(30 * time.Second))
			a.client.heal()
		}},
		{row: 4, name: "both cut off and healed", recovers: 10 * time.Second, inject: func(_ *cluster, a, b *replica) {
			a.client.set(func(f *faults) { f.refused = true })
			b.client.set(func(f *faults) { f.refused = true })
			<-time.After(60 * time.Second)
			a.client.heal()
			b.client.heal()
		}},
		{row: 5, name: "requests carried out late, then cut", recovers: 40 * time.Second, inject: func(c *cluster, a, _ *replica) {
			a.client.set(func(f *faults) { f.sendDelay = c.random.duration(20 * time.Second) })
			<-time.After(c.random.duration(8 * time.Second))
			a.client.set(func(f *faults) { f.cut = true })
			<-time.After(14 * time.Second)
		}},
		{row: 5, name: "answers lost", recovers: 24 * time.Second, inject: func(c *cluster, a, _ *replica) {
			a.client.set(func(f *faults) { f.loseAnswers = true })
			<-time.After(c.random.duration(30 * time.Second))
			a.client.heal()
		}},
		{row: 5, name: "answers lost, then cut", recovers: 40 * time.Second, inject: func(c *cluster, a, _ *replica) {
			a.client.set(func(f *faults) { f.loseAnswers = true })
			<-time.After(c.random.duration(4 * time.Second))
			a.client.set(func(f *faults) { f.cut = true })
			<-time.After(14 * time.Second)
		}},
		{row: 6, name: "holder edited to the standby", recovers: 45 * time.Second, inject: editHolder("b"), naive: true},
		{row: 6, name: "holder edited to the standby, leader cut off", recovers: 45 * time.Second, inject: cutAnd(editHolder("b")), naive: true},
		{row: 6, name: "holder edited to an unknown name", recovers: 45 * time.Second, inject: editHolder("x")},
		{row: 6, name: "holder removed", recovers: 45 * time.Second, inject: editHolder("")},
		{row: 6, name: "holder removed, leader cut off", recovers: 45 * time.Second, inject: cutAnd(editHolder("")), naive: true},
		{row: 6, name: "holder edited to the standby and back", recovers: 45 * time.Second, inject: func(c *cluster, a, b *replica) {
			editHolder("b")(c, a, b)
			<-time.After(c.random.duration(6 * time.Second))
			editHolder("a")(c, a, b)
		}},
		{row: 6, name: "duration edited to 1 s", recovers: 45 * time.Second, inject: editDuration(1)},
		{row: 6, name: "duration edited to 1 s, leader cut off", recovers: 45 * time.Second, inject: cutAnd(editDuration(1)), naive: true},
		{row: 6, name: "duration edited to a day", recovers: 45 * time.Second, inject: editDuration(86400)},
		{row: 6, name: "duration edited to a day, leader killed", recovers: 45 * time.Second, inject: func(c *cluster, a, b *replica) {
			c.kill(a)
			editDuration(86400)(c, a, b)
		}},
		{row: 6, name: "released by hand, leader cut off", recovers: 45 * time.Second, naive: true, inject: cutAnd(func(c *cluster, _, _ *replica) {
			c.store.Edit(func(lease *coordinationv1.Lease) {
				lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = nil, new(int32(1))
			})
		})},
		{row: 6, name: "label added", recovers: time.Second, inject: func(c *cluster, _, _ *replica) {
			c.store.Edit(func(lease *coordinationv1.Lease) { lease.Labels = map[string]string{"team": "platform"} })
		}},
		{row: 6, name: "standby named by hand, then stopped", recovers: 45 * time.Second, inject: cutAnd(func(c *cluster, a, b *replica) {
			editHolder("b")(c, a, b)
			<-time.After(5 * time.Second)
			c.start("c")
			b.stop()
		})},
		{row: 7, name: "lease deleted", recovers: 35 * time.Second, inject: func(c *cluster, _, _ *replica) { c.store.Delete() }},
		{row: 7, name: "lease deleted, leader cut off for a while", recovers: 35 * time.Second, naive: true, inject: func(c *cluster, a, _ *replica) {
			a.client.set(func(f *faults) { f.cut = true })
			c.store.Delete()
			<-time.After(6 * time.Second)
			a.client.heal()
		}},
		{row: 7, name: "lease deleted each second", recovers: 35 * time.Second, inject: func(c *cluster, _, _ *replica) {
			for range 60 {
				c.store.Delete()
				<-time.After(time.Second)
			}
		}},
		{row: 11, name: "flapping network", recovers: 24 * time.Second, inject: func(c *cluster, a, b *replica) {
			for range 30 {
				victims := [][]*replica{{a}, {b}, {a, b}}[c.random.intN(3)]
				for _, r := range victims {
					r.client.set(func(f *faults) { f.cut = true })
				}
				<-time.After(2*time.Second + c.random.duration(18*time.Second))
				for _, r := range victims {
					r.client.heal()
				}
				<-time.After(c.random.duration(5 * time.Second))
			}
		}},
		{row: 15, name: "leader's machine suspended", recovers: 24 * time.Second, inject: func(c *cluster, a, _ *replica) {
			a.suspend(c.random.duration(60 * time.Second))
		}},
		{row: 15, name: "standby's machine suspended", recovers: time.Second, inject: func(_ *cluster, _, b *replica) {
			b.suspend(60 * time.Second)
		}},
		{row: 15, name: "clocks of different rates, leader cut off", recovers: 24 * time.Second, inject: func(_ *cluster, a, b *replica) {
			a.clock.set(func(c *skewedClock) { c.rate = 0.99 })
			b.clock.set(func(c *skewedClock) { c.rate = 1.01 })
			<-time.After(4 * time.Second)
			a.client.set(func(f *faults) { f.cut = true })
			<-time.After(14 * time.Second)
		}},
	}
	for _, d := range []time.Duration{5 * time.Second, 14 * time.Second, 30 * time.Second, 120 * time.Second} {
		table = append(table, fault{row: 3, name: fmt.Sprintf("leader frozen for %s", d), recovers: 24 * time.Second, inject: func(_ *cluster, a, _ *replica) {
			a.freeze(d)
		}})
	}
	for _, d := range lateAnswers {
		table = append(table, fault{row: 5, name: fmt.Sprintf("answers %s late, then cut", d), recovers: 30 * time.Second, naive: d > 3*time.Second && d < 5*time.Second, inject: func(c *cluster, a, _ *replica) {
			a.client.set(func(f *faults) { f.answerDelay = d })
			<-time.After(4*time.Second + c.random.duration(6*time.Second))
			a.client.set(func(f *faults) { f.cut = true })
			<-time.After(14 * time.Second)
		}})
	}
	for code, err := range map[int]error{
		403: apierrors.NewForbidden(leaseResource, "lease", errors.New("no")),
		429: apierrors.NewTooManyRequestsError("slow down"),
		500: apierrors.NewInternalError(errors.New("etcd is gone")),
	} {
		table = append(table, fault{row: 9, name: fmt.Sprintf("lease writes answered with %d", code), recovers: 25 * time.Second, inject: func(c *cluster, a, b *replica) {
			for _, r := range []*replica{a, b} {
				r.client.set(func(f *faults) { f.fail = map[string]error{"update": err, "create": err} })
			}
			<-time.After(14 * time.Second)
			for range 46 {
				if a.candidate.Valid() || b.candidate.Valid() {
					c.note("row 9: published without a renewal for 13 s")
				}
				<-time.After(time.Second)
			}
			a.client.heal()
			b.client.heal()
		}})
	}
	for _, d := range []time.Duration{-time.Hour, -10 * time.Minute, -5 * time.Second, 5 * time.Second, 10 * time.Minute, time.Hour} {
		table = append(table, fault{row: 14, name: fmt.Sprintf("wall clock set by %s", d), recovers: 3 * time.Second, inject: func(c *cluster, a, _ *replica) {
			before, _ := c.store.Get()
			a.clock.set(func(c *skewedClock) { c.step = d })
			if a.candidate.Valid() {
				c.note("the gate is open though the clocks disagree")
			}
			<-time.After(3 * time.Second)
			if !a.candidate.Valid() || !c.held(before) {
				c.note("the gate is still closed after a renewal, or the lease changed hands")
			}
		}})
	}
	slices.SortStableFunc(table, func(x, y fault) int { return x.row - y.row })
	return table
}

// held reports whether the Lease has not changed hands since.
func (c *cluster) held(before *coordinationv1.Lease) bool {
	lease, err := c.store.Get()
	return err == nil && holder(lease) == holder(before) && epoch(lease) == epoch(before)
}

func editHolder(name string) func(c *cluster, a, b *replica) {
	return func(c *cluster, _, _ *replica) {
		c.store.Edit(func(lease *coordinationv1.Lease) { lease.Spec.HolderIdentity = &name })
	}
}

func editDuration(seconds int32) func(c *cluster, a, b *replica) {
	return func(c *cluster, _, _ *replica) {
		c.store.Edit(func(lease *coordinationv1.Lease) { lease.Spec.LeaseDurationSeconds = &seconds })
	}
}

// cutAnd injects a fault while the leader is cut off; it returns when the leader's time is over.
func cutAnd(inject func(c *cluster, a, b *replica)) func(c *cluster, a, b *replica) {
	return func(c *cluster, a, b *replica) {
		a.client.set(func(f *faults) { f.cut = true })
		inject(c, a, b)
		<-time.After(14 * time.Second)
	}
}

// suspend stops a machine as a hypervisor does: only the wall clock has gone on when it wakes.
func (r *replica) suspend(d time.Duration) {
	r.clock.set(func(c *skewedClock) { c.suspended += d; c.step += d })
	r.freeze(d)
}

// freeze stops a process as SIGSTOP does, as seen from outside.
func (r *replica) freeze(d time.Duration) {
	thaw := make(chan struct{})
	r.paused.Store(true)
	r.client.set(func(f *faults) { f.frozen = thaw })
	<-time.After(d)
	r.client.heal()
	close(thaw)
	r.paused.Store(false)
}

// An outcome is the result of a trial.
type outcome struct {
	recovery  time.Duration // from the end of the fault until a replica published without interruption
	gap       time.Duration // the longest time without a publication, from the start of the fault
	doubles   []string
	permitted time.Duration // in which two replicas were permitted to publish
	failures  []string
}

// try runs one trial of a fault in a cluster of its own.
func try(t *testing.T, trial int, f fault, start func(c *cluster, name string) *replica) outcome {
	var o outcome
	synctest.Test(t, func(t *testing.T) {
		c := newTrial(t, trial)
		defer func() {
			c.close()
			for _, r := range c.all() {
				if r.err != nil {
					o.failures = append(o.failures, fmt.Sprintf("%s: %v", r.name, r.err))
				}
			}
			o.doubles, o.permitted, o.gap = c.doubles, c.permitted, c.gap
		}()
		a := start(c, "a")
		<-time.After(20 * time.Second)
		b := start(c, "b")
		<-time.After(5*time.Second + c.random.duration(5*time.Second))
		c.forgive()
		f.inject(c, a, b)
		var err error
		if o.recovery, err = c.settle(50 * time.Second); err != nil {
			o.failures = append(o.failures, err.Error())
		}
	})
	return o
}

func startGated(c *cluster, name string) *replica { return c.start(name) }

func startNaive(c *cluster, name string) *replica { return c.startNaive(name) }

// With each fault no two replicas publish at the same moment, and one publishes again in time.
func TestFaults(t *testing.T) {
	trials := 3
	if testing.Short() {
		trials = 1
	}
	for _, f := range faultTable() {
		t.Run(fmt.Sprintf("%d %s", f.row, f.name), func(t *testing.T) {
			t.Parallel()
			var recoveries, gaps []time.Duration
			for trial := range trials {
				o := try(t, trial, f, startGated)
				if len(o.doubles)+len(o.failures) > 0 || o.permitted > 0 {
					t.Fatalf("two were permitted for %s\n%s", o.permitted, strings.Join(append(o.doubles, o.failures...), "\n"))
				}
				if o.recovery > f.recovers {
					t.Errorf("published after %s, more than %s", o.recovery, f.recovers)
				}
				recoveries, gaps = append(recoveries, o.recovery), append(gaps, o.gap)
			}
			slices.Sort(recoveries)
			slices.Sort(gaps)
			t.Logf("published again %s after the fault (median; at most %s, bound %s); no publication for %s (at most %s)",
				recoveries[trials/2].Round(10*time.Millisecond), recoveries[trials-1].Round(10*time.Millisecond), f.recovers,
				gaps[trials/2].Round(10*time.Millisecond), gaps[trials-1].Round(10*time.Millisecond))
		})
	}
}

// The same faults and oracles find the double publication of replicas that trust client-go's IsLeader.
func TestFaultsFindNaiveGate(t *testing.T) {
	const trials = 200 // at the most; some faults need luck
	for _, f := range faultTable() {
		if !f.naive {
			continue
		}
		t.Run(fmt.Sprintf("%d %s", f.row, f.name), func(t *testing.T) {
			t.Parallel()
			for trial := range trials {
				if o := try(t, trial, f, startNaive); o.permitted > 0 {
					t.Logf("trial %d: two were permitted for %s", trial+1, o.permitted)
					return
				}
			}
			t.Fatal("no two replicas were permitted to publish: the oracle or the fault does nothing")
		})
	}
}

// A step of a random schedule.
type step struct {
	After  time.Duration
	Kind   string
	Target int
	For    time.Duration
}

func drawStep(t *rapid.T) step {
	return step{
		After: time.Duration(rapid.IntRange(0, 8000).Draw(t, "after ms")) * time.Millisecond,
		Kind: rapid.SampledFrom([]string{
			"cut", "refuse", "late answers", "late requests", "lose answers", "forbid writes", "freeze", "suspend", "set wall clock",
			"delete", "name a", "name b", "name c", "name x", "remove holder", "shorten", "lengthen", "label", "restart",
		}).Draw(t, "kind"),
		Target: rapid.IntRange(0, 2).Draw(t, "target"),
		For:    time.Duration(rapid.IntRange(100, 20000).Draw(t, "for ms")) * time.Millisecond,
	}
}

// do executes one step; lasting faults end in the background.
func (c *cluster) do(s step, replicas []*replica, profile func(o *Options)) {
	r := replicas[s.Target]
	net := func(change func(f *faults)) {
		r.client.set(change)
		c.watchers.Go(func() {
			<-time.After(s.For)
			r.client.heal()
		})
	}
	switch s.Kind {
	case "cut":
		net(func(f *faults) { f.cut = true })
	case "refuse":
		net(func(f *faults) { f.refused = true })
	case "late answers":
		net(func(f *faults) { f.answerDelay = s.For / 3 })
	case "late requests":
		net(func(f *faults) { f.sendDelay = s.For })
	case "lose answers":
		net(func(f *faults) { f.loseAnswers = true })
	case "forbid writes":
		err := apierrors.NewForbidden(leaseResource, "lease", errors.New("no"))
		net(func(f *faults) { f.fail = map[string]error{"update": err, "create": err} })
	case "freeze":
		r.freeze(s.For)
	case "suspend":
		r.suspend(s.For)
	case "set wall clock":
		r.clock.set(func(c *skewedClock) { c.step += s.For - 10*time.Second })
	case "delete":
		c.store.Delete()
	case "name a", "name b", "name c", "name x":
		editHolder(strings.TrimPrefix(s.Kind, "name "))(c, nil, nil)
	case "remove holder":
		editHolder("")(c, nil, nil)
	case "shorten":
		editDuration(1)(c, nil, nil)
	case "lengthen":
		editDuration(86400)(c, nil, nil)
	case "label":
		c.store.Edit(func(lease *coordinationv1.Lease) { lease.Labels = map[string]string{"at": time.Now().String()} })
	case "restart":
		r.stop()
		<-r.ended
		replicas[s.Target] = c.start(fmt.Sprintf("%s%d", r.name[:1], len(c.all())), profile)
	}
}

// With any schedule of faults on three replicas no two publish at the same moment, and one publishes in the end.
func TestAnyFaults(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 12).Draw(rt, "steps")
		short := rapid.Bool().Draw(rt, "short lease")
		trial := rapid.IntRange(0, 1<<30).Draw(rt, "trial")
		profile := func(o *Options) {
			if short {
				o.LeaseDuration, o.RenewDeadline, o.RetryPeriod = 6*time.Second, 4*time.Second, time.Second
			}
		}
		var problems []string
		synctest.Test(t, func(t *testing.T) {
			c := newTrial(t, trial)
			replicas := []*replica{c.start("a", profile), c.start("b", profile), c.start("c", profile)}
			<-time.After(20 * time.Second)
			for _, s := range steps {
				<-time.After(s.After)
				c.do(s, replicas, profile)
			}
			<-time.After(20 * time.Second) // the longest fault
			if recovery, err := c.settle(50 * time.Second); err != nil {
				problems = append(problems, err.Error())
			} else if recovery > 45*time.Second {
				problems = append(problems, fmt.Sprintf("published after %s", recovery))
			}
			c.close()
			for _, r := range c.all() {
				if r.err != nil {
					problems = append(problems, fmt.Sprintf("%s: %v", r.name, r.err))
				}
			}
			problems = append(problems, c.doubles...)
			if c.permitted > 0 {
				problems = append(problems, fmt.Sprintf("two were permitted for %s", c.permitted))
			}
		})
		if len(problems) > 0 {
			rt.Fatalf("%s", strings.Join(problems, "\n"))
		}
	})
}
