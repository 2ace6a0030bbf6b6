package podwatch

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// always answers every request with one handler.
func always(handler http.HandlerFunc) func(*fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc {
	return func(*fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc {
		return func(fakeapi.Request) http.HandlerFunc { return handler }
	}
}

// only answers the requests of one kind with a handler.
func only(kind string, handler http.HandlerFunc) func(*fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc {
	return func(*fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc {
		return func(r fakeapi.Request) http.HandlerFunc {
			if r.Kind == kind {
				return handler
			}
			return nil
		}
	}
}

// streams answers the watches that begin with all pods.
func streams(how fakeapi.Streaming) func(*fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc {
	return func(api *fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc {
		return only(fakeapi.KindWatchList, api.Stream(how))(api)
	}
}

const (
	failure = "request for pods failed; will try again: "
	notJSON = `an error on the server ("unable to decode an event from the watch stream: invalid character '<' ` +
		`looking for beginning of value") has prevented the request from succeeding`
)

// With a fault at the start a Watch comes in sync in time, does not flood the server,
// and logs one line for each failed request.
func TestFaultsAtStart(t *testing.T) {
	tests := []struct {
		name   string
		pods   int
		script func(*fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc
		heals  time.Duration // when the fault ends; never where it is 0
		busy   bool          // a pod changes all the time
		within time.Duration // from the start, or from the end of the fault
		kinds  string        // the requests until in sync, where there are few
		log    []string      // each line that may stand in the log; each must stand there
		repeat bool          // the lines come again and again
		lies   string        // the answer to every list, from a server without a watch that begins with all pods
	}{
		{
			name: "no fault", pods: 3,
			script: always(nil), within: time.Second, kinds: "watch-list@",
		},
		{
			name: "an old server refuses a watch that begins with all pods", pods: 3,
			script: only(fakeapi.KindWatchList, fakeapi.Status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)),
			within: time.Second, kinds: "watch-list@ list@0 watch@103",
		},
		{
			name: "no permission yet", pods: 3,
			script: always(fakeapi.Status(http.StatusForbidden, metav1.StatusReasonForbidden)),
			heals:  10 * time.Minute, within: 65 * time.Second,
			log: []string{failure + "watch: the test answers 403", failure + "list: the test answers 403"}, repeat: true,
		},
		{
			name: "too many requests", pods: 3,
			script: always(fakeapi.Status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)),
			heals:  10 * time.Minute, within: 13 * time.Second,
			log: []string{failure + "watch: the test answers 429"}, repeat: true,
		},
		{
			name: "too many requests, Retry-After 1 s", pods: 3,
			script: always(fakeapi.RetryAfter(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, 1)),
			heals:  10 * time.Minute, within: 13 * time.Second,
			log: []string{failure + "watch: the test answers 429"}, repeat: true,
		},
		{
			name: "too many requests, as an event", pods: 3,
			script: only(fakeapi.KindWatchList, fakeapi.ErrorEvent(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)),
			within: 5 * time.Second, kinds: "watch-list@ list@0 watch@103",
			log: []string{failure + "watch: the test answers 429"},
		},
		{
			name: "internal errors", pods: 3,
			script: always(fakeapi.Status(http.StatusInternalServerError, metav1.StatusReasonInternalError)),
			heals:  10 * time.Minute, within: 65 * time.Second,
			log: []string{
				failure + "watch: the test answers 500", failure + "list: the test answers 500",
			}, repeat: true,
		},
		{
			name: "a watch never answers", pods: 3,
			script: only(fakeapi.KindWatchList, fakeapi.NeverAnswer), within: 61 * time.Second, kinds: "watch-list@ list@0 watch@103",
			log: []string{failure + "watch: the API server did not answer in time: waited 1m0s"},
		},
		{
			name: "no request is answered", pods: 3,
			script: always(fakeapi.NeverAnswer), heals: 10 * time.Minute, within: 150 * time.Second,
			log: []string{
				failure + "watch: the API server did not answer in time: waited 1m0s",
				failure + "list: the API server did not answer in time: waited 2m0s",
			}, repeat: true,
		},
		{
			name: "a proxy closes connections", pods: 3,
			script: always(fakeapi.CloseConnection), heals: 5 * time.Minute, within: 65 * time.Second,
			log: []string{
				failure + "watch: the initial events of pods were cut off before their end",
				failure + `list: Get "http://pods.test/api/v1/pods?limit=500&resourceVersion=0": EOF`,
			}, repeat: true,
		},
		{
			name: "the initial events are always cut off", pods: 3,
			script: streams(fakeapi.Streaming{CutOff: true}), within: 5 * time.Second,
			kinds: "watch-list@ watch-list@ list@0 watch@103",
			log:   []string{failure + "watch: the initial events of pods were cut off before their end"}, repeat: true,
		},
		{
			name: "the initial events are empty and end", pods: 0,
			script: streams(fakeapi.Streaming{CutOff: true}), within: 5 * time.Second,
			kinds: "watch-list@ list@0 watch@100",
			log:   []string{failure + "watch: the initial events of pods were cut off before their end"},
		},
		{
			name: "the end of the initial events is lost, in a quiet cluster", pods: 3,
			script: streams(fakeapi.Streaming{NoEnd: true}), within: 150 * time.Second,
			kinds: "watch-list@ list@0 watch@103",
			log:   []string{failure + "watch: the initial events of pods brought fewer than 1000 pods in 2m0s and did not end"},
		},
		{
			name: "the end of the initial events is lost, in a busy cluster", pods: 3, busy: true,
			script: streams(fakeapi.Streaming{NoEnd: true}), within: 150 * time.Second,
			log: []string{failure + "watch: the initial events of pods brought fewer than 1000 pods in 2m0s and did not end"},
		},
		{
			// New pods look the same as slow initial events.
			name: "the initial events come slowly and do not end", pods: 3,
			script: streams(fakeapi.Streaming{Pause: 110 * time.Second}), within: 150 * time.Second,
			kinds: "watch-list@ list@0 watch@103",
			log:   []string{failure + "watch: the initial events of pods brought fewer than 1000 pods in 2m0s and did not end"},
		},
		{
			name: "the initial events come slowly and end", pods: 1500,
			script: streams(fakeapi.Streaming{Pause: 110 * time.Millisecond}), within: 170 * time.Second, kinds: "watch-list@",
		},
		{
			name: "the version is gone, as a status", pods: 3,
			script: only(fakeapi.KindWatchList, fakeapi.Status(http.StatusGone, metav1.StatusReasonExpired)), within: 5 * time.Second,
			kinds: "watch-list@ watch-list@ list@ watch@103",
			log:   []string{failure + "watch: the test answers 410"}, repeat: true,
		},
		{
			name: "the version is gone, as an event", pods: 3,
			script: only(fakeapi.KindWatchList, fakeapi.ErrorEvent(http.StatusGone, metav1.StatusReasonExpired)), within: 5 * time.Second,
			kinds: "watch-list@ watch-list@ list@ watch@103",
			log:   []string{failure + "watch: the test answers 410"}, repeat: true,
		},
		{
			name: "an internal error, as an event", pods: 3,
			script: only(fakeapi.KindWatchList, fakeapi.ErrorEvent(http.StatusInternalServerError, metav1.StatusReasonInternalError)),
			within: 5 * time.Second, kinds: "watch-list@ list@0 watch@103",
			log: []string{failure + "watch: the test answers 500"},
		},
		{
			name: "a watch answers with text", pods: 3,
			script: only(fakeapi.KindWatchList, fakeapi.Text("<html>502 Bad Gateway</html>")), within: 5 * time.Second,
			kinds: "watch-list@ list@0 watch@103",
			log:   []string{failure + "watch: " + notJSON},
		},
		{
			name: "each request is answered with text", pods: 3,
			script: always(fakeapi.Text("<html>502 Bad Gateway</html>")), heals: 5 * time.Minute, within: 65 * time.Second,
			log: []string{
				failure + "watch: " + notJSON,
				failure + "list: decode a list of pods: invalid character '<' looking for beginning of value",
			}, repeat: true,
		},
		{
			name: "a list is answered with another object", pods: 3,
			script: func(*fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc {
				return func(r fakeapi.Request) http.HandlerFunc {
					if r.Kind == fakeapi.KindList {
						return fakeapi.Text(`{"kind":"Table","apiVersion":"meta.k8s.io/v1"}`)
					}
					return fakeapi.Status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
				}
			},
			heals: 5 * time.Minute, within: 65 * time.Second,
			log: []string{failure + `list: decode a list of pods: its kind is "Table"`}, repeat: true,
		},
		{
			name: "a list repeats one page forever", pods: 3,
			script: always(nil), lies: `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1","continue":"again"},"items":[{"metadata":{"name":"x","namespace":"a"}}]}`,
			heals: 5 * time.Minute, within: 65 * time.Second,
			log: []string{failure + "list: the API server does not end its list of pods: page 2 has the same continue token as the page before"}, repeat: true,
		},
		{
			name: "a list without items has a next page forever", pods: 3,
			script: always(nil), lies: `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1","continue":"more"},"items":[]}`,
			heals: 5 * time.Minute, within: 65 * time.Second,
			log: []string{failure + "list: the API server does not end its list of pods: page 1 is empty and names a next page"}, repeat: true,
		},
		{
			name: "a Secret comes on the watch of pods", pods: 3,
			script: only(fakeapi.KindWatchList, func(w http.ResponseWriter, r *http.Request) {
				fakeapi.NewEvents(w).Send("ADDED", fakeapi.Object{"kind": "Secret", "apiVersion": "v1", "metadata": fakeapi.Object{"name": "x", "namespace": "a"}})
			}),
			within: 5 * time.Second, kinds: "watch-list@ list@0 watch@103",
			log: []string{failure + `watch: an error on the server ("unable to decode an event from the watch stream: unable to decode watch event: ` +
				`decode a pod: the API server sent an object of kind \"Secret\", apiVersion \"v1\"") has prevented the request from succeeding`},
		},
		{
			name: "watches always end at once", pods: 3,
			script: func(api *fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc {
				return func(r fakeapi.Request) http.HandlerFunc {
					if r.Kind == fakeapi.KindWatch {
						return fakeapi.Text("")
					}
					return streams(fakeapi.Streaming{CutOff: true})(api)(r)
				}
			},
			within: 5 * time.Second,
			log:    []string{failure + "watch: the initial events of pods were cut off before their end"}, repeat: true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := fakeapi.NewPods(many(test.pods)...)
				api.Answer(test.script(api))
				if test.lies != "" {
					api.Answer(func(r fakeapi.Request) http.HandlerFunc {
						if r.Kind == fakeapi.KindList {
							return fakeapi.Text(test.lies)
						}
						return fakeapi.Status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
					})
				}
				b := startHarness(t, api)
				quiet := func() {}
				if test.busy {
					quiet = touch(api)
				}
				if test.heals > 0 {
					<-time.After(test.heals)
					synctest.Wait()
					if b.isSynced() {
						t.Error("in sync though nothing was answered")
					}
					api.Heal()
				}
				b.await(test.heals + test.within - time.Since(b.started))
				if took := time.Since(b.started) - test.heals; took > test.within {
					t.Errorf("in sync after %s, want %s", took, test.within)
				}
				quiet()
				b.check()
				if test.kinds != "" && b.kinds() != test.kinds {
					t.Errorf("requests %q, want %q", b.kinds(), test.kinds)
				}
				b.checkLog(test.log, test.repeat)
				// Later requests must not flood the server either.
				<-time.After(5 * time.Minute)
				b.awaitContent(65 * time.Second)
				b.checkRequests()
			})
		})
	}
}

// With a fault after sync a Watch keeps its cache and catches up in time.
func TestFaultsInSync(t *testing.T) {
	gone := fakeapi.Status(http.StatusGone, metav1.StatusReasonExpired)
	tests := []struct {
		name   string
		script func(*fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc
		down   bool // connections are refused
		lasts  time.Duration
		within time.Duration // after the end of the fault
		relist bool          // a new watch that begins with all pods, or a list, must have been asked for
		log    []string
	}{
		{name: "connections are cut", script: always(nil), within: 2 * time.Second},
		{
			name: "the server is down for 2 s", down: true, lasts: 2 * time.Second, within: 10 * time.Second,
			log: []string{failure + `watch: Get "http://pods.test/api/v1/pods?...": dial pipe: connect: connection refused`},
		},
		{
			name: "the server is down for 20 s", down: true, lasts: 20 * time.Second, within: 30 * time.Second,
			log: []string{failure + `watch: Get "http://pods.test/api/v1/pods?...": dial pipe: connect: connection refused`},
		},
		{
			name: "the server is down for 300 s", down: true, lasts: 300 * time.Second, within: 13 * time.Second,
			log: []string{failure + `watch: Get "http://pods.test/api/v1/pods?...": dial pipe: connect: connection refused`},
		},
		{
			name: "the version is gone, as a status", script: only(fakeapi.KindWatch, gone), lasts: 10 * time.Second,
			within: 10 * time.Second, relist: true, log: []string{failure + "watch: the test answers 410"},
		},
		{
			name:   "the version is gone, as an event",
			script: only(fakeapi.KindWatch, fakeapi.ErrorEvent(http.StatusGone, metav1.StatusReasonExpired)), lasts: 10 * time.Second,
			within: 10 * time.Second, relist: true, log: []string{failure + "watch: the test answers 410"},
		},
		{
			name: "the version is gone, and no watch begins with all pods", lasts: 10 * time.Second,
			script: func(*fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc {
				return func(r fakeapi.Request) http.HandlerFunc {
					switch r.Kind {
					case fakeapi.KindWatch:
						return gone
					case fakeapi.KindWatchList:
						return fakeapi.Status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
					}
					return nil
				}
			},
			within: 10 * time.Second, relist: true,
			log: []string{failure + "watch: the test answers 410"},
		},
		{
			name:  "too many requests",
			lasts: 5 * time.Minute, within: 13 * time.Second,
			script: always(fakeapi.Status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)),
			log:    []string{failure + "watch: the test answers 429"},
		},
		{
			name:  "too many requests, as an event",
			lasts: 5 * time.Minute, within: 65 * time.Second,
			script: only(fakeapi.KindWatch, fakeapi.ErrorEvent(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)),
			log:    []string{failure + "watch: the test answers 429"},
		},
		{
			name:  "internal errors",
			lasts: 5 * time.Minute, within: 65 * time.Second, relist: true,
			script: always(fakeapi.Status(http.StatusInternalServerError, metav1.StatusReasonInternalError)),
			log:    []string{failure + "list: the test answers 500", failure + "watch: the test answers 500"},
		},
		{
			name:  "the permission is withdrawn",
			lasts: 5 * time.Minute, within: 65 * time.Second, relist: true,
			script: always(fakeapi.Status(http.StatusForbidden, metav1.StatusReasonForbidden)),
			log:    []string{failure + "list: the test answers 403", failure + "watch: the test answers 403"},
		},
		{
			name:  "no request is answered",
			lasts: 5 * time.Minute, within: 150 * time.Second, relist: true, script: always(fakeapi.NeverAnswer),
			log: []string{
				failure + "list: the API server did not answer in time: waited 2m0s",
				failure + "watch: the API server did not answer in time: waited 1m0s",
			},
		},
		{
			name: "an event is damaged", script: only(fakeapi.KindWatch, fakeapi.Text("<html>")), within: 5 * time.Second, relist: true,
			lasts: time.Second, log: []string{failure + "watch: " + notJSON},
		},
		{
			name: "watches end at once", script: only(fakeapi.KindWatch, fakeapi.Text("")), lasts: 5 * time.Minute, within: 65 * time.Second,
			relist: true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := fakeapi.NewPods(many(10)...)
				b := startHarness(t, api)
				b.await(time.Second)
				<-time.After(90 * time.Second) // client-go takes a watch that ends within 1 s for a fault of its own
				before := len(api.Received())
				if test.down {
					b.network.Stop()
				} else {
					api.Answer(test.script(api))
					b.network.Drop()
				}
				// The Watch misses a change, a deletion, a new pod, and a pod that was deleted and created again.
				api.Put(pod("team-0", "pod-0", "uid-0", "nginx:2"))
				api.Remove(fakeapi.Key{Namespace: "team-1", Name: "pod-1"})
				api.Put(pod("team-2", "late", "uid-late", "nginx:1"))
				api.Remove(fakeapi.Key{Namespace: "team-2", Name: "pod-2"})
				api.Put(pod("team-2", "pod-2", "uid-again", "nginx:3"))
				for range test.lasts / time.Second {
					<-time.After(time.Second)
					if n := count(b.Watch); n != 10 {
						t.Fatalf("%d pods in the cache during the fault, want 10", n)
					}
				}
				api.Heal()
				b.network.Start()
				b.awaitContent(test.within)
				relist := slices.ContainsFunc(api.Received()[before:], func(r fakeapi.Request) bool { return r.Kind == fakeapi.KindWatchList || r.Kind == fakeapi.KindList })
				if relist != test.relist {
					t.Errorf("all pods were asked for again: %v, want %v; requests: %s", relist, test.relist, b.kinds())
				}
				b.checkLog(test.log, true)
				b.checkRequests()
			})
		})
	}
}

func count(w *Watch) int {
	n := 0
	for range w.All() {
		n++
	}
	return n
}

// Delays between tries grow up to a limit, and follow Retry-After.
func TestPauses(t *testing.T) {
	tests := []struct {
		name   string
		fault  func(*harness)
		pauses []time.Duration // the least; the most is half as much again
	}{
		{
			name:   "connections are refused",
			fault:  func(b *harness) { b.network.Stop() },
			pauses: []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second, 8 * time.Second},
		},
		{
			name: "too many requests, for a list",
			fault: func(b *harness) {
				b.api.Answer(func(r fakeapi.Request) http.HandlerFunc {
					if r.Kind == fakeapi.KindList {
						return fakeapi.Status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
					}
					return fakeapi.Status(http.StatusForbidden, metav1.StatusReasonForbidden)
				})
			},
			pauses: []time.Duration{0, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second},
		},
		{
			name: "too many requests, Retry-After 20 s",
			fault: func(b *harness) {
				busy := fakeapi.StatusOf(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
				busy.Details = &metav1.StatusDetails{RetryAfterSeconds: 20}
				b.api.Answer(func(fakeapi.Request) http.HandlerFunc { return fakeapi.JSON(http.StatusTooManyRequests, busy) })
			},
			pauses: []time.Duration{20 * time.Second, 20 * time.Second, 20 * time.Second},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newHarness(t, fakeapi.NewPods())
				test.fault(b)
				b.run()
				<-time.After(2 * time.Minute)
				entries := b.logs.All()
				for i, least := range test.pauses {
					pause := entries[i+1].Time.Sub(entries[i].Time)
					if pause < least || pause > least+least/2 {
						t.Errorf("pause %d is %s, want %s to %s", i, pause, least, least+least/2)
					}
				}
				b.network.Start()
				b.api.Heal()
				b.await(recovery)
				b.checkRequests()
			})
		})
	}
}

