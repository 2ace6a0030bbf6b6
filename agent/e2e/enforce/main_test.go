package enforce_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
)

// An environment is the cluster and the binary that all tests share.
type environment struct {
	*cluster.Cluster
	binary   string // path
	bin      string // folder of kubectl and kube-controller-manager
	dir      string // folder for data and logs
	auditLog string // path
}

var env environment

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, remove, err := cluster.WorkDir("kube-devops-enforce-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "enforce:", err)
		return 1
	}
	defer remove()
	defer func() {
		if env.Cluster != nil {
			env.Stop()
		}
	}()
	if err := env.start(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, "enforce:", err)
		return 1
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{}) // random pods cause many
	tests := make(chan int, 1)
	go func() { tests <- m.Run() }()
	select {
	case code := <-tests:
		return code
	case <-ctx.Done(): // tests cannot be interrupted; their processes end with this one
		return 130
	}
}

// auditPolicy logs requests that are not dry runs, without their bodies. The result of a policy is an annotation of a request.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, verbs: [create, update, patch], resources: [{group: ""}, {group: apps}, {group: batch}]}
  - {level: None}
`

func (e *environment) start(ctx context.Context, dir string) error {
	var err error
	e.dir = dir
	if e.binary = os.Getenv("E2E_BINARY"); e.binary == "" {
		if e.binary, err = binaries.Agent(ctx, dir); err != nil {
			return err
		}
	}
	if e.binary, err = filepath.Abs(e.binary); err != nil {
		return err
	}
	if e.bin, err = binaries.ControlPlane(ctx, os.Stderr, binaries.Kubectl, binaries.ControllerManager); err != nil {
		return err
	}
	policy := filepath.Join(dir, "audit-policy.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return fmt.Errorf("write the audit policy: %w", err)
	}
	e.auditLog = filepath.Join(dir, "audit.log")
	e.Cluster, err = cluster.Start(ctx, dir, os.Stderr, "--audit-policy-file", policy, "--audit-log-path", e.auditLog,
		"--audit-log-mode", "blocking", "--allow-privileged")
	return err
}
