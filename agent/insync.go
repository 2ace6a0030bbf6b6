package agent

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// lostAfter is how long all lists and watches of pods may fail, while requests for the Lease succeed, before this replica is
// out of sync.
const lostAfter = 2 * time.Minute

var (
	errNotSynced = errors.New("the initial list of pods is not in the cache yet")
	errSyncLost  = fmt.Errorf("no list or watch of pods has succeeded for %s", lostAfter)
)

// A followedCache is the part of the watch that a syncCheck uses.
type followedCache interface {
	Synced() <-chan struct{}
	Contact() time.Time
	Failure() error
}

// A syncCheck decides whether the cache of pods is in sync, so that this replica may lead.
type syncCheck struct {
	cache followedCache

	mu   sync.Mutex
	lost time.Time // the last contact before sync was lost; sync is lost until there is another one
}

// check returns why this replica must not lead; nil if it may. answering is how long requests for the Lease have succeeded: if
// they fail too, no other replica could do better.
func (s *syncCheck) check(answering time.Duration) error {
	select {
	case <-s.cache.Synced():
	default:
		return errNotSynced
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	contact := s.cache.Contact()
	if !s.lost.IsZero() && contact.Equal(s.lost) {
		return errSyncLost
	}
	if min(time.Since(contact), answering) < lostAfter {
		s.lost = time.Time{}
		return nil
	}
	s.lost = contact
	return errSyncLost
}

// withFailure adds the error of the last request for pods.
func (s *syncCheck) withFailure(err error) error {
	if failure := s.cache.Failure(); failure != nil {
		return fmt.Errorf("%w; the last request failed: %w", err, failure)
	}
	return err
}
