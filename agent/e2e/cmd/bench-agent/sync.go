package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/process"
)

// awaitCache waits until the API server serves all pods from its watch cache, so that the first client does not wait for it. A
// consistent list, even with limit 1, waits for the cache.
func (b *bench) awaitCache() error {
	_, err := b.own.Admin.CoreV1().Pods("").List(b.ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return fmt.Errorf("list one pod: %w", err)
	}
	return nil
}

// sync measures the initial list of all pods by each client, in rounds.
func (b *bench) sync() error {
	var rows []string
	costs := make(map[string]cost)
	measure := func(name string, once func() (cost, error)) error {
		spent, err := once()
		if err != nil {
			return err
		}
		if least, again := costs[name]; !again || spent.CPU < least.CPU {
			costs[name] = spent
		}
		if !slices.Contains(rows, name) {
			rows = append(rows, name)
		}
		return nil
	}
	for range b.rounds {
		for _, c := range clients {
			if !slices.Contains(strings.Split(b.options.clients, ","), c.name) {
				continue
			}
			if err := measure(c.what, func() (cost, error) { return b.client(c.name) }); err != nil {
				return err
			}
		}
		for binary := range strings.SplitSeq(b.binaries, ",") {
			if err := measure(filepath.Base(binary)+" agent", func() (cost, error) { return b.syncAgent(binary) }); err != nil {
				return err
			}
		}
	}
	fmt.Printf("\nInitial sync of %d pods (the agent with policy %s, all pods evaluated), least CPU of %d rounds\n", b.pods, b.policy, b.rounds)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(cells ...string) { _, _ = fmt.Fprintln(table, strings.Join(cells, "\t")+"\t") }
	head := []string{"client", "wall", "CPU", "peak RSS", "heap after GC"}
	for _, c := range clients {
		if _, measured := costs[c.what]; measured {
			head = append(head, "CPU / "+c.name)
		}
	}
	line(head...)
	for _, name := range rows {
		spent := costs[name]
		cells := []string{name, seconds(spent.Wall), seconds(spent.CPU), megabytes(spent.Peak), megabytes(spent.Heap)}
		for _, c := range clients {
			if other, measured := costs[c.what]; measured {
				cells = append(cells, fmt.Sprintf("%.2f", float64(spent.CPU)/float64(other.CPU)))
			}
		}
		line(cells...)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return b.limited(costs[filepath.Base(b.binary)+" agent"])
}

// limited measures the sync with a GOMEMLIMIT slightly above the memory that is in use after it.
func (b *bench) limited(free cost) error {
	const room = 1.15
	limit := int(float64(free.Heap)*room) + 8<<20 // for stacks and the runtime's own
	with := *b
	with.env = strings.TrimPrefix(b.env+fmt.Sprintf(",GOMEMLIMIT=%d", limit), ",")
	spent, err := with.syncAgent(b.binary)
	if err != nil {
		return err
	}
	fmt.Printf("With GOMEMLIMIT at %s: CPU %s (%.2f of without), peak RSS %s: %s are pages of the binary, and %s count for the limit\n",
		megabytes(limit), seconds(spent.CPU), float64(spent.CPU)/float64(free.CPU), megabytes(spent.Peak), megabytes(spent.File), megabytes(spent.Peak-spent.File))
	return nil
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// client runs another client.
func (b *bench) client(name string) (cost, error) {
	self, err := os.Executable()
	if err != nil {
		return cost{}, err
	}
	cmd := exec.CommandContext(b.ctx, self, "-client", name, "-kubeconfig", b.own.Kubeconfig())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return cost{}, fmt.Errorf("run client %s: %w", name, err)
	}
	var spent cost
	return spent, json.Unmarshal(out, &spent)
}

// syncAgent starts an agent and returns the cost until it is ready.
func (b *bench) syncAgent(binary string) (cost, error) {
	with := *b
	with.binary = binary
	agent, wall, err := with.startAgent("agent-sync", b.own.Kubeconfig(), "--profile-listen", "127.0.0.1:0")
	if err != nil {
		return cost{}, err
	}
	defer agent.Stop(10 * time.Second)
	used, err := process.UsageOf(agent.Pid())
	if err != nil {
		return cost{}, err
	}
	heap, err := agent.Heap()
	if err != nil {
		return cost{}, err
	}
	spent := cost{Wall: wall, CPU: used.CPU, Peak: used.Peak, File: used.File, Heap: heap}
	return spent, nil
}

// profile writes CPU and memory profiles of the sync.
func (b *bench) profile() error {
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return fmt.Errorf("make the folder of the profiles: %w", err)
	}
	agent, err := blackbox.StartAgent(b.ctx, blackbox.Options{Name: "agent-profile", Binary: b.binary, Dir: b.dir, Args: []string{
		"agent", "--listen", "127.0.0.1:0", "--leader-elect=false", "--policy", b.policy, "--kubeconfig", b.own.Kubeconfig(), "--profile-listen", "127.0.0.1:0",
	}})
	if err != nil {
		return err
	}
	defer agent.Stop(10 * time.Second)
	length := max(15, b.pods/1000) // the sync, and more
	for _, p := range []struct{ file, path string }{{"cpu.pprof", fmt.Sprintf("profile?seconds=%d", length)}, {"heap.pprof", "heap?gc=1"}} {
		text, err := agent.Profile(p.path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(b.profiles, p.file), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
