package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/election"
	"github.com/kube-devops/kube-devops/agent/exposition"
	"github.com/kube-devops/kube-devops/agent/history"
	"github.com/kube-devops/kube-devops/agent/page"
	"github.com/kube-devops/kube-devops/agent/server"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/agent/status"
)

// TestStandbyNamesTheLeader: the page of a standby leads to the leader. The holder of the Lease is a text that others may write.
func TestStandbyNamesTheLeader(t *testing.T) {
	a := &Agent{}
	a.options.Election.Identity, a.options.ExternalURL = "agent-b_1", "https://governance.example.com/east/"
	request := httptest.NewRequest(http.MethodGet, "/namespaces/a%20b?sort=pods&filter=x%22%3Cb%3E&a;b", nil)
	view := a.standby(request, errors.New("no permission"))
	if view.Leader != "" || view.Replica != "agent-b_1" || view.Reason != "no permission" || view.URL != "" || view.Command != "" {
		t.Errorf("without a Lease: %+v", view)
	}
	var err error
	if a.server, err = server.New(server.Options{
		Listen: "127.0.0.1:0", Log: zap.NewNop(), Process: prometheus.NewRegistry(), Leader: prometheus.NewRegistry(), Standby: prometheus.NewRegistry(),
	}); err != nil {
		t.Fatal(err)
	}
	defer a.server.Close()
	view = a.standby(request, fmt.Errorf("no: %w", &election.NotLeaderError{Leader: "agent-a_2", Reason: "this replica does not hold the lease"}))
	if view.Leader != "agent-a_2" || view.Reason != "this replica does not hold the lease" || view.URL != "https://governance.example.com/east/namespaces/a%20b?filter=x%22%3Cb%3E&sort=pods" {
		t.Errorf("with a leader: %+v", view)
	}
	view = a.standby(request, &election.NotLeaderError{Leader: "agent-b_1", Reason: "an earlier leader may still publish", Wait: 12 * time.Second})
	if left := time.Until(*view.From); left < 10*time.Second || left > 13*time.Second || view.URL != "" || view.Command != "" {
		t.Errorf("with the Lease, %s before it publishes: %+v", left, view)
	}
	for leader, want := range map[string]string{
		"agent-a_xyz": "kubectl port-forward -n tools pod/agent-a 8080", "agent-a": "kubectl port-forward -n tools pod/agent-a 8080",
		"": "", "x; rm -rf ~_1": "", "$(reboot)_1": "", "--kubeconfig=x_1": "", "a/b_1": "",
	} {
		if got := portForward("tools", leader, "[::]:8080"); got != want {
			t.Errorf("leader %q: %q, want %q", leader, got, want)
		}
	}
	if got := portForward("", "agent-a_1", "127.0.0.1:8080"); got != "" {
		t.Errorf("outside of a cluster: %q", got)
	}
}

func TestValidateURL(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "https://governance.example.com": true, "http://10.0.0.1:8080/x/": true, "HTTPS://grafana/{namespace}": true,
		"governance.example.com": false, "javascript:alert(1)": false, "https://": false, "https://u:p@host": false, "https://a b": false, "//host": false,
	} {
		err := validateURL("external-url", text)
		if (err == nil) != want || err != nil && (!strings.HasPrefix(err.Error(), "--external-url is not the address of a page") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%q: %v, want it to be taken: %t", text, err, want)
		}
	}
}

// TestExternalURLHasNoQuery: the paths of the pages are added to it, so that a query would end up in the middle.
func TestExternalURLHasNoQuery(t *testing.T) {
	for _, text := range []string{"https://a/?x=1", "https://a/?", "https://a/#x", "https://a#"} {
		err := validateURL(externalURL, text)
		if err == nil || !strings.Contains(err.Error(), "query or a fragment") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
		if err := validateURL("history-url", text); err != nil {
			t.Error(err)
		}
	}
}

