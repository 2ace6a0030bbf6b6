package podwatch

import (
	"context"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// A stream forwards the events of one watch. It records contact with the API server, and ends a watch that is silent or whose
// initial events do not end.
type stream struct {
	upstream watch.Interface
	source   *source
	events   chan watch.Event
	initial  bool // the bookmark that ends the initial events has not come yet
	stopped  chan struct{}
	once     sync.Once
}

func newStream(upstream watch.Interface, s *source, initial bool) *stream {
	return &stream{
		upstream: upstream,
		source:   s,
		events:   make(chan watch.Event),
		initial:  initial,
		stopped:  make(chan struct{}),
	}
}

// ResultChan implements watch.Interface.
func (s *stream) ResultChan() <-chan watch.Event { return s.events }

// Stop implements watch.Interface.
func (s *stream) Stop() {
	s.once.Do(func() { close(s.stopped) })
}

// run forwards events until the watch or the stream ends. ctx is that of the watch; cancel ends it.
func (s *stream) run(ctx context.Context, cancel func()) {
	defer close(s.events)
	defer cancel()
	defer s.upstream.Stop()
	silence := time.NewTimer(silenceTimeout)
	defer silence.Stop()
	closed, relist := func() {}, s.source.scope.relist
	if s.initial {
		silence.Reset(initialTimeout)
		relist = nil // this watch lists all pods, so a request that is pending is fulfilled
		select {
		case <-s.source.scope.relist:
		default:
		}
	} else {
		closed = s.source.contact.opened()
	}
	defer func() { closed() }()
	lastEvent := time.Now()
	added := 0 // since the timer was reset
	for {
		select {
		case event, ok := <-s.upstream.ResultChan():
			if !ok {
				if s.initial {
					s.failed(ctx, errCutOff)
				}
				return
			}
			lastEvent = s.source.recordContact()
			switch {
			case event.Type == watch.Error:
				err := apierrors.FromObject(event.Object)
				s.failed(ctx, err)
				if s.initial && apierrors.IsTooManyRequests(err) {
					return // client-go would sleep, without regard to its context
				}
				s.send(event)
				return
			case s.initial && endsInitialStream(event):
				s.initial, relist = false, s.source.scope.relist
				closed = s.source.contact.opened()
				s.source.incomplete.Store(0)
				silence.Reset(silenceTimeout)
			case s.initial && event.Type == watch.Added:
				// Other events are not progress: if the bookmark was lost, changes and other bookmarks come forever.
				added++
			}
			if !s.send(event) {
				return
			}
		case <-silence.C:
			if !s.initial {
				if left := silenceTimeout - time.Since(lastEvent); left > 0 {
					silence.Reset(left)
					continue
				}
				s.failed(ctx, errWatchSilent)
				return // client-go continues from its last resourceVersion
			}
			if added >= initialProgress {
				added = 0
				silence.Reset(initialTimeout)
				continue
			}
			s.failed(ctx, errInitialSilent)
			s.source.incomplete.Store(initialAttempts) // do not wait as long for a second attempt
			return
		case <-relist:
			// The API server says so to a watch that cannot continue; client-go then lists all pods.
			s.send(watch.Event{Type: watch.Error, Object: &metav1.Status{
				Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired,
				Message: "the cache of pods differs from a list of them",
			}})
			return
		case <-s.stopped:
			return
		}
	}
}

// send forwards an event; it returns false if the stream was stopped.
func (s *stream) send(event watch.Event) bool {
	select {
	case s.events <- event:
		return true
	case <-s.stopped:
		return false
	}
}

// failed records that the watch has failed, unless it was cancelled.
func (s *stream) failed(ctx context.Context, err error) {
	if ctx.Err() == nil {
		s.source.failed(verbWatch, err)
	}
}

func endsInitialStream(event watch.Event) bool {
	if event.Type != watch.Bookmark {
		return false
	}
	m, err := meta.Accessor(event.Object)
	return err == nil && m.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
}
