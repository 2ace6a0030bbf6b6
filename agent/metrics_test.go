package agent

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kube-devops/kube-devops/agent/exposition"
	"github.com/kube-devops/kube-devops/agent/server"
	"github.com/kube-devops/kube-devops/agent/state"
)

// TestEachReplicaExportsItsPolicy: a standby, a leader before its scores and a leader with scores have one series each.
func TestEachReplicaExportsItsPolicy(t *testing.T) {
	e := evaluatorOf(loadTable(t, tableText("scoped", 5)))
	check := func(replica string, of func() exposition.View, scores bool) {
		t.Helper()
		text := string(exposition.New(of, "shop").AppendText(nil))
		if strings.Count(text, "\nkube_devops_policy_info{") != 1 || !strings.Contains(text, `,namespaces="shop"} 1`) ||
			strings.Contains(text, "kube_devops_namespaces_overflowed 0") != scores {
			t.Errorf("%s, which has scores: %v\n%s", replica, scores, text)
		}
	}
	check("standby", policyOf(e), false)
	check("leader without scores", exposedBy(e), false)
	e.Begin(t.Context(), observations())
	check("leader", exposedBy(e), true)
	check("standby that led", policyOf(e), false)
}

// BenchmarkScrape is a scrape of 5,000 namespaces under 20 checks, while pods change.
func BenchmarkScrape(b *testing.B) {
	var checks []string
	for i := range 19 {
		checks = append(checks, fmt.Sprintf("  - {id: check_%d, weight: 1, forEach: spec.containers, violation: {path: livenessProbe, operator: absent}}", i))
	}
	e := evaluatorOf(loadTable(b, tableText("large", 5, checks...)))
	var all []state.Observation
	for i := range 10_000 {
		all = append(all, state.Observation{Pod: state.Pod{Namespace: fmt.Sprint("namespace-", i%5000), Name: fmt.Sprint("pod-", i)}, JSON: podJSON([]string{noProbes, clean}[i%2])})
	}
	e.Begin(b.Context(), observations(all...))
	for _, run := range []struct {
		name, coding string
		changing     bool
	}{{"plain", "", false}, {"gzip", "gzip", false}, {"plain-while-pods-change", "", true}} {
		b.Run(run.name, func(b *testing.B) {
			handler := server.Handler(server.Options{
				Process: prometheus.NewRegistry(), Standby: prometheus.NewRegistry(), Leader: newScrape(exposition.New(exposedBy(e))),
				Report: func(io.Writer) error { return nil },
			})
			var events atomic.Int64
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for i := 0; run.changing; i++ {
					select {
					case <-stop:
						return
					default:
						apply(e, all[i%len(all)].Pod, all[i%len(all)].JSON)
						events.Add(1)
					}
				}
			}()
			bytes := 0
			for b.Loop() {
				request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
				request.Header.Set("Accept-Encoding", run.coding)
				recorder := httptest.NewRecorder()
				handler.ServeHTTP(recorder, request)
				if bytes = recorder.Body.Len(); recorder.Code != http.StatusOK || bytes < 10_000 {
					b.Fatalf("answer %d of %d bytes", recorder.Code, bytes)
				}
			}
			b.ReportMetric(float64(events.Load())/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(bytes), "bytes")
			close(stop)
			<-stopped
		})
	}
}
