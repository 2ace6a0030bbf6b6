package podwatch

import (
	"sync"
	"time"
)

// leastWatch is how long a watch must have been open for its end to count as contact: one that is cut off at once shows
// nothing of the pods.
const leastWatch = time.Second

// A contact knows when the API server last answered a request for pods. All projected caches of a Watch share one.
type contact struct {
	mu      sync.Mutex
	at      time.Time
	open    int   // watches that follow the pods, past their initial stream
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

// opened records that a watch follows the pods; closed must be called at its end. While it is open there is contact, even
// where nothing changes: a watch that is silent for too long is ended.
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

// last is the time of the last contact: now, while a watch is open.
func (c *contact) last() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open > 0 {
		return time.Now()
	}
	return c.at
}

// Contact returns when the API server last answered a request for pods: now, while a watch of them is open; the zero time
// before the first answer.
func (w *Watch) Contact() time.Time { return w.contact.last() }

// Failure returns why the last request for pods failed; nil where one has been answered since.
func (w *Watch) Failure() error {
	w.contact.mu.Lock()
	defer w.contact.mu.Unlock()
	return w.contact.failure
}
