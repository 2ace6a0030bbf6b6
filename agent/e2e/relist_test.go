package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
)

// TestRelistForAPolicy changes the policy of a running agent to one that reads a field that is not in the cache, and back. The agent
// lists the pods again only for the policy that reads more, and no scrape mixes policies.
func TestRelistForAPolicy(t *testing.T) {
	const pods = 20
	namespace := newNamespace(t, "e2e-relist")
	for i := range pods {
		pod := cluster.NewPod(namespace, fmt.Sprintf("pod-%d", i), cluster.Bad)
		if i%2 == 0 {
			pod.Spec.HostNetwork = true
		}
		if err := env.CreatePods(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	put := func(name, check, violation string) {
		t.Helper()
		text := fmt.Sprintf("apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: %s}\nchecks:\n  - {id: %s, weight: 1, %s}\n", name, check, violation)
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	const images = `forEach: spec.containers, violation: {path: image, operator: hasSuffix, value: ":latest"}`
	put("images", "latest", images)
	agent := startAgent(t, "agent", liveArgs("--policy", file)...)
	waitReady(t, agent, leadTimeout)
	steps := []struct {
		policy, check, violation string
		want                     float64
		lists                    float64 // so far
	}{
		{"images", "latest", images, pods, 1},
		{"network", "host_network", `violation: {path: spec.hostNetwork, operator: equals, value: true}`, pods / 2, 2},
		{"less", "no_name", `violation: {path: metadata.name, operator: absent}`, 0, 2},
		{"images", "latest", images, pods, 3},
	}
	for i, step := range steps {
		if i > 0 {
			put(step.policy, step.check, step.violation)
		}
		waitFor(t, "the policy "+step.policy, leadTimeout, func() error {
			metrics, err := agent.Metrics()
			if err != nil {
				return err
			}
			// Whichever policy it is: what there is of it is whole.
			for _, other := range steps {
				got, ok := metrics.Value("kube_devops_violations", "namespace", namespace, "check", other.check)
				if ok && got != other.want {
					t.Errorf("%v violations of %s, want %v: not a whole state", got, other.check, other.want)
				}
			}
			if _, ok := metrics.Value("kube_devops_violations", "namespace", namespace, "check", step.check); !ok {
				return fmt.Errorf("no violations of %s", step.check)
			}
			return nil
		})
		if got := requests(t, agent); got != step.lists {
			t.Errorf("with policy %d, %s: %v requests for pods, want %v", i, step.policy, got, step.lists)
		}
	}
	// What changes is followed as before.
	if err := env.SetImage(t.Context(), namespace, "pod-0", cluster.Good.Image); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a change", seeTimeout, func() error {
		metrics, err := agent.Metrics()
		if err != nil {
			return err
		}
		if got, _ := metrics.Value("kube_devops_violations", "namespace", namespace, "check", "latest"); got != pods-1 {
			return fmt.Errorf("%v violations, want %d", got, pods-1)
		}
		return nil
	})
	wantNoComplaints(t, agent)
}

// TestRelistWithoutAnswer changes the policy while the API server is down. The old policy stays in force until all pods have been listed
// for the new one.
func TestRelistWithoutAnswer(t *testing.T) {
	if env.Own == nil {
		t.Skip("the API server of an existing cluster cannot be stopped")
	}
	namespace := newNamespace(t, "e2e-relist-down")
	pod := cluster.NewPod(namespace, "pod", cluster.Bad)
	pod.Spec.HostNetwork = true
	if err := env.CreatePods(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	policy := func(name, violation string) []byte {
		return []byte("apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: " + name + "}\nchecks:\n  - {id: " + name + ", weight: 1, violation: " + violation + "}\n")
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, policy("named", "{path: metadata.name, operator: exists}"), 0o600); err != nil {
		t.Fatal(err)
	}
	agent := startAgent(t, "agent", liveArgs("--policy", file, "--leader-elect=false")...)
	waitReady(t, agent, leadTimeout)
	stopServer(t, syscall.SIGKILL)
	if err := os.WriteFile(file, policy("network", "{path: spec.hostNetwork, operator: equals, value: true}"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The agent has read it when it says so, and cannot do more.
	waitFor(t, "the new policy is read", 20*time.Second, func() error {
		lines, err := agent.Log()
		if err != nil {
			return err
		}
		for _, line := range lines {
			if line["policy"] == "network" && line["msg"] == "the policy reads fields that are not in the cache; listing all pods anew" {
				return nil
			}
		}
		return fmt.Errorf("no line in the log")
	})
	if got := checks(t, agent, namespace); len(got) != 1 || got["named"] != 1 {
		t.Errorf("violations %v while the API server is down, want those of the old policy", got)
	}
	if err := answers(agent, "/readyz", http.StatusOK, "READY"); err != nil {
		t.Error(err)
	}
	startServer(t)
	waitFor(t, "the new policy is in force", 90*time.Second, func() error {
		if got := checks(t, agent, namespace); len(got) != 1 || got["network"] != 1 {
			return fmt.Errorf("violations %v, want those of the new policy", got)
		}
		return nil
	})
}

// checks are the violations of a namespace.
func checks(t *testing.T, agent *blackbox.Agent, namespace string) map[string]int {
	t.Helper()
	metrics, err := agent.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	return metrics.Scores().Namespaces[namespace].Violations
}

// requests counts the lists and watches that the agent has begun.
func requests(t *testing.T, agent *blackbox.Agent) float64 {
	t.Helper()
	metrics, err := agent.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, verb := range []string{"list", "watch"} {
		n, _ := metrics.Value("kube_devops_watch_requests_total", "verb", verb)
		sum += n
	}
	return sum
}
