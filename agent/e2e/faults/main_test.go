package faults_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

var (
	rowsFlag  = flag.String("rows", "quick", "rows to run: quick, all, or numbers as 4,5")
	leaseFlag = flag.String("lease", "quick", "timing of the Lease: quick (6, 4, 1 s) or full (15, 10, 2 s)")
	writeFlag = flag.Bool("write", false, "write the results to deploy/RELIABILITY.md")
)

// A lease is the timing of the Lease.
type lease struct{ duration, deadline, retry, margin time.Duration }

var leases = map[string]lease{
	"quick": {6 * time.Second, 4 * time.Second, time.Second, time.Second},
	"full":  {15 * time.Second, 10 * time.Second, 2 * time.Second, 2 * time.Second},
}

func (l lease) args() []string {
	return []string{"--lease-duration=" + l.duration.String(), "--renew-deadline=" + l.deadline.String(), "--retry-period=" + l.retry.String()}
}

// takeover bounds the time from the end of a leader to the first scores of the next one. A standby checks the Lease every 1 to 2.2
// retry periods, and needs at most two checks.
func (l lease) takeover() time.Duration { return l.duration + 2*l.retry*22/10 }

// closes bounds the time from the last renewal until the leader stops publishing.
func (l lease) closes() time.Duration { return l.duration - l.margin }

// of scales a duration that the matrix specifies for a lease duration of 15 s.
func (l lease) of(full time.Duration) time.Duration {
	return time.Duration(float64(full) * l.duration.Seconds() / 15)
}

// An environment is a control plane with the roles of the agent.
type environment struct {
	*cluster.Cluster
	installation *cluster.Installation
	dir          string // for data and logs
}

// Shared by all rows. The shared control plane is never stopped; rows that stop one have their own.
var (
	workDir string
	binary  string // of kube-devops
	shared  *environment
	halts   = oracle.WatchHalts()
)

func TestMain(m *testing.M) {
	flag.Parse()
	if addr := os.Getenv(floodVariable); addr != "" {
		os.Exit(attack(addr))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := prepare(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		return 1
	}
	if os.Getenv("E2E_LOGS") == "" {
		defer func() { _ = os.RemoveAll(workDir) }()
	}
	defer func() {
		if shared != nil {
			shared.Stop()
		}
	}()
	tests := make(chan int, 1)
	go func() { tests <- m.Run() }()
	select {
	case code := <-tests:
		return code
	case <-ctx.Done(): // tests cannot be interrupted; their processes end with this one
		return 130
	}
}

func prepare(ctx context.Context) error {
	if _, ok := leases[*leaseFlag]; !ok {
		return fmt.Errorf("-lease=%s: quick or full", *leaseFlag)
	}
	var err error
	if logs := os.Getenv("E2E_LOGS"); logs != "" {
		if workDir, err = filepath.Abs(filepath.Join(logs, time.Now().UTC().Format("20060102T150405.000Z"))); err == nil {
			err = os.MkdirAll(workDir, 0o755)
		}
	} else {
		workDir, err = os.MkdirTemp("", "kube-devops-faults-")
	}
	if err != nil {
		return err
	}
	if binary = os.Getenv("E2E_BINARY"); binary == "" {
		if binary, err = binaries.Agent(ctx, workDir); err != nil {
			return err
		}
	}
	if testing.Short() {
		return errors.New("the fault matrix has no short form; choose rows with -args -rows")
	}
	shared, err = newEnvironment(ctx, "shared")
	return err
}

// newEnvironment starts a control plane.
func newEnvironment(ctx context.Context, name string) (*environment, error) {
	dir := filepath.Join(workDir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	c, err := cluster.Start(ctx, dir, os.Stderr)
	if err != nil {
		return nil, err
	}
	installation, err := c.Install(ctx, "kube-devops")
	if err != nil {
		c.Stop()
		return nil, err
	}
	return &environment{Cluster: c, installation: installation, dir: dir}, nil
}
