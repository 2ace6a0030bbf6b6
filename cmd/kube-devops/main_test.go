package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"github.com/kube-devops/kube-devops/rules/golden"
)

// asProgram in the environment makes the test binary run the program, for tests of signals and exit codes.
const asProgram = "KUBE_DEVOPS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	shop = "../../testdata/dumps/shop.json"
	// unreachable refuses connections: no service listens on port 1.
	unreachable = "https://127.0.0.1:1"
	testTimeout = 10 * time.Second
)

func writeKubeconfig(t *testing.T, server string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c,
clusters: [{name: c, cluster: {server: %q}}],
contexts: [{name: c, context: {cluster: c, user: u}}],
users: [{name: u, user: {token: secret}}]}`, server)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// An output collects the output of a program and can be read meanwhile.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// A runningAgent is an agent in this process.
type runningAgent struct {
	stderr output
	cancel context.CancelFunc
	code   chan int
	addr   string
	http   http.Client
}

func startAgent(t *testing.T, args ...string) *runningAgent {
	t.Helper()
	a := &runningAgent{code: make(chan int, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	a.cancel = cancel
	args = append([]string{"agent", "--listen", "127.0.0.1:0"}, args...)
	go func() { a.code <- run(ctx, args, strings.NewReader(""), io.Discard, &a.stderr) }()
	waitFor(t, "the address in the log", func() bool {
		for _, entry := range a.log(t) {
			if entry["msg"] == "listening" {
				a.addr = entry["addr"].(string)
			}
		}
		return a.addr != ""
	})
	return a
}

// log returns the entries logged so far.
func (a *runningAgent) log(t *testing.T) []map[string]any {
	t.Helper()
	var entries []map[string]any
	for line := range strings.Lines(a.stderr.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("a line on stderr is not JSON: %q", line)
		}
		entries = append(entries, entry)
	}
	return entries
}

func (a *runningAgent) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	response, err := a.http.Get("http://" + a.addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func (a *runningAgent) waitReady(t *testing.T) {
	t.Helper()
	waitFor(t, "ready", func() bool {
		status, _ := a.get(t, "/readyz")
		return status == http.StatusOK
	})
}

func (a *runningAgent) stop(t *testing.T) {
	t.Helper()
	a.http.CloseIdleConnections()
	a.cancel()
	select {
	case code := <-a.code:
		if code != exitDone {
			t.Errorf("exit code %d after a stop; stderr:\n%s", code, a.stderr.String())
		}
	case <-time.After(testTimeout):
		t.Fatalf("the agent does not stop; stderr:\n%s", a.stderr.String())
	}
}

func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(testTimeout)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("not within %s: %s", testTimeout, what)
		case <-tick.C:
		}
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	t.Setenv("KUBECONFIG", "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "") // these tests may run in a pod
	bad := file("bad.yaml", "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: bad}\nchecks:\n"+
		"- {id: a, weight: 0, violation: {path: x, operator: absent}}\n- {id: b, weight: 1, violation: {path: '*', operator: absent}}\n")
	const contexts = "{apiVersion: v1, kind: Config, contexts: [{name: test, context: {cluster: c}}, {name: prod, context: {cluster: c}}]}"
	tests := []struct {
		name string
		args []string
		want []string // a part of each line of stderr
		late bool     // the error occurs after the agent has started to log
	}{
		{"unknown command", []string{"agnet"}, []string{`unknown command "agnet" (did you mean "agent"?) (see kube-devops --help)`}, false},
		{"unknown flag", []string{"agent", "--polcy", "x"}, []string{`unknown flag: --polcy (did you mean "--policy"?) (see kube-devops agent --help)`}, false},
		{"bad value of a flag", []string{"agent", "--lease-duration", "soon"}, []string{`--lease-duration must be a duration such as 15s or 10m, got "soon"`}, false},
		{"argument", []string{"agent", "now"}, []string{`unexpected argument "now"`}, false},
		{"several mistakes", []string{"agent", "--listen", "nowhere", "--policy", ""},
			[]string{"--policy must name a file", `--listen "nowhere" must be host:port`}, false},
		{"durations that do not fit", []string{"agent", "--lease-duration", "5s"}, []string{"--lease-duration 5s: must be greater than --retry-period", "--lease-duration 5s: must be greater than margin"}, false},
		{"no policy file", []string{"agent", "--policy", "none.yaml"}, []string{"load policy: read none.yaml: no such file or directory (a policy is a file or a built-in table: default, extended, pss-baseline, pss-restricted, recommended)"}, false},
		{"broken policy", []string{"agent", "--policy", bad, "--replay", shop}, []string{
			bad + ":5: check a: weight must be an integer from 1 to 1000, got 0", bad + ":6: check b: path \"*\""}, false},
		{"no cluster", []string{"agent"}, []string{"no cluster: not in a pod, and no kubeconfig; name one with --kubeconfig, or serve a recording with --replay FILE"}, false},
		{"no kubeconfig file", []string{"agent", "--kubeconfig", "none"}, []string{"read the kubeconfig: --kubeconfig none: no such file or directory: name another with --kubeconfig"}, false},
		{"empty kubeconfig", []string{"agent", "--kubeconfig", file("empty", "")}, []string{"/empty is empty: name another with --kubeconfig"}, false},
		{"no current context", []string{"agent", "--kubeconfig", file("cc", contexts)}, []string{"/cc has no current context: name one with --context (it has prod, test)"}, false},
		{"wrong context", []string{"agent", "--kubeconfig", file("cc", contexts), "--context", "prud"}, []string{`/cc has no context "prud"; did you mean "prod"?`}, false},
		{"context of a recording", []string{"agent", "--replay", shop, "--context", "prod"}, []string{"--replay and --context cannot be combined"}, false},
		{"IPv6 without brackets", []string{"agent", "--replay", shop, "--listen", "::1:8080"}, []string{`--listen "::1:8080": an IPv6 address needs brackets: [::1]:8080`}, false},
		{"the same policy twice", []string{"agent", "--replay", shop, "--policy", "default", "--policy", "default"}, []string{"load policy: policy default is given twice, or a policy before it extends it"}, false},
		{"mistakes of several flags", []string{"agent", "--audit-interval", "x", "--log-level", "loud", "--leader-elect=maybe", "now"}, []string{
			`--audit-interval must be a duration such as 15s or 10m, got "x"`, `--log-level: "loud" is not one of debug, info, warn, error`,
			`--leader-elect must be true or false, got "maybe"`, `unexpected argument "now"`}, false},
		{"missing value", []string{"agent", "--listen", "x", "--policy"}, []string{"missing value after --policy"}, false},
		{"broken kubeconfig", []string{"agent", "--kubeconfig", file("k", "{")}, []string{"read the kubeconfig: "}, false},
		{"address in use", []string{"agent", "--replay", shop, "--listen", taken.Addr().String()}, []string{"--listen " + taken.Addr().String() + ": address already in use: choose another address"}, false},
		{"cluster and recording", []string{"agent", "--replay", shop, "--kubeconfig", "x"}, []string{"--replay and --kubeconfig cannot be combined"}, false},
		{"no recording", []string{"agent", "--listen", "127.0.0.1:0", "--replay", "none.json"}, []string{"none.json: no such file or directory"}, false},
		{"truncated recording", []string{"agent", "--listen", "127.0.0.1:0", "--replay", file("t.json", `{"kind":"List","items":[{"kind":"Pod","metadata":{"name":"a"}},{"kind":"Po`)},
			[]string{"item 2, byte "}, true},
		{"empty recording", []string{"agent", "--listen", "127.0.0.1:0", "--replay", "-"}, []string{"stdin"}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
			defer cancel()
			var stdout, stderr output
			if code := run(ctx, test.args, strings.NewReader(""), &stdout, &stderr); code != exitFailed {
				t.Errorf("exit code %d; want %d", code, exitFailed)
			}
			if stdout.String() != "" {
				t.Errorf("on stdout: %q", stdout.String())
			}
			var lines []string
			for line := range strings.Lines(stderr.String()) {
				if !test.late || !strings.HasPrefix(line, "{") { // the log
					lines = append(lines, line)
				}
			}
			if len(lines) != len(test.want) {
				t.Fatalf("%d lines on stderr; want %d:\n%s", len(lines), len(test.want), stderr.String())
			}
			for i, want := range test.want {
				if !strings.HasPrefix(lines[i], "kube-devops: ") || !strings.Contains(lines[i], want) {
					t.Errorf("line %d is %q; want %q in it", i+1, lines[i], want)
				}
			}
		})
	}
}

