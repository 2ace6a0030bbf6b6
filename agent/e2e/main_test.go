package e2e_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
)

// An environment is shared by all tests: a cluster with the account of the agent, and the binary.
type environment struct {
	*cluster.Cluster
	installation *cluster.Installation
	kubeconfig   string // path, of the agent's account
	binary       string // path
	dir          string // for data and logs
}

var env environment

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, remove, err := cluster.WorkDir("kube-devops-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer remove()
	defer func() {
		if env.Cluster != nil {
			env.Stop()
		}
	}()
	if err := env.start(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer func() {
		if err := env.installation.Uninstall(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			code = 1
		}
	}()
	tests := make(chan int, 1)
	go func() { tests <- m.Run() }()
	select {
	case code = <-tests:
		return code
	case <-ctx.Done(): // tests cannot be interrupted; their processes end with this one
		return 130
	}
}

func (e *environment) start(ctx context.Context, dir string) error {
	var err error
	e.dir = dir
	if e.binary, err = agentBinary(ctx, dir); err != nil {
		return err
	}
	if kubeconfig := os.Getenv("E2E_KUBECONFIG"); kubeconfig != "" {
		e.Cluster, err = cluster.Existing(ctx, kubeconfig, dir, os.Stderr)
	} else {
		e.Cluster, err = cluster.Start(ctx, dir, os.Stderr)
	}
	if err != nil {
		return err
	}
	name := "kube-devops-e2e-" + strings.ToLower(rand.Text()[:6])
	if e.installation, err = e.Install(ctx, name); err != nil {
		return err
	}
	e.kubeconfig, err = e.installation.Kubeconfig(ctx, dir, e.installation.Name)
	return err
}

func agentBinary(ctx context.Context, dir string) (string, error) {
	given := os.Getenv("E2E_BINARY")
	if given == "" {
		return binaries.Agent(ctx, dir)
	}
	if _, err := os.Stat(given); err != nil {
		return "", errors.Join(errors.New("E2E_BINARY names no binary"), err)
	}
	return filepath.Abs(given)
}
