package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/mount"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

const (
	lastReload   = "kube_devops_policy_last_reload_successful"
	refused      = "the policy cannot be loaded; the last good one stays in force"
	underTheNew  = "scores under the new policy"
	reloadPeriod = 2 * time.Second // after which the agent has read the policy's file again
)

// weighted is the default table with other weights.
func weighted(name string, w oracle.Weights) string {
	return fmt.Sprintf(`apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: %s}
checks:
  - id: latest_tag
    weight: %d
    forEach: spec.containers
    violation: {path: image, operator: hasSuffix, value: ":latest"}
  - id: missing_liveness
    weight: %d
    forEach: spec.containers
    violation: {path: livenessProbe, operator: absent}
  - id: missing_readiness
    weight: %d
    forEach: spec.containers
    violation: {path: readinessProbe, operator: absent}
`, name, w["latest_tag"], w["missing_liveness"], w["missing_readiness"])
}

// A policyFile is a file by the ways in which it changes.
type policyFile struct {
	path   string
	write  func(text string) error
	remove func() error
}

func mountedPolicy(t *testing.T) policyFile {
	m := mount.New(t.TempDir(), "policy.yaml")
	return policyFile{m.Path(), func(text string) error { return m.Swap([]byte(text)) }, func() error { return m.Swap(nil) }}
}

// plainPolicy is a file that is written in place.
func plainPolicy(t *testing.T) policyFile {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	return policyFile{path, func(text string) error { return os.WriteFile(path, []byte(text), 0o600) }, func() error { return os.Remove(path) }}
}

// TestPolicyReload changes the policy of a running leader. A valid table takes effect, with the scores of the oracle. An invalid, empty,
// missing or partially written table changes only a metric and causes a log line.
func TestPolicyReload(t *testing.T) {
	one, two := oracle.Weights{"latest_tag": 1, "missing_liveness": 2, "missing_readiness": 4}, oracle.Weights{"latest_tag": 9, "missing_liveness": 3, "missing_readiness": 1}
	broken := weighted("broken", oracle.Weights{"latest_tag": 5, "missing_liveness": 0, "missing_readiness": 2})
	whole := weighted("half", oracle.Default)
	breaks := []struct {
		name  string
		apply func(policyFile) error
		want  string // in the line of the log, behind the file's path
	}{
		{"broken", func(f policyFile) error { return f.write(broken) },
			":10: check missing_liveness: weight must be an integer from 1 to 1000, got 0"},
		{"empty", func(f policyFile) error { return f.write("") }, ": the file is empty"},
		{"removed", func(f policyFile) error { return f.remove() }, ": no such file or directory"},
		{"half written", func(f policyFile) error { return f.write(whole[:strings.LastIndex(whole, "violation")]) },
			`:13: check missing_readiness: missing field "violation" in a check`},
	}
	for _, kind := range []struct {
		name string
		make func(*testing.T) policyFile
	}{{"mounted", mountedPolicy}, {"plain", plainPolicy}} {
		t.Run(kind.name, func(t *testing.T) {
			ctx := t.Context()
			namespaces := []string{newNamespace(t, "e2e-policy"), newNamespace(t, "e2e-policy")}
			if err := env.CreatePods(ctx, variousPods(namespaces, 60)...); err != nil {
				t.Fatal(err)
			}
			file := kind.make(t)
			if err := file.write(weighted("one", one)); err != nil {
				t.Fatal(err)
			}
			agent := startAgent(t, "agent", liveArgs("--policy", file.path)...)
			waitScores(t, "scores of the first table", agent, leadTimeout, namespaces, listedUnder(t, one))

			weights := two
			change := func() {
				t.Helper()
				if err := file.write(weighted("next", weights)); err != nil {
					t.Fatal(err)
				}
				waitScores(t, "scores of the next table", agent, seeTimeout, namespaces, listedUnder(t, weights))
			}
			started := time.Now()
			change()
			t.Logf("file to scrape: %s", round(time.Since(started)))
			waitEffects(t, agent, namespaces, 1)
			for i, broken := range breaks {
				if err := broken.apply(file); err != nil {
					t.Fatal(err)
				}
				waitFor(t, broken.name+": the reload has failed", seeTimeout, func() error { return reloaded(agent, 0) })
				// The state lives on under the last good table.
				pod := cluster.NewPod(namespaces[0], fmt.Sprintf("meanwhile-%d", i), cluster.Bad)
				if err := env.CreatePods(ctx, pod); err != nil {
					t.Fatal(err)
				}
				waitScores(t, broken.name+": scores of the last good table", agent, seeTimeout, namespaces, listedUnder(t, weights))
				stays(t, agent, broken.name)
				wantRefusals(t, agent, i+1, file.path+broken.want)

				weights = []oracle.Weights{one, two}[i%2]
				change()
				waitFor(t, broken.name+": healed", seeTimeout, func() error { return reloaded(agent, 1) })
			}
			waitEffects(t, agent, namespaces, 1+len(breaks))

			// Who sends a signal is answered at once.
			if err := file.write(weighted("signal", oracle.Default)); err != nil {
				t.Fatal(err)
			}
			agent.Signal(syscall.SIGHUP)
			waitScores(t, "scores after the signal", agent, seeTimeout, namespaces, listedUnder(t, oracle.Default))
			wantRefusals(t, agent, len(breaks), file.path+breaks[len(breaks)-1].want)
		})
	}
}

