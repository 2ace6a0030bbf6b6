//go:build unix

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/dump/dumptest"
	"github.com/kube-devops/kube-devops/agent/reload/reloadtest"
	"github.com/kube-devops/kube-devops/policies"
)

// benchmarkedPods is how many pods the cluster of BenchmarkReload has, of about 14 KB each.
const benchmarkedPods = 20_000

// podServer is an API server that has pods, in which nothing ever changes.
func podServer(b *testing.B, pods int) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/pods" || r.URL.Query().Get("sendInitialEvents") != "true" {
			http.Error(w, "the benchmark has one stream of pods alone", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		for i := range pods {
			var text bytes.Buffer
			if err := json.Compact(&text, dumptest.Pod(1, i)); err != nil {
				b.Error(err)
			}
			_, _ = fmt.Fprintf(w, `{"type":"ADDED","object":%s}`+"\n", text.Bytes())
		}
		_, _ = io.WriteString(w, `{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"99000000",`+
			`"annotations":{"k8s.io/initial-events-end":"true"}}}}`+"\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	b.Cleanup(server.Close)
	return server
}

// BenchmarkReload swaps the policy of an agent that holds 20,000 pods, as the kubelet does, and waits until a scrape over
// HTTP is of the new one: "file" until the agent notices by itself, "signal" with a SIGHUP. The agent is whole, and talks
// to an API server through a socket.
func BenchmarkReload(b *testing.B) {
	server := podServer(b, benchmarkedPods)
	kubeconfig := filepath.Join(b.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: %q}}],
contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {token: t}}]}`, server.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	table := func(name string, version int) map[string]string {
		text, _ := policies.Shipped(name)
		return map[string]string{"policy.yaml": strings.Replace(string(text), "name: "+name, fmt.Sprintf("name: version-%d", version), 1)}
	}
	m := reloadtest.New(b, table(policies.Default, 0))
	signals := make(chan os.Signal, 1)
	o := DefaultOptions()
	o.Policies, o.Kubeconfig, o.Listen, o.LeaderElect, o.Reload, o.Log = []string{m.Path("policy.yaml")}, kubeconfig, "127.0.0.1:0", false, signals, zap.NewNop()
	a, err := New(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})

	version := 0
	waitForScores := func(within time.Duration) {
		want := fmt.Sprintf(`name="version-%d"`, version)
		for deadline := time.Now().Add(within); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
			if body := scrapeOf(b, a.Addr()); strings.Contains(body, want) && strings.Contains(body, "\ncluster_health_score ") {
				return
			}
		}
		b.Fatalf("no scores of version %d after %s", version, within)
	}
	waitForScores(5 * time.Minute)
	change := func(b *testing.B, name string, signal bool) time.Duration {
		version++
		started := time.Now()
		m.MustSwap(b, table(name, version))
		if signal {
			signals <- os.Interrupt
		}
		waitForScores(time.Minute)
		return time.Since(started)
	}
	for _, name := range policies.Names() {
		// The first time the table may read fields that the cache does not have, and then all pods are listed anew.
		b.Logf("%s for the first time: %s", name, change(b, name, false).Round(time.Millisecond))
		for _, notice := range []string{"file", "signal"} {
			b.Run(name+"/"+notice, func(b *testing.B) {
				var longest time.Duration
				before := processorTime(b)
				for b.Loop() {
					longest = max(longest, change(b, name, notice == "signal"))
				}
				b.ReportMetric(float64(longest.Milliseconds()), "ms-max")
				b.ReportMetric(float64((processorTime(b)-before).Milliseconds())/float64(b.N), "ms-processor/reload")
				b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/reload")
			})
		}
	}
}

// processorTime is how long the processors have worked for this process: unlike the time that goes by, it does not depend
// much on what else the machine does.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func scrapeOf(b *testing.B, addr string) string {
	response, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.Fatal(err)
	}
	return string(body)
}
