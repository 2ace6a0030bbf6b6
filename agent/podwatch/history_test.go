package podwatch

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/consistencydetector"
	"pgregory.net/rapid"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

// After any changes of the pods and faults of the connection, the cache and the calls of Handle agree with the API server
// in the end.
func TestAnyHistoryConverges(t *testing.T) {
	steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 40)
	rapid.Check(t, func(rt *rapid.T) {
		initial := rapid.IntRange(0, 3).Draw(rt, "initial pods")
		history := steps.Draw(rt, "history")
		var wrong string
		synctest.Test(t, func(t *testing.T) { wrong = play(t, initial, history) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// A step is one thing that happens.
type step struct {
	What string
	Pod  Key
	For  time.Duration
}

func (s step) String() string {
	return fmt.Sprintf("%s %s/%s %s", s.What, s.Pod.Namespace, s.Pod.Name, s.For)
}

func drawStep(t *rapid.T) step {
	return step{
		What: rapid.SampledFrom([]string{
			"put", "put", "put", "remove", "remove", "recreate", "recreate", "wait", "wait", "agree",
			"drop", "compact", "refuse", "forbid", "no WatchList", "410 event", "500 event", "cut off", "heal",
		}).Draw(t, "what"),
		Pod: Key{rapid.SampledFrom([]string{"a", "b"}).Draw(t, "namespace"), rapid.SampledFrom([]string{"one", "two"}).Draw(t, "name")},
		For: time.Duration(rapid.IntRange(0, 20_000).Draw(t, "milliseconds")) * time.Millisecond,
	}
}

// recovery is how long a Watch may take to catch up: the longest delay of client-go, and some requests.
const recovery = 65 * time.Second

// play runs the steps against a Watch and returns what is wrong in the end.
func play(t *testing.T, initial int, history []step) string {
	api := fakeapi.NewPods(many(initial)...)
	b := startHarness(t, api)
	uid := 0
	put := func(key Key) {
		uid++
		api.Put(pod(key.Namespace, key.Name, fmt.Sprint(uid), fmt.Sprintf("nginx:%d", uid)))
	}
	heal := func() {
		api.Heal()
		b.network.Start()
	}
	for i, s := range history {
		switch s.What {
		case "put":
			put(s.Pod) // with another UID too: as if deleted and created again between two events
		case "remove":
			api.Remove(fakeapi.Key(s.Pod))
		case "recreate":
			api.Remove(fakeapi.Key(s.Pod))
			put(s.Pod)
		case "wait":
			<-time.After(s.For)
		case "drop":
			b.network.Drop()
		case "compact":
			api.Compact()
			b.network.Drop()
		case "refuse":
			b.network.Stop()
		case "forbid":
			api.Answer(always(fakeapi.Status(http.StatusForbidden, metav1.StatusReasonForbidden))(api))
		case "no WatchList":
			api.Answer(only(fakeapi.KindWatchList, fakeapi.Status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid))(api))
		case "410 event":
			api.Answer(only(fakeapi.KindWatch, fakeapi.ErrorEvent(http.StatusGone, metav1.StatusReasonExpired))(api))
		case "500 event":
			api.Answer(always(fakeapi.ErrorEvent(http.StatusInternalServerError, metav1.StatusReasonInternalError))(api))
		case "cut off":
			api.Answer(streams(fakeapi.Streaming{CutOff: true})(api))
		case "heal":
			heal()
		case "agree":
			heal()
			if !b.agrees(recovery) {
				return fmt.Sprintf("after step %d, %v: %s", i, s, gocmp.Diff(b.want(), b.view()))
			}
		}
	}
	heal()
	if !b.agrees(recovery) {
		return "at the end: " + gocmp.Diff(b.want(), b.view())
	}
	<-time.After(recovery)
	synctest.Wait()
	return gocmp.Diff(b.want(), b.view()) + b.wrongRate() + b.wrongErrors()
}

// client-go has a detector of its own: after each watch that begins with all pods it asks for a list, and panics where
// the two differ.
func TestWatchListEqualsList(t *testing.T) {
	defer consistencydetector.SetDataConsistencyDetectionForWatchListEnabledForTest(true)()
	synctest.Test(t, func(t *testing.T) {
		b := startHarness(t, fakeapi.NewPods(many(20)...))
		b.await(time.Second)
		b.check()
		if got, want := b.kinds(), "watch-list@ list@120"; got != want {
			t.Errorf("requests %q, want %q", got, want)
		}
	})
}
