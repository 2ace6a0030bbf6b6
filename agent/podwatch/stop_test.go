package podwatch

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// A Watch stops at once and without a log line, whatever it does. The moments are
// spread over all phases: waiting for a response, for the next try, for the end of a stream.
func TestStopAtAnyMoment(t *testing.T) {
	tooMany := fakeapi.Status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
	tests := []struct {
		name   string
		script func(*fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc
		down   bool
		synced bool // trouble begins after the initial list
	}{
		{name: "in sync", script: always(nil), synced: true},
		{name: "the initial events do not end", script: streams(fakeapi.Streaming{NoEnd: true})},
		{name: "the initial events are cut off", script: streams(fakeapi.Streaming{CutOff: true})},
		{name: "connections are refused", down: true},
		{name: "connections are refused after sync", down: true, synced: true},
		{name: "never answered", script: always(fakeapi.NeverAnswer)},
		{name: "never answered after sync", script: always(fakeapi.NeverAnswer), synced: true},
		{
			name: "a list is never answered",
			script: func(*fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc {
				return func(r fakeapi.Request) http.HandlerFunc {
					if r.Kind == fakeapi.KindList {
						return fakeapi.NeverAnswer
					}
					return fakeapi.Status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
				}
			},
		},
		{name: "too many requests", script: always(tooMany)},
		{name: "too many requests after sync", script: always(tooMany), synced: true},
		{
			name:   "too many requests, Retry-After 7 s",
			script: always(fakeapi.RetryAfter(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, 7)),
		},
		{
			name: "too many requests, as an event",
			script: func(api *fakeapi.Pods) func(fakeapi.Request) http.HandlerFunc {
				return func(r fakeapi.Request) http.HandlerFunc {
					if r.Kind == fakeapi.KindList {
						return fakeapi.Status(http.StatusForbidden, metav1.StatusReasonForbidden)
					}
					return func(w http.ResponseWriter, r *http.Request) {
						out := fakeapi.NewEvents(w)
						out.Send("ADDED", pod("a", "one", "1", "nginx:1"))
						out.Send("ERROR", fakeapi.StatusOf(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests))
					}
				}
			},
		},
		{
			name:   "too many requests after sync, as an event",
			script: always(fakeapi.ErrorEvent(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)), synced: true,
		},
		{name: "not permitted", script: always(fakeapi.Status(http.StatusForbidden, metav1.StatusReasonForbidden))},
		{
			name:   "not permitted after sync",
			script: always(fakeapi.Status(http.StatusForbidden, metav1.StatusReasonForbidden)), synced: true,
		},
		{name: "internal errors", script: always(fakeapi.Status(http.StatusInternalServerError, metav1.StatusReasonInternalError))},
		{name: "a proxy closes connections", script: always(fakeapi.CloseConnection)},
		{name: "watches end at once", script: only(fakeapi.KindWatch, fakeapi.Text("")), synced: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for moment := time.Duration(0); moment < 30*time.Second; moment += 2370 * time.Millisecond {
				synctest.Test(t, func(t *testing.T) {
					api := fakeapi.NewPods(many(3)...)
					b := newHarness(t, api)
					fail := func() {
						if test.down {
							b.network.Stop()
							return
						}
						api.Answer(test.script(api))
						b.network.Drop()
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

// The context may end when a connection is refused: client-go would sleep if it got that error.
func TestStopWhileARequestFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := newHarnessThrough(t, fakeapi.NewPods(), func(http.RoundTripper) http.RoundTripper {
			return roundTrip(func(*http.Request) (*http.Response, error) {
				cancel()
				return nil, fakeapi.ErrRefused
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

func TestRunWithDoneContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHarness(t, fakeapi.NewPods(many(3)...))
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

// Two Watches in one process are independent.
func TestTwoWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var benches []*harness
		for i := range 2 {
			benches = append(benches, startHarness(t, fakeapi.NewPods(pod("a", fmt.Sprintf("pod-%d", i), "1", "nginx:1"))))
		}
		for _, b := range benches {
			b.await(time.Second)
			b.check()
		}
	})
}