func TestVersion(t *testing.T) {
	var stdout, stderr output
	if code := run(t.Context(), []string{"version"}, nil, &stdout, &stderr); code != exitDone || !strings.HasPrefix(stdout.String(), "kube-devops dev go") {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
	}
}

func TestReplayServesTheRecording(t *testing.T) {
	a := startAgent(t, "--replay", shop)
	a.waitReady(t)
	for path, want := range map[string]string{"/healthz": "OK", "/readyz": "READY"} {
		if status, body := a.get(t, path); status != http.StatusOK || body != want {
			t.Errorf("%s: %d %q; want 200 %q", path, status, body, want)
		}
	}
	if status, _ := a.get(t, "/nowhere"); status != http.StatusNotFound {
		t.Errorf("/nowhere: %d; want 404", status)
	}
	status, body := a.get(t, "/api/v1/report")
	if status != http.StatusOK {
		t.Fatalf("/api/v1/report: %d %s", status, body)
	}
	golden.Compare(t, "testdata/shop-report.json", body)
	a.stop(t)
}

// TestMetricsAreClean: all metrics follow the naming rules of Prometheus, except the three whose names are fixed.
func TestMetricsAreClean(t *testing.T) {
	replay := startAgent(t, "--replay", shop)
	replay.waitReady(t)
	standby := startAgent(t, "--kubeconfig", writeKubeconfig(t, unreachable))
	for _, a := range []*runningAgent{replay, standby} {
		_, body := a.get(t, "/metrics")
		problems, err := promlint.New(strings.NewReader(body)).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range problems {
			switch problem.Metric {
			case "cluster_health_score", "namespace_health_score", "pod_events_total":
			default:
				t.Errorf("%s: %s", problem.Metric, problem.Text)
			}
		}
		a.stop(t)
	}
}

