package e2e_test

import (
	"errors"
	"net"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
)

// TestStopSignals stops a leader by either signal. The Lease is free at once for the next.
func TestStopSignals(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			agent := startAgent(t, "agent", liveArgs()...)
			waitFor(t, "the agent leads", leadTimeout, func() error {
				metrics, err := agent.Metrics()
				if err != nil {
					return err
				}
				if leads, _ := metrics.Value("kube_devops_leader"); leads != 1 {
					return errors.New("it does not lead")
				}
				return nil
			})
			if holder := leaseHolder(t); holder == "" {
				t.Fatal("the agent leads, but the Lease has no holder")
			}
			stopAgent(t, agent, signal, 0)
			if holder := leaseHolder(t); holder != "" {
				t.Errorf("%s still holds the Lease", holder)
			}
		})
	}
}

// TestStopBeforeSync stops an agent whose server never answers.
func TestStopBeforeSync(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never reads them
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	agent := startAgent(t, "agent", liveArgs("--kubeconfig", kubeconfigOf(t, "http://"+listener.Addr().String()))...)
	stopAgent(t, agent, syscall.SIGTERM, 0)
}

// TestStopWithOpenRequest holds a request open over the first signal. Alone, the agent exits 0 within its grace period;
// after a second signal it exits immediately with 130.
func TestStopWithOpenRequest(t *testing.T) {
	t.Run("one signal", func(t *testing.T) {
		agent := startAgent(t, "agent", liveArgs()...)
		waitReady(t, agent, leadTimeout)
		defer holdRequest(t, agent)()
		stopAgent(t, agent, syscall.SIGTERM, 0)
	})
	t.Run("two signals", func(t *testing.T) {
		agent := startAgent(t, "agent", liveArgs()...)
		waitReady(t, agent, leadTimeout)
		defer holdRequest(t, agent)()
		agent.Signal(syscall.SIGTERM)
		waitFor(t, "the agent stops listening", exitTimeout, func() error {
			conn, err := net.Dial("tcp", agent.Addr)
			if err != nil {
				return nil
			}
			_ = conn.Close()
			return errors.New("it still listens")
		})
		if agent.Ended() {
			t.Fatal("it did not wait for the open request, so nothing is shown about a second signal")
		}
		stopAgent(t, agent, syscall.SIGINT, 130)
	})
}

// leaseHolder returns the identity that the Lease names, "" for none.
func leaseHolder(t *testing.T) string {
	t.Helper()
	lease, err := env.Admin.CoordinationV1().Leases("default").Get(t.Context(), env.installation.LeaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// holdRequest sends the first line of a request and no more, and returns what gives it up.
func holdRequest(t *testing.T, agent *blackbox.Agent) func() {
	t.Helper()
	conn, err := net.Dial("tcp", agent.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("GET /metrics HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	// The server takes connections in order: once it has answered a later one, it has this one too.
	if _, _, err := agent.Get("/healthz"); err != nil {
		t.Fatal(err)
	}
	return func() { _ = conn.Close() }
}
