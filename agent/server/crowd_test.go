package server

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestCrowd lets many more clients come than there are places, and asks as a kubelet does.
func TestCrowd(t *testing.T) {
	metrics := strings.Replace(get, "healthz", "metrics", 1)
	for name, say := range map[string]string{
		"that say nothing":               "",
		"that say half a header":         get[:len(get)-2],
		"that ask and say nothing more":  get,
		"that ask for metrics, unread":   metrics,
		"that ask twice, and read never": metrics + metrics,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := options()
				o.Publish = granted
				p, _ := startInMemory(t, o)
				var gone atomic.Int64
				for range 4 * maxConnections {
					conn, err := p.dial(t.Context(), "", "")
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { conn.Close() })
					go func() {
						if _, err := io.WriteString(conn, say); err != nil {
							gone.Add(1)
							return
						}
						if say == "" {
							untilClosed(t, conn)
							gone.Add(1)
						}
					}()
					synctest.Wait()
				}
				before := time.Now()
				for _, path := range []string{"/healthz", "/readyz"} {
					if got, err := p.fetch(path); err != nil || got.Status != http.StatusOK {
						t.Errorf("%s: %v, %v, want an answer", path, got, err)
					}
				}
				if took := time.Since(before); took > 0 {
					t.Errorf("two answers took %s, want no time", took)
				}
				if say == "" && gone.Load() < 3*maxConnections {
					t.Errorf("%d of %d connections were sent away, want all but %d", gone.Load(), 4*maxConnections, maxConnections)
				}
			})
		})
	}
}

// A connection that is being answered keeps its place, however many come.
func TestCrowdLeavesWhoIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		held := make(chan struct{})
		o.Report = func(w io.Writer) error {
			<-held
			_, err := io.WriteString(w, reportText)
			return err
		}
		p, _ := startInMemory(t, o)
		answers := make(chan answered, 1)
		go func() {
			got, _ := p.fetch("/api/v1/report")
			answers <- got
		}()
		synctest.Wait()
		for range 2 * maxConnections {
			conn, err := p.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			synctest.Wait()
		}
		close(held)
		if got := <-answers; got.Status != http.StatusOK || got.Body != reportText {
			t.Errorf("%v, want the report", got)
		}
	})
}

// TestReportsAtATime: one too many waits for a time, and is then told to come again. Nobody else waits.
func TestReportsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		held := make(chan struct{})
		o.Report = func(io.Writer) error { <-held; return nil }
		p, _ := startInMemory(t, o)
		var asking sync.WaitGroup
		for range maxReports {
			asking.Go(func() { _, _ = p.fetch("/api/v1/report") })
		}
		synctest.Wait()
		before := time.Now()
		if got, err := p.fetch("/api/v1/report"); err != nil || got.Status != http.StatusServiceUnavailable {
			t.Errorf("%v, %v, want 503", got, err)
		}
		if took := time.Since(before); took != turnPatience {
			t.Errorf("told so after %s, want %s", took, turnPatience)
		}
		if got, err := p.fetch("/healthz"); err != nil || got.Status != http.StatusOK {
			t.Errorf("/healthz: %v, %v, want 200", got, err)
		}
		close(held)
		asking.Wait()
		if got, err := p.fetch("/api/v1/report"); err != nil || got.Status != http.StatusOK {
			t.Errorf("afterwards: %v, %v, want 200", got, err)
		}
	})
}

// TestScrapesThatWait: while as many wait as may, one more is told at once to come again, and others are answered as ever.
func TestScrapesThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Publish = granted
		held := make(chan struct{})
		o.Leader = gatherer("score_gauge", 2, hook(func() { <-held }))
		p, _ := startInMemory(t, o)
		var answered sync.WaitGroup
		var good atomic.Int64
		for range maxScrapes + maxWaiting {
			answered.Go(func() {
				if got, err := p.fetch("/metrics"); err == nil && got.Status == http.StatusOK {
					good.Add(1)
				}
			})
		}
		synctest.Wait()
		before := time.Now()
		if got, err := p.fetch("/metrics"); err != nil || got.Status != http.StatusServiceUnavailable {
			t.Errorf("one too many: %v, %v, want 503", got, err)
		}
		if got, err := p.fetch("/healthz"); err != nil || got.Status != http.StatusOK {
			t.Errorf("/healthz: %v, %v, want 200", got, err)
		}
		if took := time.Since(before); took != 0 {
			t.Errorf("told so after %s, want at once", took)
		}
		close(held)
		answered.Wait()
		if good.Load() != maxScrapes+maxWaiting {
			t.Errorf("%d of those who waited got their answer, want all %d", good.Load(), maxScrapes+maxWaiting)
		}
	})
}

// TestLane: of those who do not read, the longest writing is cut off, so that the pages in memory are bounded.
func TestLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Publish = granted
		p, _ := startInMemory(t, o)
		var stalled []net.Conn
		for range maxWriters + 3 {
			stalled = append(stalled, p.connect(t, strings.Replace(get, "healthz", "metrics", 1)))
			synctest.Wait()
		}
		for i, conn := range stalled {
			n, _ := io.Copy(io.Discard, limited(conn))
			if cut := n == 0; cut != (i < 3) {
				t.Errorf("client %d of %d was cut off: %v", i+1, len(stalled), cut)
			}
		}
	})
}

// limited reads what there is within a second.
func limited(conn net.Conn) io.Reader {
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	return conn
}

// TestWhoIsSentAway: first who was answered, the longest idle before others, then who was never heard, the oldest before
// others; and nobody who is being answered.
func TestWhoIsSentAway(t *testing.T) {
	names := map[net.Conn]string{}
	c := newCrowd(3)
	conns := map[string]net.Conn{}
	for _, name := range strings.Split("abcdefghi", "") {
		conn, other := net.Pipe()
		t.Cleanup(func() { conn.Close(); other.Close() })
		conns[name], names[conn] = conn, name
	}
	join := func(name, want string) {
		t.Helper()
		if got := names[c.join(conns[name])]; got != want {
			t.Errorf("%s comes, and %q goes, want %q", name, got, want)
		}
	}
	join("a", "")
	join("b", "")
	join("c", "")
	c.served(conns["b"], true)
	c.served(conns["b"], false)
	join("d", "b") // idle
	join("e", "a") // the oldest that was never heard
	c.served(conns["c"], true)
	join("f", "d") // c is being answered
	c.served(conns["e"], true)
	c.served(conns["f"], true)
	join("g", "g") // all others are being answered
	c.served(conns["e"], false)
	c.served(conns["c"], false)
	join("h", "e") // idle for longer than c
	c.leave(conns["f"])
	join("i", "")
	for _, gone := range []string{"a", "g"} {
		c.served(conns[gone], true) // too late
		c.served(conns[gone], false)
		c.leave(conns[gone])
	}
	if len(c.present) != 3 || c.idle.Len() != 1 || c.fresh.Len() != 2 {
		t.Errorf("%d present, %d idle, %d not heard; want 3, 1, 2", len(c.present), c.idle.Len(), c.fresh.Len())
	}
}
