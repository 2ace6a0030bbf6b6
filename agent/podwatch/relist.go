package podwatch

import (
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// relists carries the wish for a list of all pods from Relist to the stream that there is.
type relists chan struct{}

func newRelists() relists { return make(relists, 1) }

// asked yields when a stream is to end so that all pods are listed anew. An initial stream is such a list itself.
func (r relists) asked(initial bool) <-chan struct{} {
	if initial {
		return nil
	}
	return r
}

// begun drops a wish that an initial stream fulfils.
func (r relists) begun(initial bool) {
	if !initial {
		return
	}
	select {
	case <-r:
	default:
	}
}

// ask wishes for a list.
func (r relists) ask() {
	select {
	case r <- struct{}{}:
	default: // it is asked for already
	}
}

// Relist asks for a list of all pods. The cache stays as it is until that is there, and then holds what was listed.
func (w *Watch) Relist() {
	for _, s := range w.scopes {
		s.relists.ask()
	}
}

// Waiting returns how many pods have changed and wait for Handle.
func (w *Watch) Waiting() int { return w.queue.Len() }

// expired is what an API server says to a watch that cannot go on from where it is; client-go then lists anew.
func expired() watch.Event {
	return watch.Event{Type: watch.Error, Object: &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired,
		Message: "the cache of pods differs from a list of them",
	}}
}
