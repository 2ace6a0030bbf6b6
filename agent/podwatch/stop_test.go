package podwatch

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Whatever a Watch is about: when it is told to stop it stops, without a pause and without a word. The moments are
// spread so that each phase is met: waiting for an answer, for the next try, for the end of a stream.
func TestStopAtAnyMoment(t *testing.T) {
	tooMany := status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
	tests := []struct {
		name   string
		script func(*apiServer) func(request) http.HandlerFunc
		down   bool
		synced bool // trouble begins after the initial list
	}{
		{name: "in sync", script: always(nil), synced: true},
		{name: "the initial stream does not end", script: streams(streaming{noEnd: true})},
		{name: "the initial stream is cut off", script: streams(streaming{cutOff: true})},
		{name: "connections are refused", down: true},
		{name: "connections are refused after sync", down: true, synced: true},
		{name: "never answered", script: always(silent)},
		{name: "never answered after sync", script: always(silent), synced: true},
		{
			name: "a list is never answered",
			script: func(*apiServer) func(request) http.HandlerFunc {
				return func(r request) http.HandlerFunc {
					if r.Kind == kindList {
						return silent
					}
					return status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
				}
			},
		},
		{name: "too many requests", script: always(tooMany)},
		{name: "too many requests after sync", script: always(tooMany), synced: true},
		{
			name:   "too many requests, ask again in 7 s",
			script: always(retryAfter(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, 7)),
		},
		{
			name: "too many requests, said by an event",
			script: func(api *apiServer) func(request) http.HandlerFunc {
				return func(r request) http.HandlerFunc {
					if r.Kind == kindList {
						return status(http.StatusForbidden, metav1.StatusReasonForbidden)
					}
					return func(w http.ResponseWriter, r *http.Request) {
						out := newEvents(w)
						out.send("ADDED", pod("a", "one", "1", "nginx:1"))
						out.send("ERROR", statusOf(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests))
					}
				}
			},
		},
		{
			name:   "too many requests after sync, said by an event",
			script: always(errorEvent(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)), synced: true,
		},
		{name: "not permitted", script: always(status(http.StatusForbidden, metav1.StatusReasonForbidden))},
		{
			name:   "not permitted after sync",
			script: always(status(http.StatusForbidden, metav1.StatusReasonForbidden)), synced: true,
		},
		{name: "internal errors", script: always(status(http.StatusInternalServerError, metav1.StatusReasonInternalError))},
		{name: "a proxy hangs up", script: always(hangUp)},
		{name: "watches end at once", script: only(kindWatch, text("")), synced: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for moment := time.Duration(0); moment < 30*time.Second; moment += 2370 * time.Millisecond {
				synctest.Test(t, func(t *testing.T) {
					api := newAPIServer(many(3)...)
					b := newBench(t, api)
					fail := func() {
						if test.down {
							b.wire.stop()
							return
						}
						api.answer(test.script(api))
						b.wire.drop()
					}
					if !test.synced {
						fail()
					}
					b.run()
					if test.synced {
						b.await(time.Second)
						<-time.After(2 * time.Second)
						fail()
					}
					<-time.After(moment)
					synctest.Wait()
					said := len(b.warnings())
					if took := b.stop(); took > 0 {
						t.Errorf("stopped after %s: Run took %s to return, want no time", moment, took)
					}
					synctest.Wait()
					if lines := b.warnings(); len(lines) != said {
						t.Errorf("stopped after %s: log lines about that: %q", moment, lines[said:])
					}
					b.checkRequests()
				})
			}
		})
	}
}

// The end of the context and a refused connection may fall together: client-go, told of the connection, would sleep.
func TestStopWhileARequestFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := newBenchThrough(t, newAPIServer(), func(http.RoundTripper) http.RoundTripper {
			return roundTrip(func(*http.Request) (*http.Response, error) {
				cancel()
				return nil, errRefused
			})
		})
		before := time.Now()
		if err := b.Run(ctx, b.handled.handle); err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
		if took := time.Since(before); took > 0 {
			t.Errorf("Run took %s to return, want no time", took)
		}
		if lines := b.warnings(); len(lines) > 0 {
			t.Errorf("log lines about a stop: %q", lines)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRunWithAContextThatIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newAPIServer(many(3)...))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Run(ctx, b.handled.handle); err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
		if b.isSynced() || b.handled.total() > 0 || len(b.warnings()) > 0 {
			t.Errorf("in sync: %v, calls of Handle: %d, log: %q; want nothing", b.isSynced(), b.handled.total(), b.warnings())
		}
	})
}

// Many Watches in one process do not disturb one another.
func TestTwoWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var benches []*bench
		for i := range 2 {
			benches = append(benches, startBench(t, newAPIServer(pod("a", fmt.Sprintf("pod-%d", i), "1", "nginx:1"))))
		}
		for _, b := range benches {
			b.await(time.Second)
			b.check()
		}
	})
}
