package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
)

// healTimeout bounds a recovery that waits for the backoff of client-go, which doubles from 0.8 s to 30 s plus as much jitter.
const healTimeout = 65 * time.Second

// TestNotReadyWithoutPermission starts an agent whose account may not do anything yet, and then may.
func TestNotReadyWithoutPermission(t *testing.T) {
	ctx := t.Context()
	namespace := newNamespace(t, "e2e-permission")
	if err := env.CreatePods(ctx, cluster.NewPod(namespace, "web", cluster.Bad)); err != nil {
		t.Fatal(err)
	}
	account := newAccount(t, "latecomer")
	agent := startAgent(t, "latecomer", liveArgs("--kubeconfig", account.kubeconfig)...)
	staysUnready(t, agent)

	account.grant(t)
	waitReady(t, agent, healTimeout)
	waitScores(t, "scores after the permission came", agent, healTimeout, []string{namespace}, listed(t))
	stopAgent(t, agent, syscall.SIGTERM, 0) // while it still may release the Lease
}

// TestNotReadyWithoutServer starts an agent whose API server is down, and then is up.
func TestNotReadyWithoutServer(t *testing.T) {
	if env.Own == nil {
		t.Skip("the API server of an existing cluster is not ours to stop")
	}
	ctx := t.Context()
	namespace := newNamespace(t, "e2e-down")
	if err := env.CreatePods(ctx, cluster.NewPod(namespace, "web", cluster.Bad)); err != nil {
		t.Fatal(err)
	}
	stopServer(t, syscall.SIGKILL)
	agent := startAgent(t, "early", liveArgs()...)
	staysUnready(t, agent)
	startServer(t)
	waitReady(t, agent, healTimeout)
	waitScores(t, "scores after the server came", agent, healTimeout, []string{namespace}, listed(t))
}

// TestOneLogLineForEachTry counts the tries on the server's side: a server that is never ready.
func TestOneLogLineForEachTry(t *testing.T) {
	var tries atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tries.Add(1)
		http.Error(w, "not ready", http.StatusServiceUnavailable)
	}))
	defer server.Close()
	kubeconfig := kubeconfigOf(t, server.URL)
	start := time.Now()
	agent := startAgent(t, "refused", liveArgs("--kubeconfig", kubeconfig)...)
	waitFor(t, "six tries", 30*time.Second, func() error {
		if n := tries.Load(); n < 6 {
			return fmt.Errorf("%d tries", n)
		}
		return nil
	})
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("six tries in %s: it does not back off", took)
	}
	stopAgent(t, agent, syscall.SIGTERM, 0)
	lines, err := agent.Complaints()
	if err != nil {
		t.Fatal(err)
	}
	n := int(tries.Load())
	t.Logf("%d tries gave %d log lines", n, len(lines))
	if len(lines) > n || len(lines) < n-2 { // the signal may have cut off the last of the pods' and of the Lease's
		t.Errorf("%d tries gave %d log lines, want one each:\n%s", n, len(lines), agent.Stderr())
	}
}

// staysUnready checks for a few tries that the agent is alive, not ready, publishes nothing and says why.
func staysUnready(t *testing.T, agent *blackbox.Agent) {
	t.Helper()
	var complaints []blackbox.Line
	waitFor(t, "three log lines about tries", 30*time.Second, func() error {
		if err := answers(agent, "/healthz", http.StatusOK, "OK"); err != nil {
			t.Fatal(err)
		}
		if err := answers(agent, "/readyz", http.StatusServiceUnavailable, "NOT READY"); err != nil {
			t.Fatal(err)
		}
		metrics, err := agent.Metrics()
		if err != nil {
			t.Fatal(err)
		}
		if names := metrics.Published(); names != nil {
			t.Fatalf("publishes %v before the sync", names)
		}
		if status, body, err := agent.Get("/api/v1/report"); err != nil || status != http.StatusServiceUnavailable {
			t.Fatalf("GET /api/v1/report before the sync: %d %q %v", status, body, err)
		}
		if complaints, err = agent.Complaints(); err != nil {
			t.Fatal(err)
		}
		if len(complaints) < 3 {
			return fmt.Errorf("%d lines", len(complaints))
		}
		return nil
	})
}