// TestUnreachableAPIServer: without an API server, the agent keeps trying, logs little and has no scores.
func TestUnreachableAPIServer(t *testing.T) {
	a := startAgent(t, "--kubeconfig", writeKubeconfig(t, unreachable), "--leader-elect=false")
	tries := func() (n int) {
		for _, entry := range a.log(t) {
			if entry["level"] == "info" {
				continue
			}
			if entry["msg"] != "request for pods failed; will try again" {
				t.Fatalf("an unexpected log entry: %v", entry)
			}
			n++
		}
		return n
	}
	waitFor(t, "a second request", func() bool { return tries() >= 2 })
	if status, body := a.get(t, "/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d %q", status, body)
	}
	if status, body := a.get(t, "/readyz"); status != http.StatusServiceUnavailable || body != "NOT READY" {
		t.Errorf("/readyz: %d %q", status, body)
	}
	if _, body := a.get(t, "/readyz?verbose"); !strings.Contains(body, "initial list of pods") {
		t.Errorf("/readyz?verbose gives no reason: %q", body)
	}
	if _, body := a.get(t, "/metrics"); strings.Contains(body, "health_score") {
		t.Error("there are scores without any pods")
	}
	if status, _ := a.get(t, "/api/v1/report"); status != http.StatusServiceUnavailable {
		t.Errorf("/api/v1/report: %d; want 503", status)
	}
	a.stop(t)
}

// TestReplayWarnsOfWorkloads: the agent does not count workloads, and warns if a recording has any.
func TestReplayWarnsOfWorkloads(t *testing.T) {
	a := startAgent(t, "--replay", "../../testdata/manifests/bookshop.yaml")
	a.waitReady(t)
	waitFor(t, "the warning", func() bool {
		return slices.ContainsFunc(a.log(t), func(entry map[string]any) bool {
			kinds, _ := entry["kinds"].(map[string]any)
			return entry["level"] == "warn" && kinds["Deployment"] != nil
		})
	})
	a.stop(t)
}
