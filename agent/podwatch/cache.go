package podwatch

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
)

// A projectedCache is the cache of all pods, reduced by one projection, with a part for each scope.
type projectedCache struct {
	projection Projection
	parts      map[string]*scopeCache // by the namespace of the scope
	stop       chan struct{}          // closed when the cache is not in use any more
}

// A scopeCache is the cache of the pods of one scope.
type scopeCache struct {
	scope    *scope
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandlerRegistration
}

func (w *Watch) newProjectedCache(projection Projection) (*projectedCache, error) {
	client, err := newClient(w.config, projection)
	if err != nil {
		return nil, fmt.Errorf("create the client for pods: %w", err)
	}
	c := &projectedCache{
		projection: projection,
		parts:      make(map[string]*scopeCache, len(w.scopes)),
		stop:       make(chan struct{}),
	}
	for _, scope := range w.scopes {
		if c.parts[scope.namespace], err = w.newScopeCache(c, scope, client); err != nil {
			return nil, fmt.Errorf("create the informer for pods: %w", err)
		}
	}
	return c, nil
}

func (w *Watch) newScopeCache(c *projectedCache, scope *scope, client dynamic.Interface) (*scopeCache, error) {
	source := newSource(client, scope, w.log, w.metrics)
	source.contact = w.contact
	p := &scopeCache{scope: scope}
	// There is no resync: it would replay the cache, which cannot show that the cache is wrong. There is no transform: a pod is
	// reduced when it is decoded.
	p.informer = cache.NewSharedIndexInformerWithOptions(source.listerWatcher(), &Pod{},
		cache.SharedIndexInformerOptions{ObjectDescription: "pods"})
	if err := p.informer.SetWatchErrorHandlerWithContext(source.watchEnded); err != nil {
		return nil, err
	}
	// The handlers only add keys to the queue, because client-go's buffer between informer and handler is unbounded.
	var err error
	p.handler, err = p.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { w.changed(c, obj) },
		UpdateFunc: func(before, after any) { w.updated(c, before, after) },
		DeleteFunc: func(obj any) { w.changed(c, obj) },
	})
	return p, err
}

// part returns the cache that has the pods of a namespace; nil if the namespace is not watched.
func (c *projectedCache) part(namespace string) *scopeCache {
	if whole, ok := c.parts[metav1.NamespaceAll]; ok {
		return whole
	}
	return c.parts[namespace]
}

// awaitSync waits until each part holds its initial list, except for forbidden namespaces. At least one part must hold its
// list. It returns true also when another channel is closed, and false when ctx is done.
func (c *projectedCache) awaitSync(ctx context.Context, or <-chan struct{}) bool {
	const interval = 100 * time.Millisecond // a namespace may become forbidden, or permitted, at any time
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
			again = time.After(interval)
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
