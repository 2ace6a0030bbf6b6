package election

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest/observer"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A syncing implements Options.InSync for a test.
type syncing struct {
	out       atomic.Bool
	answering atomic.Int64 // the last argument of InSync
}

var errOutOfSync = errors.New("the pods are not known")

func (s *syncing) option(o *Options) {
	o.InSync = func(answering time.Duration) error {
		s.answering.Store(int64(answering))
		if s.out.Load() {
			return errOutOfSync
		}
		return nil
	}
}

// A replica that is not in sync reads the Lease, leaves it to others, and takes it once it is in sync.
func TestOutOfSyncDoesNotLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.close()
		var sync syncing
		sync.out.Store(true)
		var logs *observer.ObservedLogs
		a := c.start("a", sync.option, logTo(&logs))
		<-time.After(time.Minute)
		if lease, err := c.store.Get(); err == nil {
			t.Fatalf("a replica out of sync has written the Lease: %v", lease.Spec)
		}
		var refused *NotLeaderError
		if err := a.candidate.Publish(t.Context(), nil); !errors.As(err, &refused) || refused.Reason != errOutOfSync.Error() {
			t.Errorf("Publish says %v, want the reason", err)
		}
		b := c.start("b")
		<-time.After(20 * time.Second)
		if !b.candidate.Valid() || a.elector.Leader() != "b" {
			t.Errorf("b may publish: %t; a knows the leader %q", b.candidate.Valid(), a.elector.Leader())
		}
		b.stop()
		<-b.ended
		<-time.After(30 * time.Second)
		if a.candidate.Valid() {
			t.Error("a replica out of sync took a released Lease")
		}
		sync.out.Store(false)
		<-time.After(5 * time.Second)
		if !a.candidate.Valid() {
			t.Error("the replica is in sync and the Lease is free, and it does not lead")
		}
		want := []string{
			"info not running for the lease reason=the pods are not known",
			"info another leader seen epoch=0 leader=b",
			"info running for the lease",
			"info lease acquired epoch=1",
			"info gate opened epoch=1",
		}
		if diff := cmp.Diff(want, lines(logs)); diff != "" {
			t.Errorf("log (-want +got):\n%s", diff)
		}
		c.check()
	})
}

// If the leader is no longer in sync, a standby in sync takes over at once. If no replica is
// in sync, none leads, and the first one that is again takes the Lease.
func TestOutOfSyncReleasesLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.close()
		var syncA, syncB syncing
		var logs *observer.ObservedLogs
		var worked []string
		a := c.start("a", syncA.option, logTo(&logs), func(o *Options) {
			o.Lead = func(ctx context.Context) {
				worked = append(worked, "begin")
				<-ctx.Done()
				<-time.After(300 * time.Millisecond)
				worked = append(worked, "end")
			}
		})
		<-time.After(time.Second)
		b := c.start("b", syncB.option)
		<-time.After(19 * time.Second)
		if !a.candidate.Valid() {
			t.Fatal("a does not lead")
		}
		c.forgive()
		for range 3 {
			syncA.out.Store(true)
			<-time.After(8 * time.Second)
			if !b.candidate.Valid() {
				t.Fatal("b has not taken over 8 s after a lost sync")
			}
			syncB.out.Store(true)
			<-time.After(8 * time.Second)
			if a.candidate.Valid() || b.candidate.Valid() {
				t.Error("a replica that is not in sync may publish")
			}
			syncA.out.Store(false)
			<-time.After(5 * time.Second)
			if !a.candidate.Valid() {
				t.Fatal("a is in sync again, the only one, and does not lead")
			}
			syncB.out.Store(false)
			<-time.After(5 * time.Second)
			if !a.candidate.Valid() {
				t.Error("a standby that came into sync has taken the Lease from a leader in sync")
			}
		}
		if got := strings.Join(worked, " "); got != strings.TrimSpace(strings.Repeat("begin end ", 3))+" begin" {
			t.Errorf("the work of the terms: %s", got)
		}
		if !slices.Contains(lines(logs), "info lease released") {
			t.Errorf("the Lease was not released:\n%s", strings.Join(lines(logs), "\n"))
		}
		c.check()
	})
}

// A stop ends at once whether the replica runs for the Lease or not.
func TestStopOutOfSync(t *testing.T) {
	for _, frozen := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t)
			defer c.close()
			var sync syncing
			sync.out.Store(true)
			a := c.start("a", sync.option)
			thaw := make(chan struct{})
			if frozen {
				a.client.set(func(f *faults) { f.frozen = thaw })
			}
			<-time.After(10 * time.Second)
			from := time.Now()
			a.stop()
			<-a.ended
			if took := time.Since(from); took > 1100*time.Millisecond || a.err != nil {
				t.Errorf("a client that hangs: %t: stopped after %s: %v", frozen, took, a.err)
			}
			close(thaw)
		})
	}
}

// A credential plugin that hangs delays the release but not the stop.
func TestStopWhileReleaseHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.close()
		a := c.start("a")
		<-time.After(20 * time.Second)
		<-time.After(time.Until(a.client.lastRenewal().Add(time.Second))) // no renewal is under way
		thaw := make(chan struct{})
		a.client.set(func(f *faults) { f.frozen = thaw })
		from := time.Now()
		a.stop()
		<-a.ended
		if took := time.Since(from); took > 3*time.Second || a.err != nil {
			t.Errorf("stopped after %s: %v", took, a.err)
		}
		close(thaw)
	})
}

