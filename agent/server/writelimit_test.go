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

// TestConcurrentReportsAreLimited: one report too many waits for queueTimeout and gets 503. Health checks do not wait.
func TestConcurrentReportsAreLimited(t *testing.T) {
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
		if took := time.Since(before); took != queueTimeout {
			t.Errorf("answered after %s, want %s", took, queueTimeout)
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

// TestScrapeQueueIsBounded: with a full queue one more scrape gets 503 at once, and health checks do not wait.
func TestScrapeQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options()
		o.Publish = granted
		held := make(chan struct{})
		o.Leader = gatherer("score_gauge", 2, hook(func() { <-held }))
		p, _ := startInMemory(t, o)
		var answered sync.WaitGroup
		var good atomic.Int64
		for range maxScrapes + maxQueued {
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
			t.Errorf("answered after %s, want at once", took)
		}
		close(held)
		answered.Wait()
		if good.Load() != maxScrapes+maxQueued {
			t.Errorf("%d of the queued scrapes were answered, want all %d", good.Load(), maxScrapes+maxQueued)
		}
	})
}

// TestWriteLimit: of too many clients that do not read, the first ones are cut off, which bounds the pages in memory.
func TestWriteLimit(t *testing.T) {
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

// limited reads for a second at most.
func limited(conn net.Conn) io.Reader {
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	return conn
}