// TestPagesOfARecording starts an agent on a recording: its pages have the workloads and values of the pods, and the scores of its report.
func TestPagesOfARecording(t *testing.T) {
	o := DefaultOptions()
	o.Policies, o.Replay, o.Listen = []string{"recommended"}, "../testdata/dumps/shop.json", "127.0.0.1:0"
	a, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	get := func(path string, to any) int {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+a.Addr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err == nil && response.StatusCode == http.StatusOK && to != nil {
			err = json.Unmarshal(text, to)
		}
		if err != nil {
			t.Fatalf("%s: %d %v: %s", path, response.StatusCode, err, text)
		}
		return response.StatusCode
	}
	eventually(t, "the pages", func() bool { return get("/", nil) == http.StatusOK })
	var overview page.Overview
	var report struct {
		Namespaces []struct {
			Namespace  string
			Compliance float64
			Violations map[string]int
		}
		Violations []struct{ Namespace, Pod, Check, Value string }
	}
	get("/?sort=namespace", &overview)
	get("/api/v1/report", &report)
	if len(overview.Namespaces) != len(report.Namespaces) || overview.Cluster != "shop.json" || len(overview.Uncounted.Excluded) != 1 {
		t.Fatalf("%+v", overview)
	}
	values := 0
	for i, row := range overview.Namespaces {
		want, violations := report.Namespaces[i], 0
		for _, n := range want.Violations {
			violations += n
		}
		if row.Name != want.Namespace || *row.Compliance != want.Compliance || row.Violations != violations {
			t.Errorf("%+v, want %+v", row, want)
		}
		var namespace page.Namespace
		get("/namespaces/"+row.Name, &namespace)
		found := 0
		for _, w := range namespace.Workloads {
			if w.Kind == "ReplicaSet" {
				t.Errorf("%s is of a Deployment", w.Label())
			}
			for _, f := range w.Findings {
				if found += f.Violations; f.Value != "" {
					values++
				}
				if f.Value != "" && !slices.ContainsFunc(report.Violations, func(v struct{ Namespace, Pod, Check, Value string }) bool {
					return v.Namespace == row.Name && v.Pod == f.Pods[0] && v.Check == f.Check && v.Value == f.Value
				}) {
					t.Errorf("the report has no %s of %s with the value %q", f.Check, f.Pods[0], f.Value)
				}
			}
		}
		if found != violations {
			t.Errorf("%s: %d violations in findings, want %d", row.Name, found, violations)
		}
	}
	if values == 0 {
		t.Error("no finding has a value")
	}
}

// TestScrapeBesidePages measures scrapes of 5,000 namespaces alone, and while twenty readers look at the overview.
func TestScrapeBesidePages(t *testing.T) {
	if testing.Short() {
		t.Skip("it measures time")
	}
	e := evaluatorOf(loadTable(t, tableText("large", 5)))
	var all []state.Observation
	for i := range 10_000 {
		all = append(all, state.Observation{
			Pod: state.Pod{Namespace: fmt.Sprint("namespace-", i%5000), Name: fmt.Sprint("pod-", i)}, JSON: podJSON([]string{noProbes, clean}[i%2]),
		})
	}
	e.Begin(t.Context(), observations(all...))
	h := history.New(time.Now())
	h.Record(time.Now(), e.Current().Snapshot())
	views := status.New(status.Options{
		State: e.Current, History: func() *history.History { return h }, Pod: func(state.Pod) []byte { return nil },
		Source: func() status.Source { return status.Source{} }, Now: time.Now,
	})
	handler := server.Handler(server.Options{
		Process: prometheus.NewRegistry(), Standby: prometheus.NewRegistry(), Leader: newScrape(exposition.New(exposedBy(e))),
		Report: func(io.Writer) error { return nil },
		Pages:  &server.Pages{Leader: func(r *http.Request) server.Page { return pageOf(views.Answer(r)) }},
	})
	ask := func(path, tag string) (*httptest.ResponseRecorder, time.Duration) {
		request := httptest.NewRequest(http.MethodGet, path, nil)
		request.Header.Set("Accept-Encoding", "gzip")
		request.Header.Set("If-None-Match", tag)
		recorder, began := httptest.NewRecorder(), time.Now()
		handler.ServeHTTP(recorder, request)
		return recorder, time.Since(began)
	}
	scrapes := func() time.Duration {
		var took []time.Duration
		for range 60 {
			_, d := ask("/metrics", "")
			took = append(took, d)
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	alone := scrapes()
	ctx, stop := context.WithCancel(t.Context())
	readers := make(chan []time.Duration)
	const people, every = 20, 2 * time.Second
	for i := range people {
		go func() {
			var took []time.Duration
			tag := ""
			wait := time.NewTimer(every * time.Duration(i) / people)
			defer wait.Stop()
			for {
				select {
				case <-ctx.Done():
					readers <- took
					return
				case <-wait.C:
				}
				recorder, d := ask("/", tag)
				tag = recorder.Header().Get("ETag")
				took = append(took, d)
				wait.Reset(every)
			}
		}()
	}
	var beside []time.Duration
	for began := time.Now(); time.Since(began) < 3*every; {
		beside = append(beside, scrapes())
	}
	stop()
	var pages []time.Duration
	for range people {
		pages = append(pages, <-readers...)
	}
	slices.Sort(pages)
	slices.Sort(beside)
	t.Logf("median of scrapes: alone %s, beside %d readers %s; %d pages, p50 %s, p99 %s", alone, people, beside[len(beside)/2], len(pages),
		pages[len(pages)/2], pages[len(pages)*99/100])
	if median := beside[len(beside)/2]; median > 2*alone+20*time.Millisecond {
		t.Errorf("the median of scrapes is %s beside readers, and %s alone", median, alone)
	}
}