// InSync receives for how long all calls were answered; an unanswered call resets the time.
func TestInSyncAnswering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		defer c.close()
		for _, out := range []bool{false, true} {
			var sync syncing
			sync.out.Store(out)
			a := c.start("a"+map[bool]string{true: "out"}[out], sync.option)
			about := func(when string, want time.Duration) {
				t.Helper()
				<-time.After(time.Second)
				if got := time.Duration(sync.answering.Load()); got < want-8*time.Second || got > want+2*time.Second {
					t.Errorf("out of sync %t, %s: the calls are answered for %s, want about %s", out, when, got, want)
				}
			}
			about("at the start", 0)
			<-time.After(3 * time.Minute)
			about("after 3 minutes", 3*time.Minute)
			a.client.set(func(f *faults) { f.refused = true })
			<-time.After(time.Minute)
			about("cut off", 0)
			a.client.heal()
			<-time.After(time.Minute)
			about("a minute after the cut", time.Minute)
			a.stop()
			<-a.ended
		}
	})
}

// With any numbers and times written into the Lease, a replica leads again, the API server accepts its writes,
// and no two replicas publish.
func TestHostileNumbers(t *testing.T) {
	at := func(text string) *metav1.MicroTime {
		when, err := time.Parse(metav1.RFC3339Micro, text)
		if err != nil {
			t.Fatal(err)
		}
		return &metav1.MicroTime{Time: when}
	}
	far, early := at("9999-12-31T23:59:59.000000-14:00"), at("0000-01-01T00:00:00.000000+14:00")
	edits := map[string]func(spec *coordinationv1.LeaseSpec){
		"most transitions":     func(s *coordinationv1.LeaseSpec) { s.LeaseTransitions = new(int32(math.MaxInt32)) },
		"one below the most":   func(s *coordinationv1.LeaseSpec) { s.LeaseTransitions = new(int32(math.MaxInt32 - 1)) },
		"negative transitions": func(s *coordinationv1.LeaseSpec) { s.LeaseTransitions = new(int32(math.MinInt32)) },
		"no transitions":       func(s *coordinationv1.LeaseSpec) { s.LeaseTransitions = nil },
		"duration 0":           func(s *coordinationv1.LeaseSpec) { s.LeaseDurationSeconds = new(int32(0)) },
		"negative duration":    func(s *coordinationv1.LeaseSpec) { s.LeaseDurationSeconds = new(int32(math.MinInt32)) },
		"longest duration":     func(s *coordinationv1.LeaseSpec) { s.LeaseDurationSeconds = new(int32(math.MaxInt32)) },
		"no duration":          func(s *coordinationv1.LeaseSpec) { s.LeaseDurationSeconds = nil },
		"times in year 10000":  func(s *coordinationv1.LeaseSpec) { s.AcquireTime, s.RenewTime = far, far },
		"times before year 0":  func(s *coordinationv1.LeaseSpec) { s.AcquireTime, s.RenewTime = early, early },
		"no times":             func(s *coordinationv1.LeaseSpec) { s.AcquireTime, s.RenewTime = nil, nil },
		"all of the most": func(s *coordinationv1.LeaseSpec) {
			s.LeaseTransitions, s.LeaseDurationSeconds = new(int32(math.MaxInt32)), new(int32(math.MaxInt32))
			s.AcquireTime, s.RenewTime = far, far
		},
	}
	for name, edit := range edits {
		for _, held := range []struct {
			by    string
			alone bool // there is no other replica, which would begin with an acquire time of its own
		}{{"a", true}, {"stranger", false}} {
			t.Run(name+", held by "+held.by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster(t)
					defer c.close()
					c.store.Refuse = unwritable
					c.start("a")
					<-time.After(time.Second)
					if !held.alone {
						c.start("b")
					}
					<-time.After(20 * time.Second)
					c.store.Edit(func(lease *coordinationv1.Lease) {
						lease.Spec.HolderIdentity = &held.by
						edit(&lease.Spec)
					})
					if _, err := c.settle(time.Minute); err != nil {
						t.Error(err)
					}
					c.check()
				})
			})
		}
	}
}

// unwritable returns why an API server rejects a Lease.
func unwritable(lease *coordinationv1.Lease) error {
	spec := lease.Spec
	switch {
	case spec.LeaseTransitions != nil && *spec.LeaseTransitions < 0:
		return errors.New("spec.leaseTransitions: must be greater than or equal to 0")
	case spec.LeaseDurationSeconds != nil && *spec.LeaseDurationSeconds <= 0:
		return errors.New("spec.leaseDurationSeconds: must be greater than 0")
	}
	for _, at := range []*metav1.MicroTime{spec.AcquireTime, spec.RenewTime} {
		if at == nil {
			continue
		}
		if text := at.UTC().Format(metav1.RFC3339Micro); len(text) != len(metav1.RFC3339Micro)-len("07:00") {
			return errors.New("cannot parse " + text)
		}
	}
	return nil
}
