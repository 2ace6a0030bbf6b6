package fleet

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// readAll reads members, and returns the answers and the texts of the reports.
func readAll(t *testing.T, members ...Member) ([]Answer, []string) {
	t.Helper()
	for i := range members {
		if members[i].Timeout == 0 {
			members[i].Timeout = 10 * time.Second
		}
		if err := members[i].Complete(); err != nil {
			t.Fatal(err)
		}
	}
	texts := make([]string, len(members))
	f := Fleet{Members: members, Now: now, UserAgent: "test"}
	answers, err := f.Read(t.Context(), func(i int, report io.Reader) error {
		text, err := io.ReadAll(report)
		texts[i] = string(text)
		if strings.HasPrefix(texts[i], "<") {
			return errors.New("not a report")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return answers, texts
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestStates checks the state of members for all kinds of responses.
func TestStates(t *testing.T) {
	var header atomic.Pointer[http.Header]
	handle := http.NewServeMux()
	answer := func(path string, status int, head map[string]string, text string) {
		handle.HandleFunc("GET "+path+ReportPath, func(w http.ResponseWriter, r *http.Request) {
			header.Store(&r.Header)
			w.Header().Set("Date", now.Format(http.TimeFormat))
			for name, value := range head {
				w.Header().Set(name, value)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
		})
	}
	ago := func(d time.Duration) string { return now.Add(-d).Format(http.TimeFormat) }
	answer("/ok", 200, nil, "report")
	answer("/old", 200, map[string]string{"Last-Modified": ago(25 * time.Hour)}, "report")
	answer("/cached", 200, map[string]string{"Age": "90000"}, "report")
	answer("/standby", 503, nil, "may not publish: this replica does not hold the lease; the leader is kd-1_a\n")
	answer("/proxy", 503, nil, "no healthy upstream")
	answer("/moved", 301, map[string]string{"Location": "https://elsewhere.example.com/x?token=secret"}, "")
	answer("/unknown", 401, nil, "this page needs a bearer token")
	answer("/forbidden", 403, nil, "")
	answer("/page", 200, nil, "<html>")
	handle.HandleFunc("GET /slow"+ReportPath, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "rep")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	server := httptest.NewServer(handle)
	defer server.Close()
	file := write(t, "new.json", "report")
	old := write(t, "old.json", "report")
	for path, age := range map[string]time.Duration{file: time.Hour, old: 30 * time.Hour} {
		if err := os.Chtimes(path, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		member Member
		state  State
		reason string
	}{
		{Member{URL: server.URL + "/ok"}, Current, ""},
		{Member{URL: server.URL + "/ok" + ReportPath}, Current, ""},
		{Member{URL: server.URL + "/old", MaxAge: 24 * time.Hour}, Stale, "the report is 25h0m0s old, more than 24h0m0s"},
		{Member{URL: server.URL + "/old"}, Current, ""},
		{Member{URL: server.URL + "/cached", MaxAge: 24 * time.Hour}, Stale, "the report is 25h0m0s old, more than 24h0m0s"},
		{Member{URL: server.URL + "/standby"}, Standby, "this replica does not hold the lease; the leader is kd-1_a"},
		{Member{URL: server.URL + "/proxy"}, Away, "status 503 no healthy upstream"},
		{Member{URL: server.URL + "/moved"}, Away, "the server redirects to https://elsewhere.example.com/x: use that address"},
		{Member{URL: server.URL + "/unknown"}, Away, "status 401: the token is missing or not valid (tokenFile)"},
		{Member{URL: server.URL + "/forbidden"}, Away, "status 403: the token lacks the permission: get on the non-resource URL /api/v1/report and on /metrics"},
		{Member{URL: server.URL + "/none"}, Away, "status 404: there is no report at this address"},
		{Member{URL: server.URL + "/page"}, Away, "not a report"},
		{Member{URL: server.URL + "/slow", Timeout: 30 * time.Millisecond}, Away, "no complete response within 30ms"},
		{Member{URL: "http://127.0.0.1:1"}, Away, "dial tcp 127.0.0.1:1: connect: connection refused"},
		{Member{File: file, MaxAge: 24 * time.Hour}, Current, ""},
		{Member{File: old, MaxAge: 24 * time.Hour}, Stale, "the report is 30h0m0s old, more than 24h0m0s"},
		{Member{File: "/no/such/file"}, Away, "/no/such/file: no such file"},
		{Member{File: "prod.example:8080"}, Away, "prod.example:8080: no such file; the URL of an agent begins with http:// or https://"},
		{Member{File: "/dev/zero"}, Away, "/dev/zero is not a regular file"},
	}
	var members []Member
	for i, test := range tests {
		test.member.Name = fmt.Sprintf("m%d", i)
		members = append(members, test.member)
	}
	answers, texts := readAll(t, members...)
	for i, test := range tests {
		if got := answers[i]; got.State != test.state || got.Reason != test.reason {
			t.Errorf("%s%s: got %s %q, want %s %q", test.member.URL, test.member.File, got.State, got.Reason, test.state, test.reason)
		}
		if current := answers[i].State == Current || answers[i].State == Stale; current != (texts[i] == "report") {
			t.Errorf("%s%s: %s with the report %q", test.member.URL, test.member.File, answers[i].State, texts[i])
		}
	}
	if got := header.Load().Get("Authorization"); got != "" {
		t.Errorf("a member without a token got %q", got)
	}
}

// TestTokenAndCA checks that a token is sent only to its member, over TLS with a certificate of the CA.
func TestTokenAndCA(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer mine" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "report")
	}))
	defer server.Close()
	server.Config.ErrorLog = nil
	ca := write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	token, many := write(t, "token", "mine\n"), write(t, "many", "a b")
	answers, _ := readAll(t,
		Member{Name: "all", URL: server.URL, CAFile: ca, TokenFile: token},
		Member{Name: "no-token", URL: server.URL, CAFile: ca},
		Member{Name: "no-CA", URL: server.URL, TokenFile: token},
		Member{Name: "wrong-CA", URL: server.URL, CAFile: token},
		Member{Name: "two-tokens", URL: server.URL, CAFile: ca, TokenFile: many},
	)
	for i, want := range []string{"", "status 401", "certificate", "does not contain a PEM certificate", "must contain exactly one token"} {
		if got := answers[i]; !strings.Contains(got.Reason, want) || (want == "") != (got.State == Current) {
			t.Errorf("%d: %+v, want %q", i, got, want)
		}
	}
}

// TestManyMembers checks that many members are read at the same time, up to the limit.
func TestManyMembers(t *testing.T) {
	many := 200
	if testing.Short() {
		many = 2 * concurrency
	}
	var mu sync.Mutex
	open, most := 0, 0
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		open++
		if most = max(most, open); open == concurrency {
			select {
			case <-release:
			default:
				close(release)
			}
		}
		mu.Unlock()
		<-release
		mu.Lock()
		open--
		mu.Unlock()
		_, _ = io.WriteString(w, "report")
	}))
	defer server.Close()
	var members []Member
	for i := range many {
		members = append(members, Member{Name: fmt.Sprintf("m%d", i), URL: server.URL})
	}
	answers, texts := readAll(t, members...)
	for i, answer := range answers {
		if answer.State != Current || texts[i] != "report" {
			t.Fatalf("%d: %+v %q", i, answer, texts[i])
		}
	}
	if most != concurrency {
		t.Errorf("%d requests at the same time, want %d", most, concurrency)
	}
}

// TestLimits checks that reading ends at the maximum size, and when the context is done.
func TestLimits(t *testing.T) {
	over := &limited{ctx: t.Context(), from: zeros{}, left: 1 << 20}
	if n, err := io.Copy(io.Discard, over); n != 1<<20 || err == nil || err.Error() != "larger than 1024 MiB" {
		t.Errorf("%d bytes, %v", n, err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	f := Fleet{Members: []Member{{Name: "a", URL: server.URL, Timeout: time.Hour}}, Now: now}
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := f.Read(ctx, func(int, io.Reader) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
