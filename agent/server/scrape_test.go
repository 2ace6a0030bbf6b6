package server

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// written is a TextAppender.
type written struct {
	prometheus.Gatherer
	appending func()
}

func (w written) AppendText(to []byte) []byte {
	if w.appending != nil {
		w.appending()
	}
	return append(to, scoresText...)
}

func TestTextScrape(t *testing.T) {
	const protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
	tests := []struct {
		name, accept, coding string
		process              prometheus.Gatherer
		want                 answered
	}{
		{name: "plain", want: answered{Status: 200, Type: metricsType, Body: processText + scoresText}},
		{name: "compressed", coding: "deflate, gzip", want: answered{Status: 200, Type: metricsType, Body: processText + scoresText}},
		{name: "not compressed", coding: "gzip;q=0", want: answered{Status: 200, Type: metricsType, Body: processText + scoresText}},
		{name: "text with a lower weight", accept: protobuf + ";q=0.6,text/plain;version=0.0.4;q=0.5",
			want: answered{Status: 200, Type: "text/plain; version=0.0.4; charset=utf-8", Body: processText + scoresText}},
		{name: "a gatherer fails", process: gatherer("process_gauge", 1, broken{}), want: answered{Status: 500, Type: textType}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := options()
			o.Leader = written{Gatherer: o.Leader}
			if test.process != nil {
				o.Process = test.process
			}
			request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			request.Header.Set("Accept", test.accept)
			request.Header.Set("Accept-Encoding", test.coding)
			recorder := httptest.NewRecorder()
			Handler(o).ServeHTTP(recorder, request)
			got := answered{Status: recorder.Code, Type: recorder.Header().Get("Content-Type"), Body: recorder.Body.String()}
			if compressed := recorder.Header().Get("Content-Encoding") == "gzip"; compressed != strings.HasSuffix(test.coding, "gzip") {
				t.Errorf("compressed: %t", compressed)
			} else if compressed {
				reader, err := gzip.NewReader(recorder.Body)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(reader)
				if err != nil {
					t.Fatal(err)
				}
				got.Body = string(text)
			}
			if test.want.Status != http.StatusOK {
				got.Body = ""
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestScrapeOfSelectedMetrics(t *testing.T) {
	o := options()
	o.Leader = written{Gatherer: o.Leader, appending: func() { t.Error("AppendText was called") }}
	want := answered{200, metricsType, "", scoresText}
	if diff := cmp.Diff(want, ask(Handler(o), http.MethodGet, "/metrics?name[]=score_gauge")); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
}

// A client that does not accept text gets another format.
func TestScrapeInAnotherFormat(t *testing.T) {
	o := options()
	o.Leader = written{Gatherer: o.Leader, appending: func() { t.Error("AppendText was called") }}
	request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	request.Header.Set("Accept", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited")
	recorder := httptest.NewRecorder()
	Handler(o).ServeHTTP(recorder, request)
	if got := recorder.Header().Get("Content-Type"); recorder.Code != http.StatusOK || !strings.HasPrefix(got, "application/vnd.google.protobuf") {
		t.Errorf("answer %d of type %q, want 200 in protobuf", recorder.Code, got)
	}
}

func TestConcurrentTextScrapesAreLimited(t *testing.T) {
	o := options()
	started, release := make(chan struct{}), make(chan struct{})
	o.Leader = written{Gatherer: o.Leader, appending: func() {
		started <- struct{}{}
		<-release
	}}
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
	close(release)
	<-started
	for range maxScrapes + 1 {
		if got := <-answers; got.Status != http.StatusOK || got.Body != processText+scoresText {
			t.Errorf("answer %+v, want all metrics", got)
		}
	}
}
