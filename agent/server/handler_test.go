package server

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	processText = "# HELP process_gauge Always 1.\n# TYPE process_gauge gauge\nprocess_gauge 1\n"
	scoresText  = "# HELP score_gauge Always 2.\n# TYPE score_gauge gauge\nscore_gauge 2\n"
	reportText  = `{"cluster": "fine"}` + "\n"

	textType    = "text/plain; charset=utf-8"
	metricsType = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
	jsonType    = "application/json"
)

// options are those of a ready server with content on each path.
func options() Options {
	return Options{
		Listen:  "127.0.0.1:0",
		Log:     zap.NewNop(),
		Process: gatherer("process_gauge", 1),
		Standby: prometheus.NewRegistry(), Leader: gatherer("score_gauge", 2),
		Report: func(w io.Writer) error {
			_, err := io.WriteString(w, reportText)
			return err
		},
	}
}

// gatherer has one metric, and optionally more collectors.
func gatherer(name string, value float64, more ...prometheus.Collector) prometheus.Gatherer {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: fmt.Sprintf("Always %g.", value)})
	g.Set(value)
	r := prometheus.NewRegistry()
	r.MustRegister(g)
	r.MustRegister(more...)
	return r
}

// A hook is a collector without metrics that is called on each gathering.
type hook func()

func (hook) Describe(chan<- *prometheus.Desc)   {}
func (h hook) Collect(chan<- prometheus.Metric) { h() }

// broken is a collector that fails.
type broken struct{}

func (broken) Describe(chan<- *prometheus.Desc) {}
func (broken) Collect(metrics chan<- prometheus.Metric) {
	metrics <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(errBroken), errBroken)
}

var errBroken = errors.New("a collector is broken")

// granted grants the permission.
func granted(ctx context.Context, publish func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Hour)
	defer cancel()
	return publish(ctx)
}

// denied denies the permission.
func denied(context.Context, func(context.Context) error) error {
	return errors.New("not the leader; agent-1 is")
}

// answered is the response to a client.
type answered struct {
	Status int
	Type   string
	Allow  string
	Body   string
}

func ask(handler http.Handler, method, target string) answered {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(method, target, nil))
	h := recorder.Header()
	return answered{recorder.Code, h.Get("Content-Type"), h.Get("Allow"), recorder.Body.String()}
}

