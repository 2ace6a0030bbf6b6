package podwatch

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// A new list of all pods reports each change once, and nothing else.
func TestRelist(t *testing.T) {
	one, two := Key{"a", "one"}, Key{"a", "two"}
	tests := []struct {
		name   string
		missed func(*fakeapi.Pods) // happens while the Watch sees nothing
		events float64             // changes that the list reports
		calls  map[Key]int         // of Handle, for the list
	}{
		{name: "nothing", missed: func(*fakeapi.Pods) {}},
		{
			name:   "a pod has changed",
			missed: func(api *fakeapi.Pods) { api.Put(pod("a", "one", "1", "nginx:2")) },
			events: 1, calls: map[Key]int{one: 1},
		},
		{
			name:   "a pod is gone",
			missed: func(api *fakeapi.Pods) { api.Remove(fakeapi.Key(one)) },
			events: 1, calls: map[Key]int{one: 1},
		},
		{
			name: "all pods are gone",
			missed: func(api *fakeapi.Pods) {
				api.Remove(fakeapi.Key(one))
				api.Remove(fakeapi.Key(two))
			},
			events: 2, calls: map[Key]int{one: 1, two: 1},
		},
		{
			name: "a pod was deleted and created again",
			missed: func(api *fakeapi.Pods) {
				api.Remove(fakeapi.Key(one))
				api.Put(pod("a", "one", "uid-2", "nginx:1"))
			},
			events: 1, calls: map[Key]int{one: 1},
		},
		{
			name:   "a pod is new",
			missed: func(api *fakeapi.Pods) { api.Put(pod("b", "new", "3", "nginx:1")) },
			events: 1, calls: map[Key]int{{"b", "new"}: 1},
		},
		{
			name: "a pod was created and deleted",
			missed: func(api *fakeapi.Pods) {
				api.Put(pod("b", "new", "3", "nginx:1"))
				api.Remove(fakeapi.Key{Namespace: "b", Name: "new"})
			},
		},
		{
			name: "versions went backwards",
			missed: func(api *fakeapi.Pods) {
				api.Rewind(10)
				api.Put(pod("a", "one", "1", "nginx:2"))
			},
			events: 1, calls: map[Key]int{one: 1},
		},
		{
			name: "versions went backwards, and one was used twice",
			missed: func(api *fakeapi.Pods) {
				api.Rewind(100)
				api.Put(pod("a", "one", "1", "nginx:2")) // version 101, which it has had before
			},
			events: 1, calls: map[Key]int{one: 1},
		},
	}
	servers := []struct {
		name   string
		script func(fakeapi.Request) http.HandlerFunc
	}{
		{name: "by WatchList"},
		{name: "by LIST", script: only(fakeapi.KindWatchList, fakeapi.Status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid))(nil)},
	}
	for _, server := range servers {
		for _, test := range tests {
			t.Run(test.name+" "+server.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"), pod("a", "two", "2", "nginx:1"))
					api.Answer(server.script)
					b := startHarness(t, api)
					b.await(time.Second)
					<-time.After(90 * time.Second)
					b.check()
					b.network.Stop()
					test.missed(api)
					api.Compact()
					b.network.Start()
					// The server rejects a watch from the last version, so all pods must be listed again.
					api.Answer(func(r fakeapi.Request) http.HandlerFunc {
						if r.Kind == fakeapi.KindWatch && r.Version == "102" {
							return fakeapi.Status(http.StatusGone, metav1.StatusReasonExpired)
						}
						if server.script != nil {
							return server.script(r)
						}
						return nil
					})
					b.awaitContent(10 * time.Second)
					<-time.After(10 * time.Second)
					b.check()
					if got, want := b.metrics()["pod_events_total"], 2+test.events; got != want {
						t.Errorf("pod_events_total %v, want %v; requests: %s", got, want, b.kinds())
					}
					for _, key := range []Key{one, two, {"b", "new"}} {
						want := test.calls[key]
						if key.Namespace == "a" {
							want++ // for the initial list
						}
						if got := b.handled.calls[key]; got != want {
							t.Errorf("%d calls of Handle for %v, want %d", got, key, want)
						}
					}
				})
			})
		}
	}
}

// An event with an earlier version is not dropped.
func TestVersionsGoBackwardsWithinAWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(pod("a", "one", "1", "nginx:1"), pod("a", "two", "2", "nginx:1"))
		b := startHarness(t, api)
		b.await(time.Second)
		api.Rewind(5)
		api.Put(pod("a", "one", "1", "nginx:2")) // version 6
		b.check()
		api.Rewind(5)
		api.Put(pod("a", "one", "1", "nginx:3")) // version 6 again, of the same pod
		b.check()
		api.Remove(fakeapi.Key{Namespace: "a", Name: "two"})
		b.check()
		if got := b.metrics()["pod_events_total"]; got != 5 {
			t.Errorf("pod_events_total %v, want 5", got)
		}
	})
}