// A failed request is logged once and counted once.
func TestFailedRequestIsLoggedOnce(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"403":     fakeapi.Status(http.StatusForbidden, metav1.StatusReasonForbidden),
		"410":     fakeapi.Status(http.StatusGone, metav1.StatusReasonExpired),
		"429":     fakeapi.Status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests),
		"500":     fakeapi.Status(http.StatusInternalServerError, metav1.StatusReasonInternalError),
		"504":     fakeapi.Status(http.StatusGatewayTimeout, metav1.StatusReasonTimeout, metav1.CauseTypeResourceVersionTooLarge),
		"text":    fakeapi.Text("<html>502 Bad Gateway</html>"),
		"nothing": fakeapi.Text(""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := fakeapi.NewPods()
				api.Answer(always(handler)(api))
				b := startHarness(t, api)
				<-time.After(10 * time.Minute)
				synctest.Wait()
				received := len(api.Received())
				if lines := len(b.warnings()); lines != received || received < 10 {
					t.Errorf("%d requests were answered with an error, and %d lines are in the log", received, lines)
				}
				m := b.metrics()
				counted := m[`kube_devops_watch_requests_total{verb="list"}`] + m[`kube_devops_watch_requests_total{verb="watch"}`]
				if counted != float64(received) {
					t.Errorf("%v requests counted of %d", counted, received)
				}
				b.checkRequests()
			})
		})
	}
}

