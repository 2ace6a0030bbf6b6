package election

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// lockAt makes a lock on a store, in the bubble's time.
func lockAt(s *fakeapi.Leases, id string) (*leaseLock, *faultyClient) {
	l := &faultyClient{store: s}
	clock := systemClock()
	return &leaseLock{
		leases: l, namespace: "default", name: "lease", id: id, writer: id + "/" + NewIdentity(""),
		lease: 15 * time.Second, timeout: 3 * time.Second, clock: clock, log: zap.NewNop(),
		gate: newGate(15*time.Second, 2*time.Second, clock), fatal: make(chan error, 1),
	}, l
}

func record(id string) resourcelock.LeaderElectionRecord {
	now := metav1.Now()
	return resourcelock.LeaderElectionRecord{HolderIdentity: id, LeaseDurationSeconds: 15, AcquireTime: now, RenewTime: now}
}

func read(t *testing.T, l *leaseLock) resourcelock.LeaderElectionRecord {
	t.Helper()
	r, _, err := l.Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return *r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The time from which a term may publish depends on the Lease on which its first write builds.
func TestLockNotBefore(t *testing.T) {
	foreign := func(s *fakeapi.Leases, edit func(spec *coordinationv1.LeaseSpec)) func(*testing.T, *leaseLock) {
		return func(t *testing.T, _ *leaseLock) {
			other, _ := lockAt(s, "b")
			must(t, other.Create(t.Context(), record("b")))
			s.Edit(func(lease *coordinationv1.Lease) { edit(&lease.Spec) })
		}
	}
	s := &fakeapi.Leases{}
	tests := []struct {
		name    string
		prepare func(*testing.T, *leaseLock)
		seen    time.Duration // how long the lock looks at it before it writes
		want    time.Duration // from the answer to the write; 0: at once
	}{
		{"no lease", func(*testing.T, *leaseLock) {}, 0, 15 * time.Second},
		{"expired lease of another", foreign(s, func(*coordinationv1.LeaseSpec) {}), 15 * time.Second, 0},
		{"valid lease of another", foreign(s, func(*coordinationv1.LeaseSpec) {}), 10 * time.Second, 5 * time.Second},
		{"lease of another, shortened by hand", foreign(s, func(spec *coordinationv1.LeaseSpec) {
			spec.LeaseDurationSeconds = new(int32(1))
		}), 2 * time.Second, 13 * time.Second},
		{"lease of another, made twice as long", foreign(s, func(spec *coordinationv1.LeaseSpec) {
			spec.LeaseDurationSeconds = new(int32(30))
		}), 16 * time.Second, 14 * time.Second},
		{"lease of another, made as long as a day", foreign(s, func(spec *coordinationv1.LeaseSpec) {
			spec.LeaseDurationSeconds = new(int32(86400))
		}), 30 * time.Second, 0},
		{"clean release", func(t *testing.T, l *leaseLock) {
			foreign(s, func(spec *coordinationv1.LeaseSpec) {
				spec.HolderIdentity, spec.LeaseDurationSeconds = new(""), new(int32(1))
			})(t, l)
			s.Edit(markReleased)
		}, 0, 0},
		{"release forged in all of its spec", foreign(s, func(spec *coordinationv1.LeaseSpec) {
			spec.HolderIdentity, spec.LeaseDurationSeconds = new(""), new(int32(1))
		}), 0, 15 * time.Second},
		{"release whose times differ", foreign(s, func(spec *coordinationv1.LeaseSpec) {
			spec.HolderIdentity, spec.LeaseDurationSeconds = new(""), new(int32(1))
			spec.RenewTime = &metav1.MicroTime{Time: spec.RenewTime.Add(time.Microsecond)}
		}), 0, 15 * time.Second},
		{"release with the mark, whose times differ", func(t *testing.T, l *leaseLock) {
			foreign(s, func(spec *coordinationv1.LeaseSpec) {
				spec.HolderIdentity, spec.LeaseDurationSeconds = new(""), new(int32(1))
				spec.RenewTime = &metav1.MicroTime{Time: spec.RenewTime.Add(time.Microsecond)}
			})(t, l)
			s.Edit(markReleased)
		}, 0, 15 * time.Second},
		{"release without times", foreign(s, func(spec *coordinationv1.LeaseSpec) {
			*spec = coordinationv1.LeaseSpec{LeaseDurationSeconds: new(int32(1))}
		}), 0, 15 * time.Second},
		{"holder removed", foreign(s, func(spec *coordinationv1.LeaseSpec) { spec.HolderIdentity = nil }), 0, 15 * time.Second},
		{"all fields removed", foreign(s, func(spec *coordinationv1.LeaseSpec) { *spec = coordinationv1.LeaseSpec{} }), 20 * time.Second, 15 * time.Second},
		{"holder edited by hand to us", foreign(s, func(spec *coordinationv1.LeaseSpec) { spec.HolderIdentity = new("a") }), 20 * time.Second, 15 * time.Second},
		{"our own", func(t *testing.T, l *leaseLock) {
			must(t, l.Create(t.Context(), record("a")))
		}, 20 * time.Second, 0},
		{"our own, with a label", func(t *testing.T, l *leaseLock) {
			must(t, l.Create(t.Context(), record("a")))
			s.Edit(func(lease *coordinationv1.Lease) { lease.Labels = map[string]string{"a": "b"} })
		}, 20 * time.Second, 0},
		{"our own, created again by hand", func(t *testing.T, l *leaseLock) {
			must(t, l.Create(t.Context(), record("a")))
			same, _ := s.Get()
			s.Delete()
			_, err := s.Create(same)
			must(t, err)
		}, 20 * time.Second, 15 * time.Second},
		{"our own, renewed within the same second by another", func(t *testing.T, l *leaseLock) {
			must(t, l.Create(t.Context(), record("a")))
			s.Edit(func(lease *coordinationv1.Lease) {
				lease.Spec.RenewTime = &metav1.MicroTime{Time: lease.Spec.RenewTime.Add(time.Microsecond)}
			})
		}, 20 * time.Second, 15 * time.Second},
		{"our own create, which was not answered", func(t *testing.T, l *leaseLock) {
			to := l.leases.(*faultyClient)
			to.set(func(f *faults) { f.loseAnswers = true })
			if err := l.Create(t.Context(), record("a")); err == nil {
				t.Fatal("the answer came")
			}
			to.heal()
		}, 20 * time.Second, 15 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				*s = fakeapi.Leases{}
				l, _ := lockAt(s, "a")
				tt.prepare(t, l)
				// Latencies are some milliseconds, so count from the read and write at once.
				_, _, readErr := l.Get(t.Context())
				readAt := l.clock().mono
				<-time.After(tt.seen)
				write := l.Update
				if readErr != nil {
					write = l.Create
				}
				must(t, write(t.Context(), record("a")))
				answered := l.clock().mono
				got := max(0, l.lastObserved().startRule.notBefore-answered)
				want := tt.want
				if want > 0 && want < 15*time.Second {
					want -= answered - readAt - tt.seen
				}
				if got != want {
					t.Errorf("the term may publish %s after its first write, want %s", got, want)
				}
			})
		})
	}
}

