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
