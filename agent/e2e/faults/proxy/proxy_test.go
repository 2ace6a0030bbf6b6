package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

const (
	podList  = "/api/v1/pods"
	podWatch = "/api/v1/pods?watch=true"
	lease    = "/apis/coordination.k8s.io/v1/namespaces/default/leases/one"

	events = `{"type":"ADDED","object":{"metadata":{"name":"a"}}}
{"type":"BOOKMARK","object":{"metadata":{"annotations":{"k8s.io/initial-events-end":"true"}}}}
{"type":"MODIFIED","object":{"metadata":{"name":"a"}}}
{"type":"DELETED","object":{"metadata":{"name":"b"}}}
`
	// absence is how long a test waits to see that something does not happen.
	absence = 100 * time.Millisecond
)

// A rig has a proxy, a server that echoes requests, and a client.
type rig struct {
	*testing.T
	proxy  *Proxy
	url    string
	http   *http.Client
	served atomic.Int64 // requests that reached the server
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.served.Add(1)
		if q.URL.Query().Get("watch") != "" {
			_, _ = io.WriteString(w, events)
			return
		}
		body, _ := io.ReadAll(q.Body)
		_, _ = fmt.Fprintf(w, "%s %s by %s: %s", q.Method, q.URL.Path, q.Header.Get("Authorization"), body)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)

	dir := t.TempDir()
	config := api.NewConfig()
	config.Clusters["x"] = &api.Cluster{Server: server.URL, CertificateAuthorityData: pem.EncodeToMemory(
		&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})}
	config.AuthInfos["x"] = &api.AuthInfo{Token: "secret"}
	config.Contexts["x"] = &api.Context{Cluster: "x", AuthInfo: "x"}
	config.CurrentContext = "x"
	direct, through := filepath.Join(dir, "direct"), filepath.Join(dir, "through")
	err := clientcmd.WriteToFile(*config, direct)
	if err != nil {
		t.Fatal(err)
	}
	if r.proxy, err = Start(direct); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.proxy.Close)
	if err := r.proxy.Kubeconfig(direct, through); err != nil {
		t.Fatal(err)
	}
	restConfig, err := clientcmd.BuildConfigFromFlags("", through)
	if err != nil {
		t.Fatal(err)
	}
	r.url = restConfig.Host
	if r.http, err = rest.HTTPClientFor(restConfig); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.http.CloseIdleConnections)
	return r
}

// ask sends a request, and returns the status and the body, or an error without a response in time.
func (r *rig) ask(method, path, body string, within time.Duration) (int, string, error) {
	ctx, cancel := context.WithTimeout(r.Context(), within)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	res, err := r.http.Do(q)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, string(answer), err
}

// wants checks a response.
func (r *rig) wants(method, path string, status int, body string) {
	r.Helper()
	gotStatus, got, err := r.ask(method, path, "body", 5*time.Second)
	if err != nil || gotStatus != status || !strings.Contains(got, body) {
		r.Errorf("%s %s: %d %q %v, want %d and %q", method, path, gotStatus, got, err, status, body)
	}
}

const whole = "PUT " + lease + " by Bearer secret: body"

