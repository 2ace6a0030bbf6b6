// Package podwatch watches the Pods of a cluster through client-go's dynamic client, keeps a compact cache of them,
// and tells which pods have changed. It knows nothing of rules, scores or HTTP.
package podwatch

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
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
}

// A Watch is a live cache of all Pods of a cluster.
type Watch struct {
	log      *zap.Logger
	workers  int
	metrics  *metrics
	informer cache.SharedIndexInformer
	handler  cache.ResourceEventHandlerRegistration
	queue    workqueue.TypedInterface[Key]
	synced   chan struct{}
	relists  relists
}

// New makes a Watch of all Pods that the client can see. The client must have no timeout of its own: it would cut
// every watch. Nothing is asked of the API server before Run.
func New(client dynamic.Interface, o Options) (*Watch, error) {
	w := &Watch{
		log:     o.Log,
		workers: max(1, o.Workers),
		queue:   workqueue.NewTyped[Key](),
		synced:  make(chan struct{}),
		relists: newRelists(),
	}
	w.metrics = newMetrics(o.Registerer, w.queue.Len)
	source := newSource(client, o.Log, w.metrics)
	source.relists = w.relists
	// Resync is 0: it would replay the cache, which finds nothing that is wrong with the cache.
	w.informer = cache.NewSharedIndexInformerWithOptions(source.listerWatcher(), &unstructured.Unstructured{},
		cache.SharedIndexInformerOptions{ObjectDescription: "pods"})
	if err := w.informer.SetTransform(compact); err != nil {
		return nil, fmt.Errorf("set up the pod informer: %w", err)
	}
	if err := w.informer.SetWatchErrorHandlerWithContext(source.ended); err != nil {
		return nil, fmt.Errorf("set up the pod informer: %w", err)
	}
	var err error
	// The handler does nothing but add keys: what waits between informer and handler is not bounded.
	if w.handler, err = w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { w.changed(obj) },
		UpdateFunc: w.updated,
		DeleteFunc: func(obj any) { w.changed(obj) },
	}); err != nil {
		return nil, fmt.Errorf("set up the pod informer: %w", err)
	}
	return w, nil
}

func (w *Watch) updated(before, after any) {
	b, okBefore := before.(*Pod)
	a, okAfter := after.(*Pod)
	// After a relist every pod comes again, changed or not. The version alone does not tell: where the API server was
	// restored from a backup, it gives a version out twice.
	if okBefore && okAfter && b.UID == a.UID && b.ResourceVersion == a.ResourceVersion && bytes.Equal(b.JSON, a.JSON) {
		return
	}
	w.changed(after)
}

func (w *Watch) changed(obj any) {
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
	var group errgroup.Group
	group.Go(func() error {
		w.informer.RunWithContext(ctx)
		return nil
	})
	group.Go(func() error {
		select {
		case <-w.handler.HasSyncedChecker().Done():
			w.metrics.syncDuration.Set(time.Since(started).Seconds())
			close(w.synced)
		case <-ctx.Done():
		}
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
	return group.Wait()
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
	obj, ok, err := w.informer.GetStore().GetByKey(cache.NewObjectName(key.Namespace, key.Name).String())
	if err != nil || !ok {
		return nil, false
	}
	pod, ok := obj.(*Pod)
	return pod, ok
}

// All yields the pods of the cache, in no order. Each is the present form at some moment of the walk.
func (w *Watch) All() iter.Seq[*Pod] {
	return func(yield func(*Pod) bool) {
		for _, obj := range w.informer.GetStore().List() {
			if pod, ok := obj.(*Pod); ok && !yield(pod) {
				return
			}
		}
	}
}