func TestHandler(t *testing.T) {
	ready := Check{Name: "pods", Ready: func() error { return nil }}
	notReady := Check{Name: "policy", Ready: func() error { return errors.New("the table has not been loaded") }}
	notFound := answered{404, textType, "", "404 page not found\n"}
	notAllowed := answered{405, textType, "GET, HEAD", "Method Not Allowed\n"}
	brokenText := func(which string) string {
		return "An error has occurred while serving metrics:\n\n" + which + "a collector is broken\n"
	}
	tests := []struct {
		name   string
		with   func(*Options)
		method string // GET if empty
		target string
		want   answered
	}{
		{name: "alive", target: "/healthz", want: answered{200, textType, "", "OK"}},
		{
			name: "alive though not ready", target: "/healthz", with: func(o *Options) { o.Ready = []Check{notReady} },
			want: answered{200, textType, "", "OK"},
		},
		{name: "ready without conditions", target: "/readyz", want: answered{200, textType, "", "READY"}},
		{
			name: "ready", target: "/readyz", with: func(o *Options) { o.Ready = []Check{ready, ready} },
			want: answered{200, textType, "", "READY"},
		},
		{
			name: "one condition is not met", target: "/readyz", with: func(o *Options) { o.Ready = []Check{ready, notReady} },
			want: answered{503, textType, "", "NOT READY"},
		},
		{
			name: "the first condition is not met", target: "/readyz", with: func(o *Options) { o.Ready = []Check{notReady, ready} },
			want: answered{503, textType, "", "NOT READY"},
		},
		{
			name: "ready, verbose", target: "/readyz?verbose", with: func(o *Options) { o.Ready = []Check{ready} },
			want: answered{200, textType, "", "READY\n[+] pods\n"},
		},
		{
			name: "not ready, verbose", target: "/readyz?verbose=1", with: func(o *Options) { o.Ready = []Check{ready, notReady} },
			want: answered{503, textType, "", "NOT READY\n[+] pods\n[-] policy: the table has not been loaded\n"},
		},
		{name: "metrics without a leader gate", target: "/metrics", want: answered{200, metricsType, "", processText + scoresText}},
		{
			name: "metrics with permission", target: "/metrics", with: func(o *Options) { o.Publish = granted },
			want: answered{200, metricsType, "", processText + scoresText},
		},
		{
			name: "metrics without permission", target: "/metrics", with: func(o *Options) { o.Publish = denied },
			want: answered{200, metricsType, "", processText},
		},
		{
			name: "metrics by name", target: "/metrics?name[]=score_gauge", with: func(o *Options) { o.Publish = granted },
			want: answered{200, metricsType, "", scoresText},
		},
		{
			name: "scores cannot be gathered", target: "/metrics", with: func(o *Options) { o.Leader = gatherer("score_gauge", 2, broken{}) },
			want: answered{500, textType, "", brokenText("[from Gatherer #2] ")},
		},
		{
			name: "scores cannot be gathered, with permission", target: "/metrics",
			with: func(o *Options) { o.Publish, o.Leader = granted, gatherer("score_gauge", 2, broken{}) },
			want: answered{500, textType, "", brokenText("[from Gatherer #2] ")},
		},
		{
			name: "scores cannot be gathered, without permission", target: "/metrics",
			with: func(o *Options) { o.Publish, o.Leader = denied, gatherer("score_gauge", 2, broken{}) },
			want: answered{200, metricsType, "", processText},
		},
		{
			name: "process metrics cannot be gathered", target: "/metrics",
			with: func(o *Options) { o.Publish, o.Process = denied, gatherer("process_gauge", 1, broken{}) },
			want: answered{500, textType, "", brokenText("[from Gatherer #1] ")},
		},
		{name: "report without a leader gate", target: "/api/v1/report", want: answered{200, jsonType, "", reportText}},
		{
			name: "report with permission", target: "/api/v1/report", with: func(o *Options) { o.Publish = granted },
			want: answered{200, jsonType, "", reportText},
		},
		{
			name: "report without permission", target: "/api/v1/report", with: func(o *Options) { o.Publish = denied },
			want: answered{503, textType, "", "not the leader; agent-1 is\n"},
		},
		{
			name: "report that fails half-way", target: "/api/v1/report", with: func(o *Options) { o.Report = halfReport },
			want: answered{503, textType, "", "the pods are not evaluated yet\n"},
		},
		{
			name: "report that fails half-way, with permission", target: "/api/v1/report",
			with: func(o *Options) { o.Publish, o.Report = granted, halfReport },
			want: answered{503, textType, "", "the pods are not evaluated yet\n"},
		},
		{name: "root", target: "/", want: notFound},
		{name: "unknown path", target: "/nope", want: notFound},
		{name: "path below a page", target: "/metrics/cluster", want: notFound},
		{name: "trailing slash", target: "/healthz/", want: notFound},
		{name: "no profiles", target: "/debug/pprof/", want: notFound},
		{name: "post to healthz", method: "POST", target: "/healthz", want: notAllowed},
		{name: "post to readyz", method: "POST", target: "/readyz", want: notAllowed},
		{name: "post to metrics", method: "POST", target: "/metrics", want: notAllowed},
		{name: "post to report", method: "POST", target: "/api/v1/report", want: notAllowed},
		{name: "delete the report", method: "DELETE", target: "/api/v1/report", want: notAllowed},
		{name: "post elsewhere", method: "POST", target: "/nope", want: notFound},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := options()
			if test.with != nil {
				test.with(&o)
			}
			method := test.method
			if method == "" {
				method = http.MethodGet
			}
			if diff := cmp.Diff(test.want, ask(Handler(o), method, test.target)); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", method, test.target, diff)
			}
		})
	}
}

// halfReport fails half-way.
func halfReport(w io.Writer) error {
	if _, err := io.WriteString(w, `{"cluster": `); err != nil {
		return err
	}
	return errors.New("the pods are not evaluated yet")
}

