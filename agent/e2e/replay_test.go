package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

// TestReplayEqualsLive changes pods while kubectl records them, dumps the cluster, and replays and scans both recordings. Their scores
// must equal those of the live agent exactly, and those of the oracle.
func TestReplayEqualsLive(t *testing.T) {
	ctx := t.Context()
	var namespaces []string
	for range 5 {
		namespaces = append(namespaces, newNamespace(t, "e2e-replay"))
	}
	pods := variousPods(namespaces, 120)
	live := startAgent(t, "live", liveArgs()...)
	if err := env.CreatePods(ctx, pods[:80]...); err != nil {
		t.Fatal(err)
	}
	recording := filepath.Join(t.TempDir(), "events.json")
	record(t, recording, func() {
		changePods(t, pods)
		waitScores(t, "scores of all changes", live, leadTimeout, namespaces, listed(t))
	})
	dump := filepath.Join(t.TempDir(), "pods.json")
	b, err := env.Kubectl(ctx, nil, "get", "pods", "--all-namespaces", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dump, b, 0o600); err != nil {
		t.Fatal(err)
	}
	metrics, err := live.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	want := ours(metrics.Scores(), namespaces)
	if len(want.Namespaces) != len(namespaces) {
		t.Fatalf("%d namespaces have scores, want %d", len(want.Namespaces), len(namespaces))
	}
	for _, file := range []string{dump, recording} {
		if diff := cmp.Diff(want, ours(replay(t, file), namespaces)); diff != "" {
			t.Errorf("%s: scores (-live +replayed):\n%s", filepath.Base(file), diff)
		}
	}
	asYAML := filepath.Join(t.TempDir(), "pods.yaml")
	y, err := env.Kubectl(ctx, nil, "get", "pods", "--all-namespaces", "-o", "yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(asYAML, y, 0o600); err != nil {
		t.Fatal(err)
	}
	counted, err := oracle.FromList(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{dump, recording, asYAML} {
		scanned := scan(t, file)
		if diff := cmp.Diff(want, ours(scanned, namespaces)); diff != "" {
			t.Errorf("%s: scores (-live +scanned):\n%s", filepath.Base(file), diff)
		}
		if err := diffScores(ours(counted, namespaces), ours(scanned, namespaces)); err != nil {
			t.Errorf("%s: the oracle and the scan: %v", filepath.Base(file), err)
		}
	}
}

// scan returns what a scan reports of a recording, in the units of the metrics.
func scan(t *testing.T, file string) oracle.Scores {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), env.binary, "scan", file, "-o", "json")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("scan %s: %v: %s", file, err, stderr.String())
	}
	var report struct {
		Cluster    struct{ Score, Compliance *float64 }
		Namespaces []struct {
			Namespace         string
			Pods              int
			Score, Compliance float64
			Violations        map[string]int
		}
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	scores := oracle.Scores{Namespaces: make(map[string]oracle.Namespace), Score: report.Cluster.Score}
	if percent := report.Cluster.Compliance; percent != nil {
		ratio := *percent / 100
		scores.Compliance = &ratio
	}
	for _, ns := range report.Namespaces {
		scores.Namespaces[ns.Namespace] = oracle.Namespace{
			Pods: ns.Pods, Violations: ns.Violations, Score: ns.Score, Compliance: ns.Compliance / 100,
		}
	}
	return scores
}

// replay returns what an agent publishes of a recording.
func replay(t *testing.T, file string) oracle.Scores {
	t.Helper()
	agent := startAgent(t, "replay", "agent", "--listen", "127.0.0.1:0", "--replay", file)
	waitReady(t, agent, seeTimeout)
	metrics, err := agent.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	return metrics.Scores()
}

// variousPods builds n pods of one to three containers that fail any of the checks, always the same ones.
func variousPods(namespaces []string, n int) []*corev1.Pod {
	random := rand.New(rand.NewPCG(3, 4))
	coin := func() bool { return random.IntN(2) == 0 }
	images := []string{"nginx:latest", "nginx:1.29", "nginx", "localhost:5000/web:latest", "web@sha256:" + fmt.Sprintf("%064d", 1)}
	var pods []*corev1.Pod
	for i := range n {
		var containers []cluster.Container
		for range 1 + random.IntN(3) {
			containers = append(containers, cluster.Container{Image: images[random.IntN(len(images))], Liveness: coin(), Readiness: coin()})
		}
		pods = append(pods, cluster.NewPod(namespaces[random.IntN(len(namespaces))], fmt.Sprintf("pod-%d", i), containers...))
	}
	return pods
}

// changePods updates, deletes and recreates some of the first 80 pods, which exist, and creates the others.
func changePods(t *testing.T, pods []*corev1.Pod) {
	t.Helper()
	ctx := t.Context()
	var err error
	for i, pod := range pods[:60] {
		switch i % 3 {
		case 0:
			err = env.SetImage(ctx, pod.Namespace, pod.Name, "changed:latest")
		case 1:
			err = env.DeletePod(ctx, pod.Namespace, pod.Name)
		case 2:
			if err = env.DeletePod(ctx, pod.Namespace, pod.Name); err == nil {
				err = env.CreatePods(ctx, cluster.NewPod(pod.Namespace, pod.Name, cluster.Bad, cluster.Good))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := env.CreatePods(ctx, pods[80:]...); err != nil {
		t.Fatal(err)
	}
}

// record runs `kubectl get pods --watch` into a file while during runs, and until it has everything.
func record(t *testing.T, path string, during func()) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := env.KubectlCommand(ctx, "get", "pods", "--all-namespaces", "-o", "json", "--watch", "--output-watch-events")
	cmd.Stdout = file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }() // killed, which is expected
	waitFor(t, "the recording begins", seeTimeout, func() error {
		_, err := recorded(path)
		return err
	})
	during()
	list, err := env.ListPods(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var now struct{ Items []recordedPod }
	if err := json.Unmarshal(list, &now); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the recording is complete", seeTimeout, func() error {
		pods, err := recorded(path)
		if err != nil {
			return err
		}
		want := map[string]string{}
		for _, pod := range now.Items {
			want[pod.Metadata.UID] = pod.Metadata.ResourceVersion
		}
		if diff := cmp.Diff(want, pods); diff != "" {
			return fmt.Errorf("pods by uid (-there +recorded):\n%s", diff)
		}
		return nil
	})
}

type recordedPod struct {
	Metadata struct{ UID, ResourceVersion string }
}

// recorded returns the pods that remain at the end of a recording, uid to resource version. A recording that is empty
// or breaks off is an error.
func recorded(path string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	pods := map[string]string{}
	decoder := json.NewDecoder(file)
	for {
		var event struct {
			Type   string
			Object recordedPod
		}
		err := decoder.Decode(&event)
		if errors.Is(err, io.EOF) && len(pods) > 0 {
			return pods, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)
		}
		if pods[event.Object.Metadata.UID] = event.Object.Metadata.ResourceVersion; event.Type == "DELETED" {
			delete(pods, event.Object.Metadata.UID)
		}
	}
}
