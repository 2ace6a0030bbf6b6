// Command bench-agent measures the agent and other clients of the same API server, each in its own process: CPU and memory of the
// initial list of all pods, the cost of updates that do not affect scores, the delay of a change, and the number of events that one
// core processes.
//
// It starts etcd and kube-apiserver, and writes pods directly to etcd. Compare figures only within a run, which uses the same machine
// and the same API server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/seed"
)

// options select the measurements.
type options struct {
	pods     int
	duration time.Duration
	parts    string
	policy   string
	profiles string // a folder
	binaries string
	clients  string
	rounds   int
	binary   string // the first of binaries
	env      string // of the agent: NAME=VALUE, separated by commas
}

// parts are the measurements in their order.
var parts = []string{"sync", "status", "changes", "deletes", "events"}

func main() {
	var o options
	var client, kubeconfig string
	flag.IntVar(&o.pods, "pods", 20_000, "how many pods there are")
	flag.DurationVar(&o.duration, "duration", time.Minute, "how long updates and changes are sent")
	flag.StringVar(&o.parts, "parts", strings.Join(parts, ","), "what is measured")
	flag.StringVar(&o.policy, "policy", "default", "policy of the agent")
	flag.StringVar(&o.profiles, "profiles", "", "folder to write the agent's profiles of the sync to, instead of measuring")
	flag.StringVar(&o.binaries, "binary", "", "kube-devops binary, or several to compare in the sync; other parts use the first one (default: built from this repository)")
	flag.StringVar(&o.clients, "clients", "get,dynamic,protobuf", "clients beside the agent in the sync")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each sync is measured; the round of least CPU is shown")
	flag.StringVar(&o.env, "env", "", "environment of the agent, as GOMEMLIMIT=100MiB,GOGC=50")
	flag.StringVar(&client, "client", "", "be one of the clients that are measured, and nothing else")
	flag.StringVar(&kubeconfig, "kubeconfig", "", "kubeconfig of that client")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if client != "" {
		err = beClient(ctx, client, kubeconfig)
	} else {
		err = run(ctx, o)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-agent:", err)
		os.Exit(1)
	}
}

// A bench has a control plane and a binary.
type bench struct {
	options
	ctx  context.Context //nolint:containedctx // of the whole run
	dir  string
	own  *cluster.Cluster
	seed *seed.Seeder
}

func run(ctx context.Context, o options) (err error) {
	for _, part := range strings.Split(o.parts, ",") {
		if !slices.Contains(parts, part) {
			return fmt.Errorf("-parts: there is no %q; there are %s", part, strings.Join(parts, ", "))
		}
	}
	b := &bench{options: o, ctx: ctx}
	if b.dir, err = os.MkdirTemp("", "kube-devops-bench-"); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.binaries == "" {
		if b.binaries, err = binaries.Agent(ctx, b.dir); err != nil {
			return err
		}
	}
	b.binary, _, _ = strings.Cut(b.binaries, ",")
	if o.profiles == "" && o.parts == "events" {
		return b.events() // from a server of its own
	}
	if b.own, err = cluster.Start(ctx, b.dir, os.Stderr); err != nil {
		return err
	}
	defer b.own.Stop()
	b.seed = seed.NewSeeder(b.own.Own.EtcdURL())
	if err := b.populate(); err != nil {
		return err
	}
	if o.profiles != "" {
		return b.profile()
	}
	for _, part := range []struct {
		name    string
		measure func() error
	}{{"sync", b.sync}, {"status", b.status}, {"changes", b.changes}, {"deletes", b.deletes}, {"events", b.events}} {
		if !slices.Contains(strings.Split(o.parts, ","), part.name) {
			continue
		}
		if err := part.measure(); err != nil {
			return fmt.Errorf("measure %s: %w", part.name, err)
		}
	}
	return nil
}

// populate writes the pods and waits until the API server serves them.
func (b *bench) populate() error {
	started := time.Now()
	if err := b.seed.Pods(b.ctx, b.pods); err != nil {
		return err
	}
	example, err := b.own.Admin.CoreV1().Pods(seed.NamespaceOf(0)).Get(b.ctx, seed.NameOf(0), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get a pod that was written to etcd: %w", err)
	}
	fmt.Printf("%d pods of %d bytes of JSON in %d namespaces, written in %s; %s\n", b.pods, seed.Size(example), seed.Namespaces,
		time.Since(started).Round(time.Second/10), machine())
	return b.awaitCache()
}

// startAgent starts the agent against a cluster and waits until it has evaluated all pods. It returns how long that took.
func (b *bench) startAgent(name, kubeconfig string, extra ...string) (*blackbox.Agent, time.Duration, error) {
	started := time.Now()
	o := blackbox.Options{Name: name, Binary: b.binary, Dir: b.dir, Args: append([]string{
		"agent", "--listen", "127.0.0.1:0", "--leader-elect=false", "--policy", b.policy, "--kubeconfig", kubeconfig,
	}, extra...)}
	if b.env != "" {
		o.Env = strings.Split(b.env, ",")
	}
	agent, err := blackbox.StartAgent(b.ctx, o)
	if err != nil {
		return nil, 0, err
	}
	err = cluster.Eventually(b.ctx, 5*time.Minute, 20*time.Millisecond, func() error {
		status, _, err := agent.Get("/readyz")
		if err == nil && status != 200 {
			err = fmt.Errorf("GET /readyz: status %d", status)
		}
		return err
	})
	if err != nil {
		agent.Kill()
		return nil, 0, fmt.Errorf("%w\n%s", err, agent.Tail())
	}
	return agent, time.Since(started), nil
}