// The text of an error may come from the cluster: browsers must not render it as HTML.
func TestTextIsNotSniffed(t *testing.T) {
	for _, target := range []string{"/healthz", "/readyz", "/api/v1/report"} {
		o := options()
		o.Publish = denied
		recorder := httptest.NewRecorder()
		Handler(o).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, target, nil))
		if got := recorder.Header().Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options is %q, want nosniff", target, got)
		}
	}
}

// TestReportIsNotStored: the report has the headers of the pages, because it has their data.
func TestReportIsNotStored(t *testing.T) {
	recorder := httptest.NewRecorder()
	Handler(options()).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/api/v1/report", nil))
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Type": "application/json"} {
		if got := recorder.Header().Get(name); recorder.Code != http.StatusOK || got != want {
			t.Errorf("%d, %s is %q, want %q", recorder.Code, name, got, want)
		}
	}
}

// Each response asks for the permission once, whatever the result.
func TestPermissionIsRequestedOnce(t *testing.T) {
	for _, target := range []string{"/metrics", "/api/v1/report"} {
		for name, permission := range map[string]PublishFunc{"granted": granted, "denied": denied, "ending": ending} {
			t.Run(target+" "+name, func(t *testing.T) {
				asked := 0
				o := options()
				o.Publish = func(ctx context.Context, publish func(context.Context) error) error {
					asked++
					return permission(ctx, publish)
				}
				ask(Handler(o), http.MethodGet, target)
				if asked != 1 {
					t.Errorf("permission was requested %d times, want once", asked)
				}
			})
		}
	}
}

func TestPermissionIsNotNeeded(t *testing.T) {
	o := options()
	o.Publish = func(context.Context, func(context.Context) error) error {
		t.Error("permission was requested")
		return nil
	}
	for _, target := range []string{"/healthz", "/readyz", "/nope"} {
		ask(Handler(o), http.MethodGet, target)
	}
}

// ending grants a permission that ends before the page is written.
func ending(ctx context.Context, publish func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return publish(ctx)
}

// If the permission ends while the page is rendered, no part of the page is sent.
func TestPermissionEndsWhileRendering(t *testing.T) {
	o := options()
	var end context.CancelFunc
	o.Publish = func(ctx context.Context, publish func(context.Context) error) error {
		ctx, end = context.WithCancel(ctx)
		return publish(ctx)
	}
	o.Leader = gatherer("score_gauge", 2, hook(func() { end() }))
	o.Report = func(w io.Writer) error {
		end()
		_, err := io.WriteString(w, reportText)
		return err
	}
	for target, want := range map[string]answered{
		"/metrics":       {200, metricsType, "", processText},
		"/api/v1/report": {503, textType, "", "the permission to publish ended while the page was rendered\n"},
	} {
		if diff := cmp.Diff(want, ask(Handler(o), http.MethodGet, target)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", target, diff)
		}
	}
}

// deadlines is a response writer that records its deadlines.
type deadlines struct {
	*httptest.ResponseRecorder
	set chan time.Time
}

func (d deadlines) SetWriteDeadline(deadline time.Time) error {
	d.set <- deadline
	return nil
}

func TestWriteDeadline(t *testing.T) {
	now := time.Now()
	tests := []struct {
		name string
		ends time.Time // of the permission
		want []time.Time
	}{
		{name: "a permission that ends soon", ends: now.Add(7 * time.Second), want: []time.Time{now.Add(7 * time.Second)}},
		{name: "a permission that lasts longer than writeTimeout", ends: now.Add(time.Hour)},
		{name: "a permission without an end"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := options()
			o.Publish = func(ctx context.Context, publish func(context.Context) error) error {
				if !test.ends.IsZero() {
					var cancel context.CancelFunc
					ctx, cancel = context.WithDeadline(ctx, test.ends)
					defer cancel()
				}
				return publish(ctx)
			}
			w := deadlines{httptest.NewRecorder(), make(chan time.Time, 10)}
			Handler(o).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			close(w.set)
			var got []time.Time
			for deadline := range w.set {
				got = append(got, deadline)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("deadlines (-want +got):\n%s", diff)
			}
			if got := w.Body.String(); got != processText+scoresText {
				t.Errorf("body %q, want all metrics", got)
			}
		})
	}
}

