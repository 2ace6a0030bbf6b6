package agent

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kube-devops/kube-devops/agent/server"
	"github.com/kube-devops/kube-devops/agent/state"
)

// The text that the scores write is the one that is gathered.
func TestScoresAsText(t *testing.T) {
	waived := loadTable(t, tableText("waived", 5, `pods: {skip: [{reason: done, when: {path: status.phase, operator: equals, value: Succeeded}}]}`,
		`waivers: [{id: w, reason: "because", expires: "2999-01-01", namespace: "ns-1"}]`))
	tests := []struct {
		name       string
		namespaces []string // that alone are watched
		pods       []state.Observation
	}{
		{name: "a standby"},
		{name: "a standby of some namespaces", namespaces: []string{"ns-2", "ns-1"}},
		{name: "no pods", pods: []state.Observation{}},
		{name: "one namespace", namespaces: []string{"ns-1"}, pods: []state.Observation{
			{Pod: state.Pod{Namespace: "ns-1", Name: "a"}, JSON: podJSON(latest)},
		}},
		{name: "pods", pods: []state.Observation{
			{Pod: state.Pod{Namespace: "ns-1", Name: "a"}, JSON: podJSON(latest)},
			{Pod: state.Pod{Namespace: "ns-2", Name: "a"}, JSON: podJSON(latest + "," + clean + "," + clean)},
			{Pod: state.Pod{Namespace: "ns-2", Name: "b"}, JSON: podJSON(clean)},
			{Pod: state.Pod{Namespace: "ns-3", Name: "b"}, JSON: []byte(`{`)},
			{Pod: state.Pod{Namespace: `"\` + "\n", Name: "b"}, JSON: podJSON(clean)},
			{Pod: state.Pod{Namespace: "ns-3", Name: "c"}, JSON: []byte(`{"status":{"phase":"Succeeded"}}`)},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := evaluatorOf(waived)
			if test.pods != nil {
				e.Begin(t.Context(), observations(test.pods...))
			}
			registry := prometheus.NewPedanticRegistry()
			registry.MustRegister(newScores(e, test.namespaces...))
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			want := make(map[string]*dto.MetricFamily)
			for _, family := range families {
				want[family.GetName()] = family
			}
			parser := expfmt.NewTextParser(model.UTF8Validation)
			got, err := parser.TextToMetricFamilies(bytes.NewReader(newScores(e, test.namespaces...).AppendText(nil)))
			if err != nil {
				t.Fatal(err)
			}
			sorted := cmpopts.SortSlices(func(a, b *dto.Metric) bool { return a.String() < b.String() })
			if diff := cmp.Diff(want, got, sorted, cmp.Comparer(func(a, b *dto.LabelPair) bool { return a.String() == b.String() }),
				cmp.Comparer(func(a, b *dto.Gauge) bool { return a.GetValue() == b.GetValue() }), cmpopts.IgnoreUnexported(dto.MetricFamily{}, dto.Metric{})); diff != "" {
				t.Errorf("metrics (-gathered +written):\n%s", diff)
			}
		})
	}
}

// Where some namespaces alone are watched, each replica names them beside its policy. Where all are, the series is what it
// always was, so that joins on it go on.
func TestPolicyInfoNamesTheNamespaces(t *testing.T) {
	table := loadTable(t, tableText("scoped", 5))
	series := func(labels string) string {
		return `kube_devops_policy_info{hash="` + table.Hash() + `",name="scoped"` + labels + "} 1\n"
	}
	for _, test := range []struct {
		namespaces []string
		want       string
	}{
		{nil, series("")},
		{[]string{"shop"}, series(`,namespaces="shop"`)},
		{[]string{"shop", "bank"}, series(`,namespaces="bank,shop"`)},
	} {
		e := evaluatorOf(table)
		standby := prometheus.NewPedanticRegistry()
		standby.MustRegister(newPolicyInfo(e, test.namespaces...))
		check := func(replica, text string) {
			t.Helper()
			if strings.Count(text, "\nkube_devops_policy_info{") != 1 || !strings.Contains(text, "\n"+test.want) {
				t.Errorf("namespaces %q, %s: want %sin:\n%s", test.namespaces, replica, test.want, text)
			}
		}
		check("standby", textOf(t, standby))
		check("leader without a state", string(newScores(e, test.namespaces...).AppendText(nil)))
		e.Begin(t.Context(), observations())
		check("leader", string(newScores(e, test.namespaces...).AppendText(nil)))
		check("leader, gathered", textOf(t, newScrape(newScores(e, test.namespaces...))))
	}
}

// textOf gathers metrics, as Prometheus' text.
func textOf(t *testing.T, of prometheus.Gatherer) string {
	t.Helper()
	families, err := of.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// A grade is exported as its index in the table's grades, which may be as many as the table has; without pods it is absent.
func TestGrades(t *testing.T) {
	table := loadTable(t, tableText("graded", 5,
		"grades: [{name: A, min: 100}, {name: B, min: 60}, {name: C, min: 50}, {name: D, min: 20}, {name: E, min: 0}]"))
	for _, test := range []struct {
		name string
		pods []state.Observation
		want map[string]float64
	}{
		{name: "no pods", pods: []state.Observation{}, want: map[string]float64{}},
		{name: "the best, one between and the last", pods: []state.Observation{
			{Pod: state.Pod{Namespace: "best", Name: "a"}, JSON: podJSON(clean)},
			{Pod: state.Pod{Namespace: "half", Name: "a"}, JSON: podJSON(latest + "," + clean)},
			{Pod: state.Pod{Namespace: "last", Name: "a"}, JSON: podJSON(latest)},
			{Pod: state.Pod{Namespace: "unevaluated", Name: "a"}, JSON: []byte(`{`)},
		}, want: map[string]float64{"": 2, "best": 0, "half": 2, "last": 4}}, // the mean of the cluster is 50 %
	} {
		t.Run(test.name, func(t *testing.T) {
			e := evaluatorOf(table)
			e.Begin(t.Context(), observations(test.pods...))
			got := make(map[string]float64)
			newScores(e).samples(func(f *family, value float64, labels [2]string) {
				if f == namespaceGrade || f == clusterGrade {
					got[labels[0]] = value
				}
			})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("grades, the cluster's without a name (-want +got):\n%s", diff)
			}
		})
	}
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
				Process: prometheus.NewRegistry(), Standby: prometheus.NewRegistry(), Leader: newScrape(newScores(e)),
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
				request := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
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
