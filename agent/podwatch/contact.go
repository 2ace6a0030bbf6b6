package podwatch

import (
	"sync"
	"time"
)

// leastWatch is how long a watch must have been open for its end to count as contact: a watch that is cut off at once says
// nothing about the pods.
const leastWatch = time.Second

// A contact knows when the API server last answered a request for pods. All caches of a Watch share one.
type contact struct {
	mu      sync.Mutex
	at      time.Time
	open    int   // watches past their initial events
	failure error // of the last request since then
}

// made records a list or an event.
func (c *contact) made(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.failure = at, nil
}

// failed records a request that failed.
func (c *contact) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = err
}

// opened records a watch past its initial events; closed must be called at its end. An open watch is contact even if nothing
// changes, because a stream ends a watch that is silent for too long.
func (c *contact) opened() (closed func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	since := time.Now()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open--
		if now := time.Now(); now.Sub(since) >= leastWatch {
			c.at = now
		}
	}
}

// Contact returns when the API server last answered a request for pods: now while a watch is open, the zero time before the
// first response.
func (w *Watch) Contact() time.Time {
	c := w.contact
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open > 0 {
		return time.Now()
	}
	return c.at
}

// Failure returns why the last request for pods failed; nil if one has succeeded since.
func (w *Watch) Failure() error {
	w.contact.mu.Lock()
	defer w.contact.mu.Unlock()
	return w.contact.failure
}
