// Package podwatch watches the Pods of a cluster through client-go's dynamic client, keeps a compact cache of them,
// and tells which pods have changed. It knows nothing of rules, scores or HTTP.
package podwatch

import (
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
}

// A Watch is a live cache of all Pods of a cluster.
type Watch struct {
	log     *zap.Logger
	workers int
	metrics *metrics
	config  *rest.Config
	current atomic.Pointer[lens]
	queue   workqueue.TypedInterface[Key]
	synced  chan struct{}
	inSync  sync.Once // closes synced
	relists relists
	contact *contact

	started chan struct{} // closed by Run
	mu      sync.Mutex
	life    context.Context // of Run, and so of all lenses; set when started is closed
	running sync.WaitGroup  // of the lenses
}

// A lens is the cache of all pods, reduced by one projection.
type lens struct {
	projection Projection
	informer   cache.SharedIndexInformer
	handler    cache.ResourceEventHandlerRegistration
	stop       context.CancelFunc
}

// New makes a Watch of all Pods of a cluster. A timeout and limits of the configuration are left out. Nothing is asked
// of the API server before Run.
func New(config *rest.Config, o Options) (*Watch, error) {
	w := &Watch{
		log:     o.Log,
		workers: max(1, o.Workers),
		config:  config,
		queue:   workqueue.NewTyped[Key](),
		synced:  make(chan struct{}),
		started: make(chan struct{}),
		relists: newRelists(),
		contact: new(contact),
	}
	w.metrics = newMetrics(o.Registerer, w.queue.Len)
	first, err := w.newLens(o.Projection)
	if err != nil {
		return nil, err
	}
	w.current.Store(first)
	return w, nil
}

func (w *Watch) newLens(projection Projection) (*lens, error) {
	client, err := newClient(w.config, projection)
	if err != nil {
		return nil, fmt.Errorf("make the client for pods: %w", err)
	}
	source := newSource(client, w.log, w.metrics)
	source.relists, source.contact = w.relists, w.contact
	l := &lens{projection: projection}
	// Resync is 0: it would replay the cache, which finds nothing that is wrong with the cache. There is no transform: a
	// pod is reduced when it is decoded.
	l.informer = cache.NewSharedIndexInformerWithOptions(source.listerWatcher(), &Pod{},
		cache.SharedIndexInformerOptions{ObjectDescription: "pods"})
	if err := l.informer.SetWatchErrorHandlerWithContext(source.ended); err != nil {
		return nil, fmt.Errorf("set up the pod informer: %w", err)
	}
	// The handler does nothing but add keys: what waits between informer and handler is not bounded.
	if l.handler, err = l.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { w.changed(l, obj) },
		UpdateFunc: func(before, after any) { w.updated(l, before, after) },
		DeleteFunc: func(obj any) { w.changed(l, obj) },
	}); err != nil {
		return nil, fmt.Errorf("set up the pod informer: %w", err)
	}
	return l, nil
}

func (w *Watch) updated(l *lens, before, after any) {
	b, okBefore := before.(*Pod)
	a, okAfter := after.(*Pod)
	if okBefore && okAfter {
		// After a relist every pod comes again, changed or not. The version alone does not tell: where the API server
		// was restored from a backup, it gives a version out twice.
		if b.same(a) {
			return
		}
		// Most changes of a pod are of its status, and of nothing that is kept of it.
		if !l.projection.ReadsVersion() && b.differsInVersionAlone(a) {
			if l == w.current.Load() {
				w.metrics.events.Inc()
			}
			return
		}
	}
	w.changed(l, after)
}

func (w *Watch) changed(l *lens, obj any) {
	if l != w.current.Load() {
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
		select {
		case <-first.handler.HasSyncedChecker().Done():
		case <-w.synced: // another lens was faster
		case <-ctx.Done():
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

// start lets a lens follow the cluster until it is stopped or Run ends.
func (w *Watch) start(l *lens) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life.Err() != nil {
		return errEnded
	}
	ctx, stop := context.WithCancel(w.life)
	l.stop = stop
	w.running.Go(func() {
		defer stop()
		l.informer.RunWithContext(ctx)
	})
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
	next, err := w.newLens(projection)
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
	select {
	case <-next.handler.HasSyncedChecker().Done():
	case <-ctx.Done():
		next.stop()
		return ctx.Err()
	case <-w.life.Done():
		return errEnded
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
	obj, ok, err := w.current.Load().informer.GetStore().GetByKey(cache.NewObjectName(key.Namespace, key.Name).String())
	if err != nil || !ok {
		return nil, false
	}
	pod, ok := obj.(*Pod)
	return pod, ok
}

// All yields the pods of the cache, in no order. Each is the present form at some moment of the walk.
func (w *Watch) All() iter.Seq[*Pod] {
	return func(yield func(*Pod) bool) {
		for _, obj := range w.current.Load().informer.GetStore().List() {
			if pod, ok := obj.(*Pod); ok && !yield(pod) {
				return
			}
		}
	}
}
