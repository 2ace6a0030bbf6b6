package e2e_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

// TestServerRestarts stops the API server under a leader, in both ways, and starts it again. The scores stay as they were
// meanwhile, and follow the pods again afterwards.
func TestServerRestarts(t *testing.T) {
	if env.Own == nil {
		t.Skip("the API server of an existing cluster is not ours to stop")
	}
	ctx := t.Context()
	namespace := newNamespace(t, "e2e-restart")
	// Without a Lease nothing runs out, however long the server takes to come back.
	agent := startAgent(t, "agent", liveArgs("--leader-elect=false")...)
	if err := env.CreatePods(ctx, cluster.NewPod(namespace, "web", cluster.Bad)); err != nil {
		t.Fatal(err)
	}
	waitScores(t, "first scores", agent, leadTimeout, []string{namespace}, listed(t))

	const heals = 15 * time.Second // client-go waits up to 12 s for its next try
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		before, err := agent.Metrics()
		if err != nil {
			t.Fatal(err)
		}
		stopped := time.Now()
		meanwhile := keepsScores(agent, before.Scores())
		stopServer(t, signal)
		startServer(t)
		if err := meanwhile(); err != nil {
			t.Errorf("after %s, without a server: %v", signal, err)
		}
		back := time.Now()
		if err := env.CreatePods(ctx, cluster.NewPod(namespace, "after-"+signal.String(), cluster.Good)); err != nil {
			t.Fatal(err)
		}
		waitScores(t, "scores after "+signal.String(), agent, heals, []string{namespace}, listed(t))
		t.Logf("%s: %s without a server, healed %s after it was back", signal, round(back.Sub(stopped)), round(time.Since(back)))
	}
}

// keepsScores scrapes in the background until the returned function is called, which says whether any scrape failed or
// differed.
func keepsScores(agent *blackbox.Agent, want oracle.Scores) func() error {
	stop, result := make(chan struct{}), make(chan error, 1)
	go func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			metrics, err := agent.Metrics()
			if err == nil {
				err = diffScores(want, metrics.Scores())
			}
			if err != nil {
				result <- err
				return
			}
			select {
			case <-ticker.C:
			case <-stop:
				result <- nil
				return
			}
		}
	}()
	return func() error { close(stop); return <-result }
}
