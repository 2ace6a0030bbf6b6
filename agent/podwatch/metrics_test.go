package podwatch

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/fakeapi"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.NewPods(many(3)...)
		held := make(chan struct{})
		api.Answer(func(r fakeapi.Request) http.HandlerFunc {
			switch r.Kind {
			case fakeapi.KindWatchList:
				return fakeapi.Status(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
			case fakeapi.KindList:
				return func(w http.ResponseWriter, r *http.Request) {
					<-held
					api.List(w, r)
				}
			}
			return nil
		})
		b := newHarness(t, api)
		check := func(when string, want map[string]float64) {
			t.Helper()
			synctest.Wait()
			if diff := gocmp.Diff(want, b.metrics()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		none := map[string]float64{
			"pod_events_total":                             0,
			"kube_devops_last_event_timestamp_seconds":     0,
			"kube_devops_queue_length":                     0,
			"kube_devops_sync_duration_seconds":            0,
			`kube_devops_watch_errors_total{verb="list"}`:  0,
			`kube_devops_watch_errors_total{verb="watch"}`: 0,

			`kube_devops_watch_requests_total{verb="list"}`:  0,
			`kube_devops_watch_requests_total{verb="watch"}`: 0,
		}
		check("before Run", none)
		b.run()
		<-time.After(3 * time.Second)
		want := none
		want[`kube_devops_watch_errors_total{verb="watch"}`] = 0
		want[`kube_devops_watch_requests_total{verb="list"}`] = 1
		want[`kube_devops_watch_requests_total{verb="watch"}`] = 1
		check("before the list is answered", want)
		close(held)
		b.await(4 * time.Second)
		want["pod_events_total"] = 3
		want["kube_devops_sync_duration_seconds"] = 3
		want["kube_devops_last_event_timestamp_seconds"] = unix(time.Now())
		want[`kube_devops_watch_requests_total{verb="watch"}`] = 2
		check("in sync", want)
		<-time.After(5 * time.Second)
		check("without events", want)
		api.Put(pod("a", "one", "1", "nginx:1"))
		want["pod_events_total"] = 4
		want["kube_devops_last_event_timestamp_seconds"] = unix(time.Now())
		check("after an event", want)
		watched := b.started.Add(3 * time.Second)
		<-time.After(time.Until(watched.Add(70 * time.Second)))
		want["kube_devops_last_event_timestamp_seconds"] = unix(watched.Add(time.Minute))
		check("after a bookmark", want)
	})
}

func unix(at time.Time) float64 { return float64(at.UnixNano()) / 1e9 }

// Metric names follow the conventions of Prometheus.
func TestMetricNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		problems, err := testutil.GatherAndLint(newHarness(t, fakeapi.NewPods()).registry)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	})
}