// touch changes a pod each 2 s until stop is called.
func touch(api *fakeapi.Pods) (stop func()) {
	stopped, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stopped:
				return
			case <-time.After(2 * time.Second):
				api.Put(pod("team-0", "pod-0", "uid-0", "nginx:1"))
			}
		}
	}()
	return func() {
		close(stopped)
		<-ended
	}
}

// checkLog compares the warnings. With repeat each may come several times.
func (b *harness) checkLog(want []string, repeat bool) {
	b.t.Helper()
	got := b.warnings()
	for i := range got {
		got[i] = longQuery.ReplaceAllString(got[i], "?...")
	}
	if repeat {
		slices.Sort(got)
		got = slices.Compact(got)
		want = slices.Sorted(slices.Values(want))
	}
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		b.t.Errorf("log (-want +got):\n%s", diff)
	}
}

// longQuery matches the query of a watch, whose timeout is random.
var longQuery = regexp.MustCompile(`\?[^"]*timeoutSeconds[^"]*`)

// checkRequests checks the rate of requests, and that metrics and log agree.
func (b *harness) checkRequests() {
	b.t.Helper()
	for _, wrong := range []string{b.wrongRate(), b.wrongErrors()} {
		if wrong != "" {
			b.t.Error(wrong)
		}
	}
}

