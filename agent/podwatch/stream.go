package podwatch

import (
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// A stream passes on the events of one watch, and watches it: when it was last heard of, and whether an initial stream
// comes to its end.
type stream struct {
	upstream watch.Interface
	source   *source
	events   chan watch.Event
	cancel   func()
	initial  bool // the bookmark that ends the initial stream is still to come
	stopped  chan struct{}
	once     sync.Once
}

func newStream(upstream watch.Interface, cancel func(), s *source, initial bool) *stream {
	return &stream{
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
	silence := time.NewTimer(initialPatience)
	defer silence.Stop()
	if !s.initial {
		silence.Stop()
	}
	for {
		select {
		case event, ok := <-s.upstream.ResultChan():
			if !ok {
				return
			}
			s.source.heard()
			if event.Type == watch.Error {
				s.source.failed(verbWatch, apierrors.FromObject(event.Object))
			}
			if s.initial && endsInitialStream(event) {
				s.initial = false
				s.source.incomplete.Store(0)
				silence.Stop()
			} else if s.initial {
				silence.Reset(initialPatience)
			}
			select {
			case s.events <- event:
			case <-s.stopped:
				return
			}
		case <-silence.C:
			s.source.log.Warn("the initial stream of pods is silent; giving it up")
			return
		case <-s.stopped:
			return
		}
	}
}

func endsInitialStream(event watch.Event) bool {
	if event.Type != watch.Bookmark {
		return false
	}
	m, err := meta.Accessor(event.Object)
	return err == nil && m.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true"
}
