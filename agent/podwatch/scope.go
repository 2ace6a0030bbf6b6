package podwatch

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// hideAfter is how long the pods of a namespace stay in the cache after the permission to list them was withdrawn. It
// spares a namespace whose Role is replaced.
const hideAfter = 2 * time.Minute

// A scope is a part of the cluster that is watched by requests of its own: all of it, or one namespace.
type scope struct {
	namespace string // metav1.NamespaceAll for the whole cluster
	relists   relists
	permitted prometheus.Gauge // nil for the whole cluster
	// changed is called, in no order, after hidden has changed.
	changed func()
	// hidden: the pods of the namespace may not be read, and what the cache holds of them is old.
	hidden atomic.Bool

	mu        sync.Mutex
	forbidden bool // the last answer was a refusal
	hiding    *time.Timer
}

func newScope(namespace string) *scope {
	return &scope{namespace: namespace, relists: newRelists()}
}

// refused notes that the API server forbids to read the pods of the namespace. The whole cluster is never hidden: who
// reads none of it is not in sync, and says so.
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

// answered notes that the pods of the namespace can be read.
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
		s.changed()
	}
}

func (s *scope) isForbidden() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.forbidden
}

// permissionChanged looks at all pods of a namespace again, which are there now or are not.
func (w *Watch) permissionChanged(s *scope) {
	for _, obj := range w.current.Load().parts[s.namespace].informer.GetStore().List() {
		if pod, ok := obj.(*Pod); ok {
			w.queue.Add(Key{pod.Namespace, pod.Name})
		}
	}
}

// Forbidden are the namespaces whose pods the API server forbids to list, sorted.
func (w *Watch) Forbidden() []string {
	var names []string
	for _, s := range w.scopes {
		if s.isForbidden() {
			names = append(names, s.namespace)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
}

// awaitSync waits until each part holds its initial list, but for namespaces that are forbidden; at least one part must
// hold its list. It also returns when another channel is closed, and is false only where ctx is done.
func (c *projectedCache) awaitSync(ctx context.Context, or <-chan struct{}) bool {
	// A namespace may become forbidden, or permitted, at any time: so this looks again.
	const look = 100 * time.Millisecond
	for !c.inSync() {
		var first <-chan struct{}
		for _, p := range c.parts {
			if !p.scope.isForbidden() && !p.handler.HasSynced() {
				first = p.handler.HasSyncedChecker().Done()
				break
			}
		}
		var again <-chan time.Time
		if len(c.parts) > 1 || first == nil {
			again = time.After(look)
		}
		select {
		case <-first:
		case <-again:
		case <-or:
			return true
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (c *projectedCache) inSync() bool {
	synced := 0
	for _, p := range c.parts {
		switch {
		case p.handler.HasSynced():
			synced++
		case !p.scope.isForbidden():
			return false
		}
	}
	return synced > 0
}
