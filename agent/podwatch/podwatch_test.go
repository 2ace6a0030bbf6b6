package podwatch

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

func TestSyncedAfterTheInitialList(t *testing.T) {
	pods := []fakeapi.Object{pod("a", "one", "1", "nginx:1"), pod("a", "two", "2", "nginx:2"), pod("b", "one", "3", "nginx:3")}
	noWatchList := fakeapi.Status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
	tests := []struct {
		name string
		pods []fakeapi.Object
		old  bool // the server knows no watch that begins with all pods
		want string
	}{
		{name: "by WatchList", pods: pods, want: "watch-list@"},
		{name: "by LIST", pods: pods, old: true, want: "watch-list@ list@0 watch@103"},
		{name: "an empty cluster", want: "watch-list@"},
		{name: "an empty cluster by LIST", old: true, want: "watch-list@ list@0 watch@100"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := fakeapi.NewPods(test.pods...)
				held := make(chan struct{})
				api.Answer(func(r fakeapi.Request) http.HandlerFunc {
					switch {
					case r.Kind == fakeapi.KindWatchList && test.old:
						return noWatchList
					case r.Kind == fakeapi.KindWatchList:
						return api.Stream(fakeapi.Streaming{Hold: held})
					case r.Kind == fakeapi.KindList:
						return func(w http.ResponseWriter, r *http.Request) {
							<-held
							api.List(w, r)
						}
					}
					return nil
				})
				b := startHarness(t, api)
				<-time.After(3 * time.Second)
				synctest.Wait()
				if b.isSynced() {
					t.Error("in sync though the initial list has not ended")
				}
				if n := b.handled.total(); n != 0 {
					t.Errorf("Handle was called %d times before the initial list has ended", n)
				}
				close(held)
				b.await(time.Second)
				b.check()
				if got := b.kinds(); got != test.want {
					t.Errorf("requests %q, want %q", got, test.want)
				}
			})
		})
	}
}

// When Synced is closed, the queue and the cache have all of the initial list.
func TestSyncedWhileHandleIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pods = 50
		api := fakeapi.NewPods(many(pods)...)
		b := newHarness(t, api)
		release := make(chan struct{})
		b.handled.during = func(Key, *Pod) { <-release }
		b.run()
		b.await(time.Second)
		cached := 0
		for range b.All() {
			cached++
		}
		if cached != pods {
			t.Errorf("the cache holds %d pods, want %d", cached, pods)
		}
		const working = 4 // as many as there are workers
		if queued := b.metrics()["kube_devops_queue_length"]; queued != pods-working {
			t.Errorf("%v pods are queued, want %d", queued, pods-working)
		}
		close(release)
		b.check()
		if n := b.handled.total(); n != pods {
			t.Errorf("Handle was called %d times, want %d", n, pods)
		}
	})
}

func TestChanges(t *testing.T) {
	a, other := Key{"a", "one"}, Key{"b", "one"}
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"))
		b := startHarness(t, api)
		b.await(time.Second)
		steps := []struct {
			name   string
			change func()
			key    Key
			calls  int
			events float64
			gone   bool
		}{
			{name: "initial list", change: func() {}, key: a, calls: 1, events: 1},
			{name: "modified", change: func() { api.Put(pod("a", "one", "1", "nginx:2")) }, key: a, calls: 2, events: 2},
			{name: "touched", change: func() { api.Put(pod("a", "one", "1", "nginx:2")) }, key: a, calls: 3, events: 3},
			{name: "added", change: func() { api.Put(pod("b", "one", "2", "nginx:1")) }, key: other, calls: 1, events: 4},
			{name: "deleted", change: func() { api.Remove(fakeapi.Key(a)) }, key: a, calls: 4, events: 5, gone: true},
			{name: "created again", change: func() { api.Put(pod("a", "one", "3", "nginx:3")) }, key: a, calls: 5, events: 6},
			{name: "the other deleted", change: func() { api.Remove(fakeapi.Key(other)) }, key: other, calls: 2, events: 7, gone: true},
		}
		for _, step := range steps {
			step.change()
			b.check()
			if got := b.handled.calls[step.key]; got != step.calls {
				t.Errorf("%s: %d calls of Handle, want %d", step.name, got, step.calls)
			}
			if got, known := b.handled.last[step.key]; !known || (got == nil) != step.gone {
				t.Errorf("%s: Handle was given %v, want gone: %v", step.name, got, step.gone)
			}
			if pod, ok := b.Get(step.key); ok == step.gone || (pod == nil) != step.gone {
				t.Errorf("%s: Get says %v, %v, want gone: %v", step.name, pod, ok, step.gone)
			}
			if got := b.metrics()["pod_events_total"]; got != step.events {
				t.Errorf("%s: pod_events_total %v, want %v", step.name, got, step.events)
			}
		}
		if got, want := b.kinds(), "watch-list@"; got != want {
			t.Errorf("requests %q, want %q", got, want)
		}
	})
}

func TestGetOfAnUnknownPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startHarness(t, fakeapi.NewPods(pod("a", "one", "1", "nginx:1")))
		b.await(time.Second)
		for _, key := range []Key{{}, {"a", "two"}, {"b", "one"}, {"", "one"}, {"a", ""}} {
			if pod, ok := b.Get(key); ok || pod != nil {
				t.Errorf("Get(%v) = %v, %v, want nothing", key, pod, ok)
			}
		}
	})
}

func TestAllStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startHarness(t, fakeapi.NewPods(pod("a", "one", "1", "nginx:1"), pod("a", "two", "2", "nginx:1")))
		b.await(time.Second)
		seen := 0
		for range b.All() {
			seen++
			break
		}
		if seen != 1 {
			t.Errorf("%d pods seen, want 1", seen)
		}
	})
}

// The record fails the test if Handle runs twice at the same time for one key.
func TestHandleDoesNotOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(pod("a", "one", "1", "nginx:0"), pod("a", "two", "2", "nginx:0"))
		b := newHarness(t, api)
		parallel, most := 0, 0
		b.handled.during = func(Key, *Pod) {
			b.handled.mu.Lock()
			parallel++
			most = max(most, parallel)
			b.handled.mu.Unlock()
			<-time.After(100 * time.Millisecond)
			b.handled.mu.Lock()
			parallel--
			b.handled.mu.Unlock()
		}
		b.run()
		b.await(time.Second)
		const changes = 200
		for i := range changes {
			image := fmt.Sprintf("nginx:%d", i)
			api.Put(pod("a", "one", "1", image))
			if i%2 == 0 {
				api.Put(pod("a", "two", "2", image))
			} else {
				api.Remove(fakeapi.Key{Namespace: "a", Name: "two"})
			}
			<-time.After(10 * time.Millisecond)
		}
		b.awaitContent(time.Second)
		if most != 2 {
			t.Errorf("at most %d calls of Handle at the same time, want 2: one for each pod", most)
		}
		// With 2 s of changes and 100 ms for each call, forms between two calls are skipped.
		if n := b.handled.calls[Key{"a", "one"}]; n > changes/5 {
			t.Errorf("%d calls of Handle for %d changes, want those between two calls left out", n, changes)
		}
	})
}

func TestRunEndsBeforeItsQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHarness(t, fakeapi.NewPods(many(100)...))
		b.handled.during = func(Key, *Pod) { <-time.After(500 * time.Millisecond) }
		b.run()
		b.await(time.Minute)
		<-time.After(250 * time.Millisecond)
		if took := b.stop(); took > 500*time.Millisecond {
			t.Errorf("Run took %s to end, want no more than the calls of Handle that were running", took)
		}
		if n := b.handled.total(); n != 4 {
			t.Errorf("Handle was called %d times, want 4: nothing more after the end of the context", n)
		}
	})
}

func TestDefaultWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHarness(t, fakeapi.NewPods(many(3)...))
		var err error
		b.Watch, err = New(b.config, Options{Log: b.log, Registerer: prometheus.NewRegistry(), Projection: all{}})
		if err != nil {
			t.Fatal(err)
		}
		b.run()
		b.await(time.Second)
		b.check()
	})
}