// An account is a ServiceAccount without any permission, but those of everybody.
type account struct {
	name, kubeconfig string
}

func newAccount(t *testing.T, name string) account {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	ns := env.installation.Name
	if _, err := env.Kubectl(ctx, nil, "-n", ns, "create", "serviceaccount", name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := env.Kubectl(ctx, nil, "-n", ns, "delete", "serviceaccount", name); err != nil {
			t.Error(err)
		}
	})
	kubeconfig, err := env.installation.Kubeconfig(ctx, t.TempDir(), name)
	if err != nil {
		t.Fatal(err)
	}
	return account{name: name, kubeconfig: kubeconfig}
}

// grant binds the installation's roles to the account.
func (a account) grant(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	binding, subject := env.installation.Name+"-"+a.name, "--serviceaccount="+env.installation.Name+":"+a.name
	for _, kind := range [][]string{
		{"clusterrolebinding", binding, "--clusterrole=" + env.installation.Name, subject},
		{"-n", "default", "rolebinding", binding, "--role=" + env.installation.Name, subject},
	} {
		if _, err := env.Kubectl(ctx, nil, append([]string{"create"}, kind...)...); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, kind := range []string{"clusterrolebinding", "rolebinding"} {
			if _, err := env.Kubectl(ctx, nil, "-n", "default", "delete", kind, binding); err != nil {
				t.Error(err)
			}
		}
	})
}

// kubeconfigOf writes a kubeconfig for a server without authentication.
func kubeconfigOf(t *testing.T, server string) string {
	t.Helper()
	config := api.NewConfig()
	config.Clusters["e2e"] = &api.Cluster{Server: server}
	config.Contexts["e2e"] = &api.Context{Cluster: "e2e"}
	config.CurrentContext = "e2e"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBadStart checks that invalid configuration makes the agent exit with code 2 and one line that names the error.
func TestBadStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("\x00{]"), 0o600); err != nil {
		t.Fatal(err)
	}
	absent := filepath.Join(t.TempDir(), "absent")
	for _, test := range []struct {
		name  string
		args  []string
		names string // what the line must name
	}{
		{"the address is in use", liveArgs("--listen", taken.Addr().String()), taken.Addr().String()},
		{"no such kubeconfig", liveArgs("--kubeconfig", absent), absent},
		{"the kubeconfig is garbage", liveArgs("--kubeconfig", garbage), garbage},
		{"no cluster at all", []string{"agent", "--listen", "127.0.0.1:0"}, "--replay"},
		{"no such recording", []string{"agent", "--listen", "127.0.0.1:0", "--replay", absent}, absent},
		{"no such policy", liveArgs("--policy", absent), absent},
		{"no such flag", liveArgs("--frobnicate"), "--frobnicate"},
	} {
		t.Run(test.name, func(t *testing.T) {
			proc, err := blackbox.Start(options(t, "agent", test.args))
			if err != nil {
				t.Fatal(err)
			}
			code, err := proc.Wait(exitTimeout)
			if err != nil {
				proc.Kill()
				t.Fatal(err)
			}
			errors := slices.DeleteFunc(strings.Split(strings.TrimSpace(proc.Stderr()), "\n"), isInfo)
			if code != 2 || len(errors) != 1 || !strings.Contains(errors[0], test.names) {
				t.Errorf("exit code %d, stderr:\n%swant exit code 2 and one line that names %s", code, proc.Stderr(), test.names)
			}
			if out := proc.Stdout(); out != "" {
				t.Errorf("wrote to stdout: %q", out)
			}
		})
	}
}

// isInfo reports whether a log line is informational.
func isInfo(line string) bool { return strings.HasPrefix(line, `{"level":"info"`) }
