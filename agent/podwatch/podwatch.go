// Package podwatch watches the Pods of a cluster, or of some of its namespaces, through client-go's dynamic client, keeps
// a compact cache of them, and reports which pods have changed. It knows nothing of rules, scores or HTTP.
package podwatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// Key names one pod.
type Key struct{ Namespace, Name string }

// Handle is called for each pod that may have changed, with its present form, or nil when it is gone. It is called
// from several goroutines, but never for one key from two at the same time. Only the latest form of a pod is of
// interest: forms between two calls are not seen.
type Handle func(key Key, pod *Pod)

// Options of a Watch.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
	// Workers is how many goroutines call Handle.
	Workers int
	// Projection says what the cache keeps of each pod.
	Projection Projection
	// Namespaces are the only namespaces to watch, each with requests of its own; none for the whole cluster.
	Namespaces []string
}

// A Watch is a live cache of all Pods of a cluster.
type Watch struct {
	log     *zap.Logger
	workers int
	metrics *metrics
	config  *rest.Config
	current atomic.Pointer[projectedCache]
	queue   workqueue.TypedInterface[Key]
	synced  chan struct{}
	inSync  sync.Once // closes synced
	scopes  []*scope
	contact *contact

	started chan struct{} // closed by Run
	mu      sync.Mutex
	life    context.Context // of Run, and so of all projected caches; set when started is closed
	running sync.WaitGroup  // of the projected caches
}

// A projectedCache is the cache of all pods, reduced by one projection: one part for each scope.
type projectedCache struct {
	projection Projection
	parts      map[string]*scopeCache // by the namespace of the scope
	stop       context.CancelFunc
}

// A scopeCache is the cache of the pods of one scope.
type scopeCache struct {
	scope    *scope
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandlerRegistration
}

// part returns the part that has the pods of a namespace; nil where that is not watched.
func (c *projectedCache) part(namespace string) *scopeCache {
	if whole, ok := c.parts[metav1.NamespaceAll]; ok {
		return whole
	}
	return c.parts[namespace]
}

// New makes a Watch of the Pods of a cluster. A timeout and limits of the configuration are left out. Nothing is asked
// of the API server before Run.
func New(config *rest.Config, o Options) (*Watch, error) {
	w := &Watch{
		log:     o.Log,
		workers: max(1, o.Workers),
		config:  config,
		queue:   workqueue.NewTyped[Key](),
		synced:  make(chan struct{}),
		started: make(chan struct{}),
		contact: new(contact),
	}
	w.metrics = newMetrics(o.Registerer, w.queue.Len)
	for _, namespace := range o.Namespaces {
		s := newScope(namespace)
		s.permitted = w.metrics.permission(o.Registerer, namespace)
		s.changed = func() { w.permissionChanged(s) }
		w.scopes = append(w.scopes, s)
	}
	if len(w.scopes) == 0 {
		w.scopes = []*scope{newScope(metav1.NamespaceAll)}
	}
	first, err := w.newProjectedCache(o.Projection)
	if err != nil {
		return nil, err
	}
	w.current.Store(first)
	return w, nil
}

func (w *Watch) newProjectedCache(projection Projection) (*projectedCache, error) {
	client, err := newClient(w.config, projection)
	if err != nil {
		return nil, fmt.Errorf("make the client for pods: %w", err)
	}
	c := &projectedCache{projection: projection, parts: make(map[string]*scopeCache, len(w.scopes))}
	for _, scope := range w.scopes {
		if c.parts[scope.namespace], err = w.newScopeCache(c, scope, client); err != nil {
			return nil, fmt.Errorf("set up the pod informer: %w", err)
		}
	}
	return c, nil
}

func (w *Watch) newScopeCache(c *projectedCache, scope *scope, client dynamic.Interface) (*scopeCache, error) {
	source := newSource(client, scope, w.log, w.metrics)
	source.contact = w.contact
	p := &scopeCache{scope: scope}
	// Resync is 0: it would replay the cache, which finds nothing that is wrong with the cache. There is no transform: a
	// pod is reduced when it is decoded.
	p.informer = cache.NewSharedIndexInformerWithOptions(source.listerWatcher(), &Pod{},
		cache.SharedIndexInformerOptions{ObjectDescription: "pods"})
	if err := p.informer.SetWatchErrorHandlerWithContext(source.ended); err != nil {
		return nil, err
	}
	// The handler does nothing but add keys: what waits between informer and handler is not bounded.
	var err error
	p.handler, err = p.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { w.changed(c, obj) },
		UpdateFunc: func(before, after any) { w.updated(c, before, after) },
		DeleteFunc: func(obj any) { w.changed(c, obj) },
	})
	return p, err
}

