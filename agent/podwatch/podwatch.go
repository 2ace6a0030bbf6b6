package podwatch

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// Key names one pod.
type Key struct{ Namespace, Name string }

// Handle is called for each pod that may have changed, with its current form, or nil if the pod is gone. It is called from
// several goroutines, but not for one key at the same time. Forms of a pod between two calls are not reported.
type Handle func(key Key, pod *Pod)

// Options of a Watch.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
	// Workers is the number of goroutines that call Handle.
	Workers int
	// Projection determines what the cache keeps of each pod.
	Projection Projection
	// Namespaces are the only namespaces to watch, each with requests of its own. If there are none, the Watch covers the
	// whole cluster.
	Namespaces []string
}

// A Watch is a live cache of the Pods of a cluster.
type Watch struct {
	log     *zap.Logger
	workers int
	metrics *metrics
	config  *rest.Config
	current atomic.Pointer[projectedCache]
	queue   workqueue.TypedInterface[Key]
	scopes  []*scope
	contact *contact

	starts    chan *projectedCache // Run starts them
	ended     chan struct{}        // closed when Run starts nothing any more
	synced    chan struct{}
	setSynced func() // closes synced
}

// New makes a Watch of the Pods of a cluster. It ignores the timeout and the rate limits of the configuration. It sends no
// request before Run.
func New(config *rest.Config, o Options) (*Watch, error) {
	synced := make(chan struct{})
	w := &Watch{
		log:       o.Log,
		workers:   max(1, o.Workers),
		config:    config,
		queue:     workqueue.NewTyped[Key](),
		contact:   new(contact),
		starts:    make(chan *projectedCache),
		ended:     make(chan struct{}),
		synced:    synced,
		setSynced: sync.OnceFunc(func() { close(synced) }),
	}
	w.metrics = newMetrics(o.Registerer, w.queue.Len)
	for _, namespace := range o.Namespaces {
		s := newScope(namespace)
		s.permitted = w.metrics.permission(o.Registerer, namespace)
		s.onHidden = func() { w.enqueueAll(w.current.Load().parts[namespace]) }
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

func (w *Watch) updated(c *projectedCache, before, after any) {
	b, okBefore := before.(*Pod)
	a, okAfter := after.(*Pod)
	if okBefore && okAfter {
		// After a relist every pod comes again, changed or not. The resourceVersion alone does not show a change: an API
		// server that was restored from a backup uses versions twice.
		if b.equal(a) {
			return
		}
		// Most changes of a pod are of its status, which the projection drops.
		if !c.projection.ReadsVersion() && b.equalButVersion(a) {
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
		return // whoever makes it the current one must look at all pods
	}
	w.metrics.events.Inc()
	switch obj := obj.(type) {
	case *Pod:
		w.queue.Add(Key{obj.Namespace, obj.Name})
	case cache.DeletedFinalStateUnknown:
		if namespace, name, err := cache.SplitMetaNamespaceKey(obj.Key); err == nil {
			w.queue.Add(Key{namespace, name})
		}
	}
}

// enqueueAll reports all pods of a part of the cache, because they have become visible or hidden.
func (w *Watch) enqueueAll(p *scopeCache) {
	for _, obj := range p.informer.GetStore().List() {
		if pod, ok := obj.(*Pod); ok {
			w.queue.Add(Key{pod.Namespace, pod.Name})
		}
	}
}

// Run watches until ctx is done, and calls handle for each pod that may have changed. It may be called once.
func (w *Watch) Run(ctx context.Context, handle Handle) error {
	started := time.Now()
	var running sync.WaitGroup
	start := func(c *projectedCache) {
		ctx, cancel := context.WithCancel(ctx)
		running.Go(func() {
			defer cancel()
			select {
			case <-c.stop:
			case <-ctx.Done():
			}
		})
		for _, p := range c.parts {
			running.Go(func() { p.informer.RunWithContext(ctx) })
		}
	}
	first := w.current.Load()
	start(first)
	running.Go(func() {
		if first.awaitSync(ctx, w.synced) { // or another projectedCache was faster
			w.metrics.syncDuration.Set(time.Since(started).Seconds())
			w.setSynced()
		}
	})
	for range w.workers {
		running.Go(func() { w.work(ctx, handle) })
	}
	for ctx.Err() == nil {
		select {
		case next := <-w.starts:
			start(next)
		case <-ctx.Done():
		}
	}
	close(w.ended)
	w.queue.ShutDown()
	running.Wait()
	return nil
}

var errEnded = errors.New("the watch of pods has ended")

// Reproject lists all pods again, reduced by another projection, while the current cache stays in use. When the list is
// complete it calls adopt, which must call swap once: from then on Get and All return the new forms. Until then, and if
// Reproject returns an error because ctx is done or Run has ended, nothing changes. Calls must not overlap.
//
// The pods may differ in more than their fields after the swap, so a caller that has derived data from them must look at all
// of them.
func (w *Watch) Reproject(ctx context.Context, projection Projection, adopt func(swap func())) error {
	next, err := w.newProjectedCache(projection)
	if err != nil {
		return err
	}
	select {
	case w.starts <- next:
	case <-w.ended:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
	synced := next.awaitSync(ctx, w.ended)
	select {
	case <-w.ended:
		synced = false
	default:
	}
	if !synced {
		close(next.stop)
		return cmp.Or(ctx.Err(), errEnded)
	}
	adopt(func() { close(w.current.Swap(next).stop) })
	select {
	case <-w.synced:
		return nil
	default:
	}
	for _, p := range next.parts {
		w.enqueueAll(p) // before synced is closed, as after an initial list
	}
	w.setSynced()
	return nil
}

func (w *Watch) work(ctx context.Context, handle Handle) {
	for {
		key, shutdown := w.queue.Get()
		if shutdown || ctx.Err() != nil { // the queue still returns its keys after ShutDown
			return
		}
		pod, _ := w.Get(key)
		handle(key, pod)
		w.queue.Done(key)
	}
}

// Synced is closed when the cache holds the initial list and each pod of it is in the queue for Handle.
func (w *Watch) Synced() <-chan struct{} { return w.synced }

// Waiting returns the number of changed pods that wait for Handle.
func (w *Watch) Waiting() int { return w.queue.Len() }

// Get returns the current form of a pod from the cache.
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

// All yields the pods of the cache in no particular order.
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