func listedUnder(t *testing.T, w oracle.Weights) func() (oracle.Scores, error) {
	return func() (oracle.Scores, error) {
		list, err := env.ListPods(t.Context())
		if err != nil {
			return oracle.Scores{}, err
		}
		return w.FromList(list)
	}
}

// reloaded says how the result of the last reload differs from what is wanted.
func reloaded(agent *blackbox.Agent, want float64) error {
	metrics, err := agent.Metrics()
	if err != nil {
		return err
	}
	if got, ok := metrics.Value(lastReload); !ok || got != want {
		return fmt.Errorf("%s is %v, want %v", lastReload, got, want)
	}
	return nil
}

// stays looks for longer than the agent lets the file be: it is ready all the time, and keeps its scores and its failure.
func stays(t *testing.T, agent *blackbox.Agent, what string) {
	t.Helper()
	before, err := agent.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for started := time.Now(); time.Since(started) < reloadPeriod+time.Second; <-ticker.C {
		now, err := agent.Metrics()
		if err == nil {
			err = errors.Join(diffScores(before.Scores(), now.Scores()), reloaded(agent, 0), answers(agent, "/readyz", http.StatusOK, "READY"))
		}
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// wantRefusals checks that so many policies were refused, each in one line, and that the last line has a text.
func wantRefusals(t *testing.T, agent *blackbox.Agent, count int, last string) {
	t.Helper()
	var lines []blackbox.Line
	waitFor(t, "the refusals in the log", seeTimeout, func() (err error) {
		if lines, err = agent.Complaints(); err == nil && len(lines) != count {
			err = fmt.Errorf("%d complaints, want %d: %v", len(lines), count, lines)
		}
		return err
	})
	line := lines[len(lines)-1]
	if text := fmt.Sprint(line["mistakes"], line["error"]); line["msg"] != refused || line["level"] != "error" || !strings.Contains(text, last) {
		t.Errorf("the last complaint is %v, want %q in it", line, last)
	}
}

// waitEffects waits until so many reloads are logged, each with the namespaces whose scores it changed.
func waitEffects(t *testing.T, agent *blackbox.Agent, namespaces []string, count int) {
	t.Helper()
	waitFor(t, "the effects in the log", seeTimeout, func() error {
		lines, err := agent.Log()
		if err != nil {
			return err
		}
		found := 0
		for _, line := range lines {
			if line["msg"] != underTheNew {
				continue
			}
			found++
			effects, _ := line["namespaces"].([]any)
			logged := make(map[any]bool)
			for _, effect := range effects {
				if effect, ok := effect.(map[string]any); ok && effect["score_before"] != effect["score_after"] {
					logged[effect["namespace"]] = true
				}
			}
			for _, namespace := range namespaces {
				if !logged[namespace] {
					return fmt.Errorf("effect %d does not name %s: %v", found, namespace, line)
				}
			}
		}
		if found != count {
			return fmt.Errorf("%d effects, want %d", found, count)
		}
		return nil
	})
}
