package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/e2e/blackbox"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

// TestLatency makes 500 changes one after the other. Each is timed from the return of the write until a scrape shows it.
func TestLatency(t *testing.T) {
	const changes, limit = 500, time.Second
	namespace := newNamespace(t, "e2e-latency")
	agent := startAgent(t, "agent", liveArgs()...)
	waitReady(t, agent, leadTimeout)
	waitScores(t, "the agent leads", agent, leadTimeout, []string{namespace}, listed(t))

	script := newScript(namespace)
	var took []time.Duration
	for range changes {
		if err := script.change(t); err != nil {
			t.Fatal(err)
		}
		took = append(took, timeToSee(t, agent, namespace, script.want()))
	}
	slices.Sort(took)
	at := func(percent int) time.Duration { return took[(len(took)*percent+99)/100-1] }
	t.Logf("write to scrape, %d changes: p50 %s, p90 %s, p99 %s, max %s", changes, round(at(50)), round(at(90)), round(at(99)), round(at(100)))
	if at(99) > limit {
		t.Errorf("p99 is %s, want at most %s", round(at(99)), limit)
	}
	waitScores(t, "scores of the final list", agent, seeTimeout, []string{namespace}, listed(t))
	wantNoComplaints(t, agent)
}

// timeToSee scrapes every 5 ms until the namespace's counts are as wanted.
func timeToSee(t *testing.T, agent *blackbox.Agent, namespace string, want oracle.Namespace) time.Duration {
	t.Helper()
	start := time.Now()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		metrics, err := agent.Metrics()
		if err != nil {
			t.Fatal(err)
		}
		got := metrics.Scores().Namespaces[namespace]
		took := time.Since(start)
		diff := cmp.Diff(want, oracle.Namespace{Pods: got.Pods, Violations: got.Violations})
		if diff == "" {
			return took
		}
		if took > 10*time.Second {
			t.Fatalf("a change is not seen after %s: counts (-want +got):\n%s", took, diff)
		}
		<-ticker.C
	}
}

// A script makes changes to the pods of one namespace, always the same ones, and keeps its own count of what they come
// to. Every change changes the count, so that it can be seen.
type script struct {
	namespace string
	random    *rand.Rand
	made      int
	pods      []scriptedPod
}

type scriptedPod struct {
	name string
	cluster.Container
}

func newScript(namespace string) *script {
	return &script{namespace: namespace, random: rand.New(rand.NewPCG(1, 2))}
}

// change creates a pod, swaps the tag of an image, or deletes a pod. It keeps at least one pod, and about thirty.
func (s *script) change(t *testing.T) error {
	kind := s.random.IntN(3)
	switch {
	case len(s.pods) < 2, kind == 0 && len(s.pods) < 30:
		return s.create(t)
	case kind == 1:
		return s.swapTag(t)
	default:
		return s.remove(t)
	}
}

func (s *script) create(t *testing.T) error {
	s.made++
	tag := []string{"1.29", "latest"}[s.random.IntN(2)]
	pod := scriptedPod{
		name:      fmt.Sprintf("pod-%d", s.made%50), // names are used again
		Container: cluster.Container{Image: "nginx:" + tag, Liveness: s.random.IntN(2) == 0, Readiness: s.random.IntN(2) == 0},
	}
	if slices.ContainsFunc(s.pods, func(p scriptedPod) bool { return p.name == pod.name }) {
		return s.create(t)
	}
	s.pods = append(s.pods, pod)
	return env.CreatePods(t.Context(), cluster.NewPod(s.namespace, pod.name, pod.Container))
}

func (s *script) swapTag(t *testing.T) error {
	pod := &s.pods[s.random.IntN(len(s.pods))]
	if pod.Image == "nginx:latest" {
		pod.Image = "nginx:1.29"
	} else {
		pod.Image = "nginx:latest"
	}
	return env.SetImage(t.Context(), s.namespace, pod.name, pod.Image)
}

func (s *script) remove(t *testing.T) error {
	i := s.random.IntN(len(s.pods))
	name := s.pods[i].name
	s.pods = slices.Delete(s.pods, i, i+1)
	return env.DeletePod(t.Context(), s.namespace, name)
}

// want returns the counts alone.
func (s *script) want() oracle.Namespace {
	n := oracle.Namespace{
		Pods:       len(s.pods),
		Violations: map[string]int{"latest_tag": 0, "missing_liveness": 0, "missing_readiness": 0},
	}
	for _, pod := range s.pods {
		for check, failed := range map[string]bool{
			"latest_tag": pod.Image == "nginx:latest", "missing_liveness": !pod.Liveness, "missing_readiness": !pod.Readiness,
		} {
			if failed {
				n.Violations[check]++
			}
		}
	}
	return n
}