// A page is written at once with its length, and flushed.
func TestWholePageIsFlushed(t *testing.T) {
	for target, want := range map[string]int{"/metrics": len(processText + scoresText), "/api/v1/report": len(reportText)} {
		o := options()
		o.Publish = granted
		recorder := httptest.NewRecorder()
		Handler(o).ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, target, nil))
		if got := recorder.Header().Get("Content-Length"); got != fmt.Sprint(want) {
			t.Errorf("%s: Content-Length is %q, want %d", target, got, want)
		}
		if !recorder.Flushed {
			t.Errorf("%s: the page was not flushed", target)
		}
	}
}

// A failed write is not followed by another response.
func TestFailedWriteIsNotAnsweredAgain(t *testing.T) {
	for _, target := range []string{"/metrics", "/api/v1/report"} {
		o := options()
		var got error
		o.Publish = func(ctx context.Context, publish func(context.Context) error) error {
			got = publish(ctx)
			return got
		}
		w := &gone{ResponseRecorder: httptest.NewRecorder()}
		Handler(o).ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
		if w.writes != 1 || !errors.Is(got, errGone) {
			t.Errorf("%s: %d writes, and Publish returned %v; want one write and %v", target, w.writes, got, errGone)
		}
	}
}

var errGone = errors.New("the client is gone")

// gone is a response writer whose client is gone.
type gone struct {
	*httptest.ResponseRecorder
	writes int
}

func (g *gone) Write([]byte) (int, error) {
	g.writes++
	return 0, errGone
}

// The number of concurrent scrapes is bounded, because gathering is expensive. One too many waits.
func TestConcurrentScrapesAreLimited(t *testing.T) {
	o := options()
	started, release := make(chan struct{}), make(chan struct{})
	o.Leader = gatherer("score_gauge", 2, hook(func() {
		started <- struct{}{}
		<-release
	}))
	handler := Handler(o)
	answers := make(chan answered)
	for range maxScrapes + 1 {
		go func() { answers <- ask(handler, http.MethodGet, "/metrics") }()
	}
	for range maxScrapes {
		<-started
	}
	select {
	case <-started:
		t.Error("more than maxScrapes are answered concurrently")
	case <-time.After(50 * time.Millisecond):
	}
	if got := ask(handler, http.MethodGet, "/healthz"); got.Status != http.StatusOK {
		t.Errorf("/healthz answers %d while metrics are gathered", got.Status)
	}
	close(release)
	<-started
	for range maxScrapes + 1 {
		if got := <-answers; got.Status != http.StatusOK || !strings.Contains(got.Body, scoresText) {
			t.Errorf("answer %+v, want all metrics", got)
		}
	}
}

// TestReportIsCompressed: the report is compressed for clients that accept gzip. Errors are never compressed.
func TestReportIsCompressed(t *testing.T) {
	for _, test := range []struct {
		name, coding string
		report       func(io.Writer) error
		compressed   bool
		status       int
		body         string
	}{
		{"no Accept-Encoding", "", nil, false, 200, reportText},
		{"gzip", "br, GZIP;q=0.5", nil, true, 200, reportText},
		{"only another coding", "br", nil, false, 200, reportText},
		{"refused", "gzip; q=0.0, identity", nil, false, 200, reportText},
		{"fails half-way", "gzip", halfReport, false, 503, "the pods are not evaluated yet\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := options()
			if test.report != nil {
				o.Report = test.report
			}
			request := httptest.NewRequest(http.MethodGet, "/api/v1/report", nil)
			request.Header.Set("Accept-Encoding", test.coding)
			recorder := httptest.NewRecorder()
			Handler(o).ServeHTTP(recorder, request)
			var body io.Reader = recorder.Body
			if test.compressed {
				var err error
				if body, err = gzip.NewReader(body); err != nil {
					t.Fatal(err)
				}
			}
			text, err := io.ReadAll(body)
			if err != nil || string(text) != test.body || recorder.Code != test.status {
				t.Errorf("answer %d %q (%v), want %d %q", recorder.Code, text, err, test.status, test.body)
			}
			h := recorder.Header()
			if (h.Get("Content-Encoding") == "gzip") != test.compressed || h.Get("Vary") != "Accept-Encoding" {
				t.Errorf("Content-Encoding %q, Vary %q; want compressed: %t", h.Get("Content-Encoding"), h.Get("Vary"), test.compressed)
			}
		})
	}
}
