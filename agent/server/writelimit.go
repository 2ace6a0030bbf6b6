package server

import (
	"container/list"
	"net/http"
	"sync"
	"time"
)

const (
	// maxWriters bounds the concurrent responses of one page; each is in memory as a whole.
	maxWriters = 16
	// maxReports bounds the reports that are rendered concurrently, maxScrapes the scrapes: one at a time, because a probe in
	// a flood of scrapes waits for each that is being rendered..
	maxReports = 4
	maxScrapes = 1
	maxPages   = 1
	// maxQueued bounds the requests that wait for that, and queueTimeout how long each waits. They occupy their connections,
	// so their number is far below maxConnections.
	maxQueued    = 128
	queueTimeout = 5 * time.Second
)

// A writeLimit bounds how many clients are written to concurrently. One too many cuts off the client that has been reading
// longest: a client that reads at all finishes before so many others have started.
type writeLimit struct {
	max int

	mu      sync.Mutex
	writing list.List // of func(), the longest writing first
}

// start registers a write, which cut must end. The returned function unregisters it. A nil limit has no bound.
func (l *writeLimit) start(cut func()) (done func()) {
	if l == nil {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	element := l.writing.PushBack(cut)
	if l.writing.Len() > l.max {
		l.writing.Remove(l.writing.Front()).(func())()
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.writing.Remove(element) // does nothing after a cut
	}
}

// limitConcurrency renders at most limit pages concurrently; a gatedResponse gives up its slot when its rendered page is
// written. Up to maxQueued further requests wait for a slot, and all others get 503. The queue is why promhttp's
// MaxRequestsInFlight does not serve: it refuses at once the second of two Prometheus servers that scrape simultaneously.
func limitConcurrency(limit int, next http.Handler) http.Handler {
	slots, queue := make(chan struct{}, limit), make(chan struct{}, limit+maxQueued)
	busy := func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "1")
		answer(w, http.StatusServiceUnavailable, "too many concurrent requests\n")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case queue <- struct{}{}:
		default:
			busy(w)
			return
		}
		dequeue := sync.OnceFunc(func() { <-queue })
		defer dequeue()
		timeout := time.NewTimer(queueTimeout)
		defer timeout.Stop()
		select {
		case slots <- struct{}{}:
			leave := sync.OnceFunc(func() { <-slots; dequeue() })
			defer leave()
			if gated, ok := w.(*gatedResponse); ok {
				gated.leave = leave
			}
			next.ServeHTTP(w, r)
		case <-timeout.C:
			busy(w)
		case <-r.Context().Done(): // the client has gone, or the permission has ended, which the caller notices
		}
	})
}
