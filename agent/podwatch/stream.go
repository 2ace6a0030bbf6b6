package podwatch

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// A stream passes on the events of one watch, and watches it: when it was last heard of, and whether an initial stream
// comes to its end. One that has fallen silent is ended.
type stream struct {
	ctx      context.Context // of the watch
	upstream watch.Interface
	source   *source
	events   chan watch.Event
	cancel   func()
	initial  bool // the bookmark that ends the initial stream is still to come
	stopped  chan struct{}
	once     sync.Once
}

func newStream(ctx context.Context, upstream watch.Interface, cancel func(), s *source, initial bool) *stream {
	return &stream{
		ctx:      ctx,
		upstream: upstream,
		source:   s,
		events:   make(chan watch.Event),
		cancel:   cancel,
		initial:  initial,
		stopped:  make(chan struct{}),
	}
}

// ResultChan yields the events; it is closed when the watch has ended.
func (s *stream) ResultChan() <-chan watch.Event { return s.events }

// Stop ends the watch.
func (s *stream) Stop() {
	s.once.Do(func() { close(s.stopped) })
}

func (s *stream) run() {
	defer close(s.events)
	defer s.cancel()
	defer s.upstream.Stop()
	silence := time.NewTimer(silenceTimeout)
	defer silence.Stop()
	if s.initial {
		silence.Reset(initialTimeout)
	}
	closed := func() {}
	if !s.initial {
		closed = s.source.contact.opened()
	}
	defer func() { closed() }()
	s.source.scope.relists.begun(s.initial)
	heard := time.Now()
	added := 0 // since the silence began
	for {
		select {
		case event, ok := <-s.upstream.ResultChan():
			if !ok {
				if s.initial {
					s.failed(errCutOff)
				}
				return
			}
			heard = s.source.recordContact()
			switch {
			case event.Type == watch.Error:
				err := apierrors.FromObject(event.Object)
				s.failed(err)
				if s.initial && apierrors.IsTooManyRequests(err) {
					return // client-go would sleep on it, through the end of its context
				}
				s.send(event)
				return
			case s.initial && endsInitialStream(event):
				s.initial = false
				closed = s.source.contact.opened()
				s.source.incomplete.Store(0)
				silence.Reset(silenceTimeout)
			case s.initial && event.Type == watch.Added:
				// Nothing else is progress: a busy or patient server whose bookmark was lost on the way sends
				// changes and other bookmarks for ever.
				added++
			}
			if !s.send(event) {
				return
			}
		case <-silence.C:
			if !s.initial {
				if left := silenceTimeout - time.Since(heard); left > 0 {
					silence.Reset(left)
					continue
				}
				s.failed(errWatchSilent)
				return // client-go goes on from the version that it has
			}
			if added >= initialProgress {
				added = 0
				silence.Reset(initialTimeout)
				continue
			}
			s.failed(errInitialSilent)
			s.source.incomplete.Store(initialAttempts) // that took long enough: no second attempt
			return
		case <-s.source.scope.relists.asked(s.initial):
			s.send(expired())
			return
		case <-s.stopped:
			return
		}
	}
}

// send passes an event on; it is false when nobody waits for events any more.
func (s *stream) send(event watch.Event) bool {
	select {
	case s.events <- event:
		return true
	case <-s.stopped:
		return false
	}
}

// failed tells that the watch has failed, unless we were told to stop.
func (s *stream) failed(err error) {
	if s.ctx.Err() == nil {
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