// After etcd was restored from a backup versions go backwards, and a watch from a later version brings nothing.
func TestVersionsGoBackwardsBetweenWatches(t *testing.T) {
	for _, test := range []struct {
		name   string
		script func(fakeapi.Request) http.HandlerFunc
		within time.Duration
		relist bool
	}{
		{name: "the current version is known", within: 5 * time.Second, relist: true},
		{
			name: "the current version is not known at first", within: silenceTimeout + 30*time.Second, relist: true,
			script: func() func(fakeapi.Request) http.HandlerFunc {
				asked := 0
				return func(r fakeapi.Request) http.HandlerFunc {
					if r.Kind == fakeapi.KindVersion {
						if asked++; asked == 1 {
							return fakeapi.Status(http.StatusForbidden, metav1.StatusReasonForbidden)
						}
					}
					return nil
				}
			}(),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := fakeapi.NewPods(many(10)...)
				b := startHarness(t, api)
				b.await(time.Second)
				<-time.After(90 * time.Second) // client-go takes a watch that ends within 1 s for a fault of its own
				before := len(api.Received())
				api.Answer(test.script)
				b.network.Stop()
				synctest.Wait()
				api.Rewind(20)
				api.Remove(fakeapi.Key{Namespace: "team-1", Name: "pod-1"})
				api.Put(pod("team-0", "pod-0", "uid-0", "nginx:2"))
				b.network.Start()
				b.awaitContent(test.within)
				if got := slices.ContainsFunc(api.Received()[before:], func(r fakeapi.Request) bool { return r.Kind == fakeapi.KindWatchList }); got != test.relist {
					t.Errorf("all pods were asked for again: %v; requests: %s", got, b.kinds())
				}
				if log := strings.Join(b.warnings(), "\n"); !strings.Contains(log, "the versions of the API server have gone back") {
					t.Errorf("missing in the log:\n%s", log)
				}
			})
		})
	}
}

// If a connection stays open and brings nothing any more, as a proxy may keep one, the watch continues over another
// connection, and no pods are listed again.
func TestSilentWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(many(10)...)
		b := startHarness(t, api)
		b.await(time.Second)
		<-time.After(90 * time.Second)
		deaf := false
		api.Answer(func(r fakeapi.Request) http.HandlerFunc {
			if r.Kind == fakeapi.KindWatch && !deaf {
				deaf = true
				return func(w http.ResponseWriter, r *http.Request) {
					fakeapi.NewEvents(w)
					fakeapi.NeverAnswer(w, r)
				}
			}
			return nil
		})
		b.network.Drop()
		<-time.After(5 * time.Second)
		before := len(api.Received())
		api.Put(pod("team-0", "pod-0", "uid-0", "nginx:2"))
		<-time.After(silenceTimeout - 10*time.Second)
		if b.agrees(0) {
			t.Fatal("the change was seen: nothing was silent")
		}
		b.awaitContent(10 * time.Second)
		for _, r := range api.Received()[before:] {
			if r.Kind == fakeapi.KindWatchList || r.Kind == fakeapi.KindList {
				t.Errorf("all pods were asked for again; requests: %s", b.kinds())
			}
		}
		b.checkLog([]string{failure + "watch: " + errWatchSilent.Error()}, false)
		// A cluster without changes has bookmarks, so its watch is not silent.
		before = len(api.Received())
		<-time.After(4 * time.Minute)
		if n := len(api.Received()) - before; n > 1 {
			t.Errorf("%d requests in four minutes in which nothing happened; requests: %s", n, b.kinds())
		}
	})
}

// Cut-off initial events are forgotten when later ones end. A server whose initial events do not end is asked for them
// again when all pods must be listed.
func TestWatchListIsRetried(t *testing.T) {
	gone := fakeapi.Status(http.StatusGone, metav1.StatusReasonExpired)
	tests := []struct {
		name  string
		cuts  int // initial streams that are cut off
		kinds []string
	}{
		{name: "none is cut off", kinds: []string{fakeapi.KindWatchList}},
		{name: "one is cut off", cuts: 1, kinds: []string{fakeapi.KindWatchList, fakeapi.KindWatchList}},
		{name: "all are cut off", cuts: 9, kinds: []string{fakeapi.KindWatchList, fakeapi.KindWatchList, fakeapi.KindList, fakeapi.KindWatch}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := fakeapi.NewPods(many(3)...)
				b := startHarness(t, api)
				b.await(time.Second)
				for i := range 4 {
					<-time.After(5 * time.Minute) // client-go begins with a short pause again
					before := len(api.Received())
					first, cut := true, 0
					api.Answer(func(r fakeapi.Request) http.HandlerFunc {
						resumes := first && r.Kind == fakeapi.KindWatch
						first = false
						switch {
						case resumes:
							return gone
						case r.Kind == fakeapi.KindWatchList && cut < test.cuts:
							cut++
							return api.Stream(fakeapi.Streaming{CutOff: true})
						}
						return nil
					})
					b.network.Drop()
					api.Put(pod("team-0", "pod-0", "uid-0", fmt.Sprintf("nginx:%d", i)))
					b.awaitContent(10 * time.Second)
					var kinds []string
					for _, r := range api.Received()[before:] {
						kinds = append(kinds, r.Kind)
					}
					// client-go does not resume a watch whose connection breaks in the middle of an event.
					if len(kinds) > 0 && kinds[0] == fakeapi.KindWatch {
						kinds = kinds[1:]
					}
					if diff := gocmp.Diff(test.kinds, kinds); diff != "" {
						t.Errorf("time %d: requests (-want +got):\n%s", i, diff)
					}
				}
			})
		})
	}
}
