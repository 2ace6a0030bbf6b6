package agent

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A heldCache is a cache whose watch is as a test says.
type heldCache struct {
	synced  chan struct{}
	contact time.Time
	open    bool
}

func (c *heldCache) Synced() <-chan struct{} { return c.synced }

func (c *heldCache) Contact() time.Time {
	if c.open {
		return time.Now()
	}
	return c.contact
}

func (c *heldCache) Failure() error { return errors.New("pods is forbidden") }

// TestSyncIsLost follows one replica: sync is lost when pods fail for 2 minutes while the Lease is answered, and regained by
// the next answer alone.
func TestSyncIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := &heldCache{synced: make(chan struct{})}
		s := &syncCheck{cache: cache}
		var answered time.Time // since when the Lease is answered
		check := func(when string, want error) {
			t.Helper()
			if got := s.check(time.Since(answered)); !errors.Is(got, want) {
				t.Errorf("%s: %v, want %v", when, got, want)
			}
		}
		pass := func(d time.Duration) { <-time.After(d) }
		answered = time.Now()
		pass(time.Hour)
		check("before the first list", errNotSynced)
		close(cache.synced)
		cache.contact = time.Now()
		check("in sync", nil)
		cache.open = true
		pass(time.Hour)
		check("a watch that brings nothing", nil)
		cache.open, cache.contact = false, time.Now()
		pass(lostAfter - time.Second)
		check("a second before", nil)
		pass(time.Second)
		check("after 2 minutes of failures", errSyncLost)
		answered = time.Now()
		check("the Lease failed once, too", errSyncLost)
		pass(time.Second)
		cache.contact = time.Now()
		check("the next answer", nil)
		pass(time.Hour)
		answered = time.Now().Add(-time.Minute)
		check("an hour without any answer, and a minute of the Lease's", nil)
		pass(time.Minute)
		check("two minutes of the Lease's", errSyncLost)
		cache.open = true
		check("a watch again", nil)
	})
}
