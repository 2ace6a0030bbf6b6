package agent

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/kube-devops/kube-devops/agent/access"
	"github.com/kube-devops/kube-devops/agent/election"
	"github.com/kube-devops/kube-devops/agent/kubeconfig"
	"github.com/kube-devops/kube-devops/agent/podwatch"
	"github.com/kube-devops/kube-devops/agent/server"
	"github.com/kube-devops/kube-devops/rules"
)

// kubeconfigOf writes a kubeconfig for a server, with a token.
func kubeconfigOf(t *testing.T, server string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
"clusters": [{"name": "c", "cluster": {"server": %q, "insecure-skip-tls-verify": true}}],
"users": [{"name": "u", "user": {"token": "secret"}}]}`, server)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// kindOf names a request to the API server.
func kindOf(r *http.Request) string {
	switch {
	case strings.HasSuffix(r.URL.Path, "/tokenreviews"):
		return "review"
	case strings.Contains(r.URL.Path, "/leases"):
		return "lease"
	case strings.HasSuffix(r.URL.Path, "/pods") && r.URL.Query().Get("watch") != "":
		return "watch of pods"
	case strings.HasSuffix(r.URL.Path, "/pods"):
		return "list of pods"
	}
	return r.URL.Path
}

// TestRedirectsAreRefused: an API server that redirects gets the token from no client of the agent to another host, and
// the error names that host.
func TestRedirectsAreRefused(t *testing.T) {
	var mu sync.Mutex
	asked := make(map[string]int)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s reached the other host, with Authorization %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	statuses := []int{301, 302, 303, 307, 308}
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer secret" {
			t.Errorf("%s has Authorization %q", r.URL, got)
		}
		mu.Lock()
		asked[kindOf(r)]++
		status := statuses[asked[kindOf(r)]%len(statuses)]
		mu.Unlock()
		http.Redirect(w, r, other.URL+r.URL.RequestURI(), status)
	}))
	defer api.Close()
	seen := func(kind string) bool {
		mu.Lock()
		defer mu.Unlock()
		return asked[kind] > 0
	}
	cluster, err := kubeconfig.FindCluster(kubeconfigOf(t, api.URL), "")
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.DebugLevel)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()

	watch, err := podwatch.New(cluster.Config, podwatch.Options{Log: zap.New(core), Registerer: prometheus.NewRegistry(), Projection: new(rules.Projection)})
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() { _ = watch.Run(ctx, func(podwatch.Key, *podwatch.Pod) {}) })

	o := election.DefaultOptions()
	o.Identity, o.Log, o.Registerer, o.Lead = "a", zap.New(core), prometheus.NewRegistry(), func(context.Context) {}
	elector, err := election.New(cluster.Config, o)
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() { _ = elector.Run(ctx) })

	list, err := podwatch.NewLister(cluster.Config)
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(other.URL, "http://")
	if _, err := list(ctx); err == nil || !strings.Contains(err.Error(), host) {
		t.Errorf("list: error %v, want that %s is named", err, host)
	}
	r, err := access.New(cluster.Config, nil, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	for i := range statuses {
		if err := r.Allow(ctx, server.Bearer{Token: fmt.Sprint(i), Path: "/metrics"}); err == nil || !strings.Contains(err.Error(), host) {
			t.Errorf("review: error %v, want that %s is named", err, host)
		}
	}
	for _, kind := range []string{"watch of pods", "list of pods", "lease", "review"} {
		for deadline := time.Now().Add(10 * time.Second); !seen(kind); <-time.After(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the agent made no %s: %v", kind, asked)
			}
		}
	}
	named := func() (watching, leading bool) {
		for _, entry := range logs.All() {
			line := fmt.Sprint(entry.Message, entry.ContextMap())
			watching = watching || strings.Contains(line, host) && strings.Contains(line, "pods")
			leading = leading || strings.Contains(line, host) && strings.Contains(strings.ToLower(line), "lease")
		}
		return watching, leading
	}
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(10 * time.Millisecond) {
		watching, leading := named()
		if watching && leading {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log names the other host for the pods: %t, for the Lease: %t; %v", watching, leading, logs.All())
		}
	}
}
