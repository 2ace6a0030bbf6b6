package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
)

// awaitCache waits until the API server serves all pods from its cache: the first client must not wait for it.
func (b *bench) awaitCache() error {
	config, err := clientcmd.BuildConfigFromFlags("", b.own.Kubeconfig())
	if err != nil {
		return err
	}
	_, err = plainGet(b.ctx, config)
	return err
}

// sync measures the first list of all pods, client after client.
func (b *bench) sync() error {
	costs := make(map[string]cost)
	for _, c := range clients {
		spent, err := b.client(c.name)
		if err != nil {
			return err
		}
		costs[c.name] = spent
	}
	agent, spent, err := b.syncAgent()
	if err != nil {
		return err
	}
	agent.Stop(10 * time.Second)
	fmt.Printf("\nInitial sync of %d pods (the agent with policy %s, all pods evaluated)\n", b.pods, b.policy)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...string) { _, _ = fmt.Fprintln(table, strings.Join(cells, "\t")+"\t") }
	row("client", "wall", "CPU", "peak RSS", "heap after GC", "CPU / dynamic", "CPU / protobuf")
	line := func(what string, c cost) {
		row(what, seconds(c.Wall), seconds(c.CPU), megabytes(c.Peak), megabytes(c.Heap),
			fmt.Sprintf("%.2f", float64(c.CPU)/float64(costs["dynamic"].CPU)), fmt.Sprintf("%.2f", float64(c.CPU)/float64(costs["protobuf"].CPU)))
	}
	for _, c := range clients {
		line(c.what, costs[c.name])
	}
	line("kube-devops agent", spent)
	return table.Flush()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// client runs one of the other clients.
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

// syncAgent starts the agent and says what it took until it was ready.
func (b *bench) syncAgent() (*blackbox.Agent, cost, error) {
	agent, wall, err := b.startAgent("agent-sync", b.own.Kubeconfig(), "--profile-listen", "127.0.0.1:0")
	if err != nil {
		return nil, cost{}, err
	}
	used, err := processOf(agent.Pid())
	if err != nil {
		return nil, cost{}, err
	}
	heap, err := profileOf(agent, "heap?gc=1&debug=1")
	if err != nil {
		return nil, cost{}, err
	}
	spent := cost{Wall: wall, CPU: used.cpu, Peak: used.peak}
	_, after, _ := strings.Cut(string(heap), "\n# HeapAlloc = ")
	if _, err := fmt.Sscan(after, &spent.Heap); err != nil {
		return nil, cost{}, fmt.Errorf("read the heap profile: %w", err)
	}
	return agent, spent, nil
}

// profileOf asks the agent for a profile of itself.
func profileOf(agent *blackbox.Agent, path string) ([]byte, error) {
	lines, err := agent.Log()
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		addr, ok := line["profile_addr"].(string)
		if !ok {
			continue
		}
		res, err := http.Get("http://" + addr + "/debug/pprof/" + path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("GET /debug/pprof/%s: %s", path, res.Status)
		}
		return text, err
	}
	return nil, fmt.Errorf("the agent's log has no profile_addr\n%s", agent.Tail())
}

// profile writes profiles of the sync: where the CPU went, and what was kept and allocated.
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
	length := max(5, b.pods/5000)
	for _, p := range []struct{ file, path string }{{"cpu.pprof", fmt.Sprintf("profile?seconds=%d", length)}, {"heap.pprof", "heap?gc=1"}} {
		text, err := profileOf(agent, p.path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(b.profiles, p.file), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