func (w *Watch) updated(c *projectedCache, before, after any) {
	b, okBefore := before.(*Pod)
	a, okAfter := after.(*Pod)
	if okBefore && okAfter {
		// After a relist every pod comes again, changed or not. The version alone does not tell: where the API server
		// was restored from a backup, it gives a version out twice.
		if b.same(a) {
			return
		}
		// Most changes of a pod are of its status, and of nothing that is kept of it.
		if !c.projection.ReadsVersion() && b.differsInVersionAlone(a) {
			if c == w.current.Load() {
				w.metrics.events.Inc()
			}
			return
		}
	}
	w.changed(c, after)
}

func (w *Watch) changed(c *projectedCache, obj any) {
	if c != w.current.Load() {
		return // not yet, or no longer; who makes it the current one looks at all pods
	}
	w.metrics.events.Inc()
	switch obj := obj.(type) {
	case *Pod:
		w.queue.Add(Key{obj.Namespace, obj.Name})
	case cache.DeletedFinalStateUnknown:
		// The delete itself was missed; the key is all that is sure.
		if namespace, name, err := cache.SplitMetaNamespaceKey(obj.Key); err == nil {
			w.queue.Add(Key{namespace, name})
		}
	}
}

// Run watches until ctx is done, and calls handle for each pod that may have changed. It may be called once.
func (w *Watch) Run(ctx context.Context, handle Handle) error {
	started := time.Now()
	first := w.current.Load()
	w.life = ctx
	_ = w.start(first) // or Run is to end already
	close(w.started)
	var group errgroup.Group
	group.Go(func() error {
		if !first.awaitSync(ctx, w.synced) { // another projectedCache may be faster
			return nil
		}
		w.metrics.syncDuration.Set(time.Since(started).Seconds())
		w.isInSync()
		return nil
	})
	for range w.workers {
		group.Go(func() error {
			w.work(ctx, handle)
			return nil
		})
	}
	<-ctx.Done()
	w.queue.ShutDown()
	// A start that did not see the end yet is over when the lock is free.
	w.mu.Lock()
	w.mu.Unlock() //nolint:staticcheck // an empty critical section is what is wanted
	w.running.Wait()
	return group.Wait()
}

// start lets a projectedCache follow the cluster until it is stopped or Run ends.
func (w *Watch) start(c *projectedCache) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life.Err() != nil {
		return errEnded
	}
	ctx, stop := context.WithCancel(w.life)
	c.stop = stop
	for _, p := range c.parts {
		w.running.Go(func() { p.informer.RunWithContext(ctx) })
	}
	return nil
}

func (w *Watch) isInSync() { w.inSync.Do(func() { close(w.synced) }) }

var errEnded = errors.New("the watch of pods has ended")

// Reproject lists all pods anew, reduced by another projection, beside the cache as it is. When the list is complete it
// calls adopt, which must call swap, once: from then on Get and All know the new forms alone. Until then, and where
// Reproject returns an error because ctx is done or Run has ended, nothing changes. Calls must not overlap.
//
// The pods may differ in more than their fields at the swap: who keeps what follows from them must look at all of them.
func (w *Watch) Reproject(ctx context.Context, projection Projection, adopt func(swap func())) error {
	next, err := w.newProjectedCache(projection)
	if err != nil {
		return err
	}
	select {
	case <-w.started:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := w.start(next); err != nil {
		return err
	}
	if !next.awaitSync(ctx, w.life.Done()) || w.life.Err() != nil {
		next.stop()
		return cmp.Or(ctx.Err(), errEnded)
	}
	adopt(func() { w.current.Swap(next).stop() })
	select {
	case <-w.synced:
		return nil
	default:
	}
	for pod := range w.All() {
		w.queue.Add(Key{pod.Namespace, pod.Name}) // where who waits for the initial list finds it
	}
	w.isInSync()
	return nil
}

func (w *Watch) work(ctx context.Context, handle Handle) {
	for {
		key, shutdown := w.queue.Get()
		if shutdown || ctx.Err() != nil { // the queue gives out what it still holds
			return
		}
		pod, _ := w.Get(key)
		handle(key, pod)
		w.queue.Done(key)
	}
}

// Synced is closed when the cache holds the initial list, and each pod of it has been told to the queue of Handle.
func (w *Watch) Synced() <-chan struct{} { return w.synced }

// Get returns the present form of a pod from the cache.
func (w *Watch) Get(key Key) (*Pod, bool) {
	p := w.current.Load().part(key.Namespace)
	if p == nil || p.scope.hidden.Load() {
		return nil, false
	}
	obj, ok, err := p.informer.GetStore().GetByKey(cache.NewObjectName(key.Namespace, key.Name).String())
	if err != nil || !ok {
		return nil, false
	}
	pod, ok := obj.(*Pod)
	return pod, ok
}

// All yields the pods of the cache, in no order. Each is the present form at some moment of the walk.
func (w *Watch) All() iter.Seq[*Pod] {
	return func(yield func(*Pod) bool) {
		for _, p := range w.current.Load().parts {
			if p.scope.hidden.Load() {
				continue
			}
			for _, obj := range p.informer.GetStore().List() {
				if pod, ok := obj.(*Pod); ok && !yield(pod) {
					return
				}
			}
		}
	}
}