// A write that was carried out without a response is ours and continues its term.
func TestLockPendingWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeapi.Leases{}
		l, to := lockAt(s, "a")
		must(t, l.Create(t.Context(), record("a")))
		<-time.After(16 * time.Second)
		must(t, l.Update(t.Context(), record("a")))
		admit(l.gate)
		term := l.gate.state().term
		to.set(func(f *faults) { f.loseAnswers = true })
		for range 3 { // the first is carried out, the others conflict
			if err := l.Update(t.Context(), record("a")); err == nil {
				t.Fatal("the answer came")
			}
		}
		to.heal()
		read(t, l)
		if v := l.gate.state(); !v.open || v.term != term {
			t.Errorf("the gate has closed over a pending write of our own: %+v", v)
		}
		must(t, l.Update(t.Context(), record("a")))
		if v := l.gate.state(); !v.open || v.term != term || v.remaining < 12*time.Second {
			t.Errorf("the renewal does not extend the term: %+v", v)
		}
	})
}

// A read ends the term at once if it shows a write by another client.
func TestLockEndsTerm(t *testing.T) {
	tests := []struct {
		name   string
		change func(s *fakeapi.Leases)
		want   string // why the term has ended; "": it goes on
	}{
		{"nothing", func(*fakeapi.Leases) {}, ""},
		{"label", func(s *fakeapi.Leases) {
			s.Edit(func(lease *coordinationv1.Lease) { lease.Labels = map[string]string{"a": "b"} })
		}, ""},
		{"another holder", editSpec(func(spec *coordinationv1.LeaseSpec) { spec.HolderIdentity = new("b") }), "another replica holds the lease"},
		{"no holder", editSpec(func(spec *coordinationv1.LeaseSpec) { spec.HolderIdentity = new("") }), "another client removed the holder from the lease"},
		{"released", func(s *fakeapi.Leases) {
			editSpec(func(spec *coordinationv1.LeaseSpec) {
				spec.HolderIdentity, spec.LeaseDurationSeconds, spec.RenewTime = nil, new(int32(1)), spec.AcquireTime
			})(s)
			s.Edit(markReleased)
		}, "another client released the lease"},
		{"released by hand", editSpec(func(spec *coordinationv1.LeaseSpec) {
			spec.HolderIdentity, spec.LeaseDurationSeconds, spec.RenewTime = nil, new(int32(1)), spec.AcquireTime
		}), "another client removed the holder from the lease"},
		{"another duration", editSpec(func(spec *coordinationv1.LeaseSpec) { spec.LeaseDurationSeconds = new(int32(1)) }), "another client wrote the lease with the identity of this replica"},
		{"another time", editSpec(func(spec *coordinationv1.LeaseSpec) { spec.RenewTime = nil }), "another client wrote the lease with the identity of this replica"},
		{"deleted", (*fakeapi.Leases).Delete, "the lease was deleted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &fakeapi.Leases{}
				l, _ := lockAt(s, "a")
				must(t, l.Create(t.Context(), record("a")))
				term := l.gate.state().term
				tt.change(s)
				_, _, _ = l.Get(t.Context())
				if got := l.gate.why(term); got != tt.want {
					t.Errorf("the term has ended because %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// markReleased forges the mark of a release.
func markReleased(lease *coordinationv1.Lease) {
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, writerAnnotation, "b/forged"+releasedMark)
}

func editSpec(change func(spec *coordinationv1.LeaseSpec)) func(s *fakeapi.Leases) {
	return func(s *fakeapi.Leases) { s.Edit(func(lease *coordinationv1.Lease) { change(&lease.Spec) }) }
}

func TestLockRelease(t *testing.T) {
	type result struct {
		Err    string
		Holder string // on the store, afterwards
		Clean  bool   // a standby takes it for a clean release
	}
	tests := []struct {
		name string
		wait time.Duration // after the first write, which makes a term that may publish 15 s later
		do   func(s *fakeapi.Leases, to *faultyClient)
		want result
	}{
		{"ours", 16 * time.Second, func(*fakeapi.Leases, *faultyClient) {}, result{"", "", true}},
		{"ours, with a label", 16 * time.Second, func(s *fakeapi.Leases, _ *faultyClient) {
			s.Edit(func(lease *coordinationv1.Lease) { lease.Labels = map[string]string{"a": "b"} })
		}, result{"", "", true}},
		// client-go v0.37.2 wipes this Lease: it reads the new version, checks its old record, and writes on the new version.
		{"another's, which we have not read yet", 16 * time.Second, func(s *fakeapi.Leases, _ *faultyClient) {
			s.Edit(func(lease *coordinationv1.Lease) { lease.Spec.HolderIdentity = new("b") })
		}, result{`the lease is held by "b"`, "b", false}},
		{"deleted", 16 * time.Second, func(s *fakeapi.Leases, _ *faultyClient) { s.Delete() },
			result{`read lease: leases.coordination.k8s.io "lease" not found`, "", false}},
		{"a term that might not publish yet", 14 * time.Second, func(*fakeapi.Leases, *faultyClient) {},
			result{reasonNotBefore, "a", false}},
		{"unreachable", 16 * time.Second, func(_ *fakeapi.Leases, to *faultyClient) { to.set(func(f *faults) { f.refused = true }) },
			result{"read lease: connection refused", "a", false}},
		{"forbidden", 16 * time.Second, func(_ *fakeapi.Leases, to *faultyClient) {
			to.set(func(f *faults) { f.fail = map[string]error{"update": context.DeadlineExceeded} })
		}, result{"write lease: context deadline exceeded", "a", false}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &fakeapi.Leases{}
				l, to := lockAt(s, "a")
				must(t, l.Create(t.Context(), record("a")))
				<-time.After(tt.wait)
				tt.do(s, to)
				var got result
				if err := l.release(t.Context()); err != nil {
					got.Err = err.Error()
				}
				if lease, err := s.Get(); err == nil {
					got.Holder, got.Clean = holder(lease), released(lease)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("release (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A renewal in flight when the elector was cancelled may be carried out between the read and the write of the
// release. It is ours, so the release is tried again.
func TestLockReleaseAfterLateRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeapi.Leases{}
		l, to := lockAt(s, "a")
		must(t, l.Create(t.Context(), record("a")))
		<-time.After(16 * time.Second)
		to.set(func(f *faults) { f.sendDelay = 100 * time.Millisecond })
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := l.Update(ctx, record("a")); err == nil {
			t.Fatal("the renewal was answered")
		}
		to.set(func(f *faults) { f.sendDelay = 30 * time.Millisecond }) // the read comes before, the write after
		must(t, l.release(t.Context()))
		lease, err := s.Get()
		must(t, err)
		if !released(lease) || s.Writes() != 3 {
			t.Errorf("after the release the lease is %v, after %d writes", lease.Spec, s.Writes())
		}
		to.pending.Wait()
	})
}

// The record makes client-go's elector wait for at least our own lease, and not forever.
func TestLockClampsDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeapi.Leases{}
		l, _ := lockAt(s, "a")
		must(t, l.Create(t.Context(), record("a")))
		for seconds, want := range map[int32]int{1: 15, 15: 15, 20: 20, 30: 30, 31: 30, 86400: 30} {
			s.Edit(func(lease *coordinationv1.Lease) { lease.Spec.LeaseDurationSeconds = &seconds })
			if got := read(t, l).LeaseDurationSeconds; got != want {
				t.Errorf("%d s in the lease are read as %d s, want %d s", seconds, got, want)
			}
		}
	})
}

// A process exits after the second write of another process with its identity, but not after edits by hand or writes
// of a dead predecessor.
func TestLockDuplicateIdentity(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, s *fakeapi.Leases, l *leaseLock)
		want string
	}{
		{"edits by hand", func(t *testing.T, s *fakeapi.Leases, l *leaseLock) {
			must(t, l.Create(t.Context(), record("a")))
			other, _ := lockAt(s, "b")
			for range 5 {
				s.Edit(func(lease *coordinationv1.Lease) { lease.Spec.HolderIdentity = new("b") })
				read(t, other)
				must(t, other.Update(t.Context(), record("b")))
				s.Edit(func(lease *coordinationv1.Lease) { lease.Spec.HolderIdentity = new("a") })
				read(t, l)
				must(t, l.Update(t.Context(), record("a")))
			}
		}, ""},
		{"a predecessor that is dead", func(t *testing.T, s *fakeapi.Leases, l *leaseLock) {
			before, _ := lockAt(s, "a")
			must(t, before.Create(t.Context(), record("a")))
			for range 5 {
				read(t, l)
				must(t, l.Update(t.Context(), record("a")))
			}
		}, ""},
		{"another process", func(t *testing.T, s *fakeapi.Leases, l *leaseLock) {
			other, _ := lockAt(s, "a")
			must(t, other.Create(t.Context(), record("a")))
			read(t, l)
			must(t, l.Update(t.Context(), record("a")))
			read(t, other)
			must(t, other.Update(t.Context(), record("a")))
			read(t, l)
			err := l.Update(t.Context(), record("a"))
			lease, getErr := s.Get()
			must(t, getErr)
			if err == nil || lease.Annotations[writerAnnotation] != other.writer {
				t.Errorf("the process that must exit has written once more")
			}
			if len(other.fatal) > 0 {
				t.Errorf("both processes must exit")
			}
		}, `another process writes the lease default/lease as "a": each process needs an identity of its own`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &fakeapi.Leases{}
				l, _ := lockAt(s, "a")
				tt.do(t, s, l)
				got := ""
				select {
				case err := <-l.fatal:
					got = err.Error()
				default:
				}
				if got != tt.want {
					t.Errorf("must exit because %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// The number of remembered writes is limited.
func TestLockLimitsPendingWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, to := lockAt(&fakeapi.Leases{}, "a")
		to.set(func(f *faults) { f.refused = true })
		for range 100 {
			if err := l.Create(t.Context(), record("a")); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Fatalf("created: %v", err)
			}
		}
		if len(l.pending) != maxPendingWrites {
			t.Errorf("%d writes are remembered, want %d", len(l.pending), maxPendingWrites)
		}
	})
}
