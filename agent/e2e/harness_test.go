package e2e_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

// quickLease makes a failover take seconds; the durations keep the proportions of the defaults.
var quickLease = []string{"--lease-duration=6s", "--renew-deadline=4s", "--retry-period=1s"}

const (
	// exitTimeout bounds a clean stop, from the signal to the end of the process.
	exitTimeout = 10 * time.Second
	// leadTimeout bounds the time to the first publication. The first leader ever waits one lease duration, 15 s by
	// default, because the Lease may have been deleted under another.
	leadTimeout = 30 * time.Second
	// seeTimeout bounds how long a change may take to be seen. The latency test says how long it does take.
	seeTimeout = 5 * time.Second
)

// waitFor polls until holds returns nil, and fails the test with its last error after the timeout.
func waitFor(t *testing.T, what string, timeout time.Duration, holds func() error) {
	t.Helper()
	if err := cluster.Eventually(t.Context(), timeout, 10*time.Millisecond, holds); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// newNamespace makes a namespace that is emptied when the test ends.
func newNamespace(t *testing.T, prefix string) string {
	t.Helper()
	name, err := env.CreateNamespace(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.EmptyNamespace(context.WithoutCancel(t.Context()), name); err != nil {
			t.Error(err)
		}
	})
	return name
}

// stopServer stops the API server, which is started again when the test ends, if it was not before.
func stopServer(t *testing.T, signal syscall.Signal) {
	t.Helper()
	t.Cleanup(func() {
		if !env.Own.Running() {
			startServer(t)
		}
	})
	env.Own.StopAPIServer(signal)
}

func startServer(t *testing.T) {
	t.Helper()
	if err := env.Own.StartAPIServer(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// liveArgs are the flags of an agent that watches the cluster as its own account.
func liveArgs(extra ...string) []string {
	args := []string{"agent", "--listen", "127.0.0.1:0", "--kubeconfig", env.kubeconfig, "--lease-name", env.installation.LeaseName}
	return append(args, extra...)
}

// options name a folder for the process in the work folder, which E2E_LOGS keeps.
func options(t *testing.T, name string, args []string) blackbox.Options {
	t.Helper()
	dir, err := os.MkdirTemp(env.dir, strings.ReplaceAll(t.Name(), "/", "-")+"-"+name+"-")
	if err != nil {
		t.Fatal(err)
	}
	return blackbox.Options{Name: name, Binary: env.binary, Dir: dir, Args: args}
}

// startAgent starts an agent that is stopped by SIGTERM when the test ends, and then must exit 0.
func startAgent(t *testing.T, name string, args ...string) *blackbox.Agent {
	t.Helper()
	return startWith(t, options(t, name, args))
}

func startWith(t *testing.T, options blackbox.Options) *blackbox.Agent {
	t.Helper()
	agent, err := blackbox.StartAgent(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !agent.Ended() {
			stopAgent(t, agent, syscall.SIGTERM, 0)
		}
		if t.Failed() {
			t.Log(agent.Tail())
		}
		if out := agent.Stdout(); out != "" {
			t.Errorf("%s wrote to stdout: %q", options.Name, out)
		}
	})
	return agent
}

// stopAgent sends a signal and checks the exit code.
func stopAgent(t *testing.T, agent *blackbox.Agent, signal syscall.Signal, want int) {
	t.Helper()
	agent.Signal(signal)
	code, err := agent.Wait(exitTimeout)
	if err != nil {
		agent.Kill()
		t.Errorf("after %s: %v", signal, err)
		return
	}
	if code != want {
		t.Errorf("%s after %s: exit code %d, want %d\n%s", agent.Name(), signal, code, want, agent.Tail())
	}
}

// waitReady waits until /readyz says READY.
func waitReady(t *testing.T, agent *blackbox.Agent, timeout time.Duration) {
	t.Helper()
	waitFor(t, agent.Name()+" is ready", timeout, func() error { return answers(agent, "/readyz", http.StatusOK, "READY") })
}

// answers says how the answer to a GET differs from what is wanted.
func answers(agent *blackbox.Agent, path string, wantStatus int, wantBody string) error {
	status, body, err := agent.Get(path)
	if err != nil {
		return err
	}
	if status != wantStatus || strings.TrimSpace(body) != wantBody {
		return fmt.Errorf("GET %s: %d %q, want %d %q", path, status, body, wantStatus, wantBody)
	}
	return nil
}

// waitScores waits until the agent publishes exactly these scores of the namespaces given, and on a control plane of our
// own, where there are no others, these means.
func waitScores(t *testing.T, what string, agent *blackbox.Agent, timeout time.Duration, namespaces []string, want func() (oracle.Scores, error)) {
	t.Helper()
	waitFor(t, what, timeout, func() error {
		metrics, err := agent.Metrics()
		if err != nil {
			return err
		}
		if leads, _ := metrics.Value("kube_devops_leader"); leads != 1 {
			return fmt.Errorf("%s does not lead", agent.Name())
		}
		wanted, err := want()
		if err != nil {
			return err
		}
		return diffScores(ours(wanted, namespaces), ours(metrics.Scores(), namespaces))
	})
}

// listed returns the scores of the pods that the API server lists.
func listed(t *testing.T) func() (oracle.Scores, error) {
	return func() (oracle.Scores, error) {
		list, err := env.ListPods(t.Context())
		if err != nil {
			return oracle.Scores{}, err
		}
		return oracle.FromList(list)
	}
}

// ours leaves out what others do in an existing cluster.
func ours(scores oracle.Scores, namespaces []string) oracle.Scores {
	if env.Own != nil {
		return scores
	}
	return scores.Only(func(name string) bool { return slices.Contains(namespaces, name) })
}

// diffScores compares two ways of computing the same: counts exactly, fractions but for the last digits.
func diffScores(want, got oracle.Scores) error {
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(1e-12, 1e-12)); diff != "" {
		return fmt.Errorf("scores (-want +got):\n%s", diff)
	}
	return nil
}

// round is for figures that a person reads.
func round(d time.Duration) time.Duration {
	return time.Duration(math.Round(float64(d)/1e5) * 1e5)
}
