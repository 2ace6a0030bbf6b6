// Package blackbox runs the built kube-devops binary as its users do: flags in, logs, HTTP and an exit code out. It
// imports nothing of the agent.
package blackbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/process"
)

// Options say how a kube-devops process is started.
type Options struct {
	Name   string   // of its log files
	Binary string   // path
	Dir    string   // its home and the folder for its logs
	Args   []string // from the verb on
	Env    []string // beside HOME
	Pipe   bool     // its stderr can be held
}

// Start starts the binary and does not wait for anything.
func Start(opts Options) (*process.Process, error) {
	return process.Start(process.Options{
		Name: opts.Name,
		Path: opts.Binary,
		Dir:  opts.Dir,
		Args: opts.Args,
		Env:  append([]string{"HOME=" + opts.Dir}, opts.Env...), // no kubeconfig of the user's
		Pipe: opts.Pipe,
	})
}

// An Agent is a running `kube-devops agent` that listens.
type Agent struct {
	*process.Process
	Addr string // host:port

	client *http.Client
}

// StartAgent starts the binary, which must listen on port 0, and waits until its log has the address.
func StartAgent(ctx context.Context, opts Options) (*Agent, error) {
	proc, err := Start(opts)
	if err != nil {
		return nil, err
	}
	a := &Agent{Process: proc, client: &http.Client{Timeout: 5 * time.Second}}
	if err := a.waitAddr(ctx); err != nil {
		proc.Kill()
		return nil, fmt.Errorf("wait for the address of %s: %w\n%s", opts.Name, err, proc.Tail())
	}
	return a, nil
}

func (a *Agent) waitAddr(ctx context.Context) error {
	var broken error
	err := cluster.Eventually(ctx, 20*time.Second, 5*time.Millisecond, func() error {
		ended := a.Ended() // asked first: its last words are in the log then
		var lines []Line
		if lines, broken = a.Log(); broken != nil {
			return nil // waiting would not mend it
		}
		for _, line := range lines {
			if addr, ok := line["addr"].(string); ok {
				a.Addr = addr
				return nil
			}
		}
		if ended {
			broken = errors.New("it ended")
			return nil
		}
		return errors.New("no log line with an addr")
	})
	return errors.Join(err, broken)
}

// Get asks for a path and returns the status code and the body.
func (a *Agent) Get(path string) (int, string, error) {
	res, err := a.client.Get("http://" + a.Addr + path)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, "", fmt.Errorf("read %s: %w", path, err)
	}
	return res.StatusCode, string(body), nil
}

// Metrics scrapes the agent.
func (a *Agent) Metrics() (Metrics, error) {
	status, body, err := a.Get("/metrics")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("GET /metrics: status %d", status)
	}
	return ParseMetrics(body)
}

// Profile returns a profile of the agent, which must run with --profile-listen on port 0.
func (a *Agent) Profile(path string) ([]byte, error) {
	lines, err := a.Log()
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
	return nil, fmt.Errorf("the agent's log has no profile_addr\n%s", a.Tail())
}

// Heap is how many bytes the agent keeps after a garbage collection.
func (a *Agent) Heap() (int, error) {
	text, err := a.Profile("heap?gc=1&debug=1")
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), "\n# HeapAlloc = ")
	var heap int
	if _, err := fmt.Sscan(after, &heap); err != nil {
		return 0, fmt.Errorf("read the heap profile: %w", err)
	}
	return heap, nil
}

// A Line is one line of the agent's log, decoded.
type Line map[string]any

// Log returns the complete lines of the log until now. Every one must be a JSON object.
func (a *Agent) Log() ([]Line, error) {
	text := a.Stderr()
	text = text[:strings.LastIndexByte(text, '\n')+1] // a line may be half written
	var lines []Line
	for raw := range strings.Lines(text) {
		var line Line
		if err := json.Unmarshal([]byte(raw), &line); err != nil {
			return nil, fmt.Errorf("log line %d is not a JSON object: %s", len(lines)+1, raw)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// Events returns the violation events of one pod in the order they were logged, with only their fixed fields.
func (a *Agent) Events(namespace, pod string) ([]Event, error) {
	lines, err := a.Log()
	if err != nil {
		return nil, err
	}
	var events []Event
	for _, line := range lines {
		if line["event"] == nil || line["namespace"] != namespace || line["pod"] != pod {
			continue
		}
		event := Event{Event: fmt.Sprint(line["event"])}
		if violations, ok := line["violations"].([]any); ok {
			for _, v := range violations {
				event.Violations = append(event.Violations, fmt.Sprint(v))
			}
		}
		events = append(events, event)
	}
	return events, nil
}

// An Event is a policy_violation or policy_violation_resolved line of one pod.
type Event struct {
	Event      string
	Violations []string
}

// Complaints returns the lines of level warn and above.
func (a *Agent) Complaints() ([]Line, error) {
	lines, err := a.Log()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(lines, func(line Line) bool {
		return line["level"] == "debug" || line["level"] == "info"
	}), nil
}
