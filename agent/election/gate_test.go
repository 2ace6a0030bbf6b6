package election

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// handClock is a clock that a test sets.
type handClock struct{ clockReading }

func newHandClock() *handClock {
	return &handClock{clockReading{mono: time.Hour, wall: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
}

func (c *handClock) read() clockReading { return c.clockReading }

func (c *handClock) pass(d time.Duration) {
	c.mono += d
	c.wall = c.wall.Add(d)
}

func TestGateState(t *testing.T) {
	const lease, margin = 15 * time.Second, 2 * time.Second
	type seen struct {
		Term, Ready, Open bool
		Reason            string
		Remaining, Wake   time.Duration
		Wait              time.Duration
	}
	closed := func(reason string) seen { return seen{Reason: reason} }
	open := func(remaining time.Duration) seen {
		return seen{Term: true, Ready: true, Open: true, Remaining: remaining, Wake: remaining}
	}
	tests := []struct {
		name      string
		notBefore time.Duration // from the renewal
		after     func(c *handClock, g *gate)
		want      seen
	}{
		{"no write yet", -1, nil, closed(reasonNoLease)},
		{"just renewed", 0, nil, open(13 * time.Second)},
		{"one nanosecond left", 0, func(c *handClock, _ *gate) { c.pass(13*time.Second - 1) }, open(1)},
		{"expired", 0, func(c *handClock, _ *gate) { c.pass(13 * time.Second) }, closed(reasonExpired)},
		{"before the term", 15 * time.Second, func(c *handClock, _ *gate) { c.pass(time.Second) },
			seen{Term: true, Reason: reasonNotBefore, Wake: 12 * time.Second, Wait: 14 * time.Second}},
		{"term about to begin", 5 * time.Second, func(c *handClock, _ *gate) { c.pass(5*time.Second - 1) },
			seen{Term: true, Reason: reasonNotBefore, Wake: 1, Wait: 1}},
		{"term begins", 5 * time.Second, func(c *handClock, _ *gate) { c.pass(5 * time.Second) }, open(8 * time.Second)},
		{"wall clock a little ahead", 0, func(c *handClock, _ *gate) { c.wall = c.wall.Add(time.Second) }, open(12 * time.Second)},
		{"wall clock a little behind", 0, func(c *handClock, _ *gate) { c.wall = c.wall.Add(-time.Second) }, open(13 * time.Second)},
		{"wall clock ahead", 0, func(c *handClock, _ *gate) { c.wall = c.wall.Add(time.Second + 1) },
			seen{Term: true, Reason: reasonClocks, Wake: 12*time.Second - 1}},
		{"wall clock behind", 0, func(c *handClock, _ *gate) { c.wall = c.wall.Add(-time.Hour) },
			seen{Term: true, Reason: reasonClocks, Wake: 13 * time.Second}},
		{"machine was suspended", 0, func(c *handClock, _ *gate) { c.wall = c.wall.Add(13 * time.Second) }, closed(reasonExpired)},
		{"wall clock ahead, then renewed", 0, func(c *handClock, g *gate) {
			c.wall = c.wall.Add(time.Hour)
			g.renewed(c.read(), c.mono, 8)
			admit(g)
		}, open(13 * time.Second)},
		{"ended", 0, func(_ *handClock, g *gate) { g.end("lost") }, closed(reasonNoLease)},
		{"ended, then renewed", 0, func(c *handClock, g *gate) {
			g.end("lost")
			g.renewed(c.read(), c.mono, 8)
		}, seen{Term: true, Ready: true, Reason: reasonStarting, Wake: 13 * time.Second}},
		{"stopping", 0, func(_ *handClock, g *gate) { g.stopAdmitting() }, seen{Term: true, Reason: reasonStopping, Wake: 13 * time.Second}},
		{"stopping, then a new term", 0, func(c *handClock, g *gate) {
			g.stopAdmitting()
			g.end("stopping")
			g.renewed(c.read(), c.mono, 8)
			admit(g)
		}, seen{Term: true, Reason: reasonStopping, Wake: 13 * time.Second}},
		{"renewal answered late", 0, func(c *handClock, g *gate) {
			sent := c.read()
			c.pass(3 * time.Second)
			g.renewed(sent, c.mono, 7)
		}, open(10 * time.Second)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newHandClock()
			g := newGate(lease, margin, c.read)
			if tt.notBefore >= 0 {
				g.renewed(c.read(), c.mono+tt.notBefore, 7)
				admit(g)
			}
			if tt.after != nil {
				tt.after(c, g)
			}
			v := g.state()
			got := seen{v.term != nil, v.ready, v.open, v.reason, v.remaining, v.wake, v.wait}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("look (-want +got):\n%s", diff)
			}
		})
	}
}