func TestTransparent(t *testing.T) {
	r := newRig(t)
	r.wants("PUT", lease, 200, whole)
	r.wants("GET", podWatch, 200, events)
	r.wants("GET", podList, 200, "GET /api/v1/pods by")
	r.wants("POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases", 200, "POST")
	r.wants("GET", lease, 200, "GET")
	r.wants("GET", podWatch+"&sendInitialEvents=true", 200, events)
	var got []Request
	for _, request := range r.proxy.Requests() {
		request.At = time.Time{}
		got = append(got, request)
	}
	want := []Request{
		{Verb: "update", Resource: "leases"}, {Verb: "watch", Resource: "pods"}, {Verb: "list", Resource: "pods"},
		{Verb: "create", Resource: "leases"}, {Verb: "get", Resource: "leases"}, {Verb: "watch", Resource: "pods", Initial: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestConnections(t *testing.T) {
	t.Run("cut", func(t *testing.T) {
		r := newRig(t)
		r.wants("PUT", lease, 200, whole)
		r.proxy.Cut()
		if _, _, err := r.ask("PUT", lease, "", 5*time.Second); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			t.Errorf("while cut: %v, want a reset", err)
		}
		r.proxy.Heal()
		r.wants("PUT", lease, 200, whole)
	})
	t.Run("black hole", func(t *testing.T) {
		r := newRig(t)
		r.wants("PUT", lease, 200, whole)
		before := r.served.Load()
		r.proxy.Blackhole()
		answered := make(chan error, 1)
		go func() {
			_, _, err := r.ask("PUT", lease, "", 10*time.Second)
			answered <- err
		}()
		if _, _, err := r.ask("PUT", lease, "", absence); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("on a connection that was there: %v, want no answer", err)
		}
		r.http.CloseIdleConnections()
		if _, _, err := r.ask("PUT", lease, "", absence); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("on a new connection: %v, want no answer", err)
		}
		if after := r.served.Load(); after != before {
			t.Errorf("the server heard %d requests", after-before)
		}
		r.proxy.Heal()
		if err := <-answered; err != nil {
			t.Errorf("a request that was under way, after healing: %v", err)
		}
		r.wants("PUT", lease, 200, whole)
	})
	t.Run("stall", func(t *testing.T) {
		r := newRig(t)
		r.wants("PUT", lease, 200, whole)
		r.proxy.Stall()
		if _, _, err := r.ask("PUT", lease, "", absence); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("on the connection that was there: %v, want no answer", err)
		}
		res, err := newClientOf(t, r).Get(r.url + podList)
		if err != nil {
			t.Fatalf("on a new connection: %v", err)
		}
		_ = res.Body.Close()
	})
}