// wrongRate counts requests: never more than 8 in a second, nor more than 2 a second in any half minute.
func (b *harness) wrongRate() string {
	requests := b.api.Received()
	for _, limit := range []struct {
		window time.Duration
		most   int
	}{{time.Second, 8}, {30 * time.Second, 60}} {
		first := 0
		for i, r := range requests {
			for r.At.Sub(requests[first].At) >= limit.window {
				first++
			}
			if n := i - first + 1; n > limit.most {
				return fmt.Sprintf("%d requests within %s, want at most %d: %s", n, limit.window, limit.most, b.kinds())
			}
		}
	}
	return ""
}

// wrongErrors compares the metrics with the log: each failure is in both.
func (b *harness) wrongErrors() string {
	want := map[string]float64{}
	for _, verb := range []string{verbList, verbWatch} {
		want[`kube_devops_watch_errors_total{verb="`+verb+`"}`] = 0
	}
	for _, line := range b.warnings() {
		verb, _, _ := strings.Cut(strings.TrimPrefix(line, failure), ":")
		want[`kube_devops_watch_errors_total{verb="`+verb+`"}`]++
	}
	got := b.metrics()
	maps.DeleteFunc(got, func(name string, _ float64) bool { return !strings.HasPrefix(name, "kube_devops_watch_errors_total") })
	return gocmp.Diff(want, got)
}
