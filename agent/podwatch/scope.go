package podwatch

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// hideAfter is how long the pods of a namespace stay in the cache after the permission to list them was withdrawn, so that
// replacing a Role does not drop them.
const hideAfter = 2 * time.Minute

// A scope is a part of the cluster that is watched with requests of its own: the whole cluster, or one namespace.
type scope struct {
	namespace string           // metav1.NamespaceAll for the whole cluster
	relist    chan struct{}    // holds a pending request to list all pods
	permitted prometheus.Gauge // nil for the whole cluster
	onHidden  func()           // is called after hidden has changed
	// hidden is set while the pods of the namespace may not be read and the cached ones are stale.
	hidden atomic.Bool

	mu        sync.Mutex
	forbidden bool // by the last response
	hiding    *time.Timer
}

func newScope(namespace string) *scope {
	return &scope{namespace: namespace, relist: make(chan struct{}, 1)}
}

// requestRelist makes the current watch end with a list of all pods.
func (s *scope) requestRelist() {
	select {
	case s.relist <- struct{}{}:
	default: // one is pending
	}
}

// refused records that the API server forbids to read the pods. The whole cluster is never hidden; a Watch that may not read
// it is not in sync.
func (s *scope) refused() {
	if s.namespace == metav1.NamespaceAll {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.permitted.Set(0)
	if !s.forbidden {
		s.forbidden = true
		s.hiding = time.AfterFunc(hideAfter, func() { s.hide(true) })
	}
}

// answered records that the pods can be read.
func (s *scope) answered() {
	if s.namespace == metav1.NamespaceAll {
		return
	}
	s.mu.Lock()
	forbidden := s.forbidden
	s.permitted.Set(1)
	if forbidden {
		s.forbidden = false
		s.hiding.Stop()
	}
	s.mu.Unlock()
	if forbidden {
		s.hide(false)
	}
}

func (s *scope) hide(hidden bool) {
	s.mu.Lock()
	hidden = hidden && s.forbidden
	changed := s.hidden.Swap(hidden) != hidden
	s.mu.Unlock()
	if changed {
		s.onHidden()
	}
}

func (s *scope) isForbidden() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forbidden
}

// Forbidden returns the sorted namespaces whose pods the API server forbids to list.
func (w *Watch) Forbidden() []string {
	var names []string
	for _, s := range w.scopes {
		if s.isForbidden() {
			names = append(names, s.namespace)
		}
	}
	slices.Sort(names)
	return names
}

// Relist requests a list of all pods. The cache stays as it is until the list is complete, and then holds what was listed.
func (w *Watch) Relist() {
	for _, s := range w.scopes {
		s.requestRelist()
	}
}