func admit(g *gate) {
	if v := g.state(); v.term != nil {
		g.admit(v.term)
	}
}

func TestGatePublications(t *testing.T) {
	open := func() *gate {
		g := newGate(15*time.Second, 2*time.Second, systemClock())
		g.renewed(g.clock(), 0, 0)
		admit(g)
		return g
	}
	isDone := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	t.Run("a publication ends with the permission that it began under", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := open()
			began := time.Now()
			ctx, done, _ := g.begin(t.Context())
			defer done()
			<-time.After(5 * time.Second)
			g.renewed(g.clock(), 0, 0)
			<-ctx.Done()
			if got := time.Since(began); got != 13*time.Second || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Errorf("ended after %s with %v, want 13s and a deadline", got, ctx.Err())
			}
		})
	})
	t.Run("a loss cancels publications, and the term is idle when all have ended", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := open()
			lost := g.state().term
			ctx1, done1, _ := g.begin(t.Context())
			ctx2, done2, _ := g.begin(t.Context())
			g.end("lost")
			synctest.Wait()
			if ctx1.Err() == nil || ctx2.Err() == nil || lost.ctx.Err() == nil {
				t.Error("a context of the term has not ended")
			}
			done1()
			if isDone(lost.idle) {
				t.Error("idle though one publication runs")
			}
			done2()
			if !isDone(lost.idle) {
				t.Error("not idle though no publication runs")
			}
		})
	})
	t.Run("shutting lets a publication finish and no other begin", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := open()
			present := g.state().term
			ctx, done, _ := g.begin(t.Context())
			g.stopAdmitting()
			g.stopAdmitting()
			synctest.Wait()
			if ctx.Err() != nil || isDone(present.idle) {
				t.Error("shutting has ended a publication")
			}
			if _, _, v := g.begin(t.Context()); v.open || v.reason != reasonStopping {
				t.Errorf("entered a gate that is shut: %+v", v)
			}
			done()
			if !isDone(present.idle) {
				t.Error("not idle though no publication runs")
			}
		})
	})
	for _, asleep := range []struct {
		name  string
		clock func(c *handClock)
		ended bool
	}{
		{"a suspended machine wakes after the end of the permission", func(c *handClock) { c.wall = c.wall.Add(time.Minute) }, true},
		{"the clocks disagree by as much as a short sleep", func(c *handClock) { c.wall = c.wall.Add(2 * time.Second) }, true},
		{"a little time goes by", func(c *handClock) { c.pass(5 * time.Second) }, false},
	} {
		t.Run(asleep.name, func(t *testing.T) {
			clock := newHandClock()
			g := newGate(15*time.Second, 2*time.Second, clock.read)
			g.renewed(g.clock(), 0, 0)
			admit(g)
			ctx, done, _ := g.begin(t.Context())
			defer done()
			asleep.clock(clock)
			if ended := ctx.Err() != nil; ended != asleep.ended || isDone(ctx.Done()) != asleep.ended {
				t.Errorf("the publication has ended: %v, want %v", ctx.Err(), asleep.ended)
			}
		})
	}
	t.Run("what the caller's context says counts too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			parent, cancel := context.WithCancel(t.Context())
			ctx, done, _ := open().begin(parent)
			defer done()
			cancel()
			if ctx.Err() == nil {
				t.Error("the publication outlives its caller")
			}
		})
	})
}

func TestGateGrace(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration // from the renewal to the end
		want  time.Duration
	}{
		{"another may lead in 14 s", time.Second, 5 * time.Second},
		{"another may lead in 4 s", 11 * time.Second, 4 * time.Second},
		{"expired", 13 * time.Second, 2 * time.Second},
		{"woken long after", time.Hour, 2 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newHandClock()
			g := newGate(15*time.Second, 2*time.Second, c.read)
			g.renewed(c.read(), c.mono, 0)
			lost := g.state().term
			c.pass(tt.after)
			g.end("over")
			if got := g.grace(lost); got != tt.want {
				t.Errorf("grace = %s, want %s", got, tt.want)
			}
		})
	}
}