func TestRotate(t *testing.T) {
	r := newRig(t)
	trusts := func(authority []byte) bool {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(authority)
		conn, err := tls.Dial("tcp", r.proxy.conns.Addr().String(), &tls.Config{RootCAs: roots})
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	old := r.proxy.Authority()
	activate, err := r.proxy.Rotate()
	if err != nil {
		t.Fatal(err)
	}
	fresh := r.proxy.Authority()
	if !trusts(old) || trusts(fresh) {
		t.Error("the new certificate is in use before its time")
	}
	activate()
	if trusts(old) || !trusts(fresh) {
		t.Error("the old certificate is in use after its time")
	}
}

// newClientOf returns a client with its own connections.
func newClientOf(t *testing.T, r *rig) *http.Client {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	config := api.NewConfig()
	config.Clusters["x"], config.Contexts["x"] = &api.Cluster{}, &api.Context{Cluster: "x"}
	config.CurrentContext = "x"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	if err := r.proxy.Kubeconfig(path, path); err != nil {
		t.Fatal(err)
	}
	restConfig, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	restConfig.NextProtos = []string{"http/1.1"}
	client, err := rest.HTTPClientFor(restConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func TestRules(t *testing.T) {
	swap := func(body []byte) []byte { return bytes.ReplaceAll(body, []byte("body"), []byte("soul")) }
	for _, test := range []struct {
		name   string
		rule   Rule
		method string
		path   string
		status int    // 0: no answer
		body   string // what it contains
		served int64
	}{
		{"another verb", Rule{Verb: "list", Status: 500}, "PUT", lease, 200, whole, 1},
		{"another resource", Rule{Resource: "pods", Status: 500}, "PUT", lease, 200, whole, 1},
		{"refused", Rule{Verb: "update", Resource: "leases", Status: 403}, "PUT", lease, 403, `"reason":"Forbidden"`, 0},
		{"a write", Rule{Verb: "write", Status: 429}, "PUT", lease, 429, `"reason":"TooManyRequests"`, 0},
		{"by a condition", Rule{If: func(q *http.Request) bool { return q.Method == "POST" }, Status: 500}, "PUT", lease, 200, whole, 1},
		{"never, by chance", Rule{Chance: 1e-300, Status: 500}, "PUT", lease, 200, whole, 1},
		{"silent", Rule{Silent: true}, "PUT", lease, 0, "", 0},
		{"dropped after the commit", Rule{Drop: true}, "PUT", lease, 0, "", 1},
		{"held for longer than the client waits", Rule{Hold: time.Minute}, "PUT", lease, 0, "", 1},
		{"held for a moment", Rule{Hold: time.Millisecond}, "PUT", lease, 200, whole, 1},
		{"another question", Rule{Ask: swap}, "PUT", lease, 200, "by Bearer secret: soul", 1},
		{"another answer", Rule{Answer: swap}, "PUT", lease, 200, "by Bearer secret: soul", 1},
		{"events pass", Rule{Watch: func(*Event) Fate { return Pass }}, "GET", podWatch, 200, events, 1},
		{"no end mark", Rule{Watch: func(e *Event) Fate {
			if e.End {
				return Swallow
			}
			return Pass
		}}, "GET", podWatch, 200, `"name":"a"}}}` + "\n" + `{"type":"MODIFIED"`, 1},
		{"no deletion of b", Rule{Watch: func(e *Event) Fate {
			if e.Type == "DELETED" && e.Name == "b" {
				return Swallow
			}
			return Pass
		}}, "GET", podWatch, 200, strings.Join(strings.SplitAfter(events, "\n")[:3], ""), 1},
		{"closed after two", Rule{Watch: func(e *Event) Fate {
			if e.N > 2 {
				return BreakOff
			}
			return Pass
		}}, "GET", podWatch, 200, strings.Join(strings.SplitAfter(events, "\n")[:2], ""), 1},
		{"the third is corrupt", Rule{Watch: func(e *Event) Fate {
			if e.N == 3 {
				e.Line = []byte("{\"type\":\n")
			}
			return Pass
		}}, "GET", podWatch, 200, "}}}}\n{\"type\":\n{\"type\":\"DELETED\"", 1},
		{"each event of a watch", Rule{Answer: func(line []byte) []byte {
			return bytes.ReplaceAll(line, []byte("MODIFIED"), []byte("ADDED"))
		}}, "GET", podWatch, 200, `{"type":"ADDED","object":{"metadata":{"name":"a"}}}` + "\n" + `{"type":"DELETED"`, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			remove := r.proxy.Add(test.rule)
			within := 5 * time.Second
			switch {
			case test.rule.Silent:
				within = absence
			case test.rule.Hold > within:
				within = time.Second // the request reaches the server, but the response does not arrive
			}
			status, body, err := r.ask(test.method, test.path, "body", within)
			if status != test.status || !strings.Contains(body, test.body) || (err != nil) != (test.status == 0) {
				t.Errorf("%d %q %v, want %d and %q", status, body, err, test.status, test.body)
			}
			if served := r.served.Load(); served != test.served {
				t.Errorf("the server heard %d requests, want %d", served, test.served)
			}
			if strings.Contains(test.name, "two") && body != test.body {
				t.Errorf("%q, want no more than %q", body, test.body)
			}
			remove()
			r.wants("PUT", lease, 200, whole)
		})
	}
}

func TestRuleOfTwoTimes(t *testing.T) {
	r := newRig(t)
	r.proxy.Add(Rule{Status: 500, Times: 2})
	for i, want := range []int{500, 500, 200, 200} {
		if status, _, err := r.ask("GET", podList, "", 5*time.Second); status != want {
			t.Errorf("answer %d: %d %v, want %d", i+1, status, err, want)
		}
	}
}

func TestNewestRuleFirst(t *testing.T) {
	r := newRig(t)
	r.proxy.Add(Rule{Status: 500})
	remove := r.proxy.Add(Rule{Status: 403, Resource: "pods"})
	r.wants("GET", podList, 403, "")
	r.wants("PUT", lease, 500, "")
	remove()
	r.wants("GET", podList, 500, "")
}

// TestServerIsGone checks that the client receives no response, as without the proxy.
func TestServerIsGone(t *testing.T) {
	r := newRig(t)
	r.proxy.upstream.Host = "127.0.0.1:1"
	if status, body, err := r.ask("GET", podList, "", 5*time.Second); err == nil {
		t.Errorf("%d %q, want no answer", status, body)
	}
}
