//go:build linux

package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

const (
	// leaseDuration is that of the chart, and retryPeriod the default of the agent.
	leaseDuration = 15 * time.Second
	retryPeriod   = 2 * time.Second
	// released is the longest time without scores when a leader stops, and gives the Lease back.
	released = 2 * time.Second
	// died is that when a leader dies. A standby looks at the Lease at times that are up to 2.2 retry periods apart, and so
	// sees the last renewal late, and its end late: the chart's period is short enough for both to fit into the default one.
	died = leaseDuration + retryPeriod
)

// TestNode follows an installation through its life. Each step begins where the one before ended, so the first that fails is
// the last.
func TestNode(t *testing.T) {
	for _, step := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"install", installChart},
		{"one leader", oneLeader},
		{"workloads of all shapes", allShapes},
		{"kubectl governance", asksByPlugin},
		{"rolling update", rollingUpdate},
		{"policy of a ConfigMap", editPolicy},
		{"leader deleted", deleteLeader},
		{"page of the next leader", openSurvives},
		{"leader killed", killLeader},
		{"memory limits", memoryLimits},
		{"Prometheus", scraped},
		{"TLS and authorization", closed},
		{"kubectl governance with a token", guardedPlugin},
		{"uninstall", uninstall},
	} {
		begun := time.Now()
		if !t.Run(step.name, step.do) {
			describe(t)
			return
		}
		t.Logf("%s: %s", step.name, time.Since(begun).Round(time.Millisecond))
	}
}

// describe shows what there is when a step has failed.
func describe(t *testing.T) {
	ctx := context.WithoutCancel(t.Context())
	for _, args := range [][]string{
		{"get", "pods", "--all-namespaces", "-o", "wide"},
		{"-n", product, "describe", "pods"},
		{"get", "events", "--all-namespaces", "--field-selector", "type=Warning"},
	} {
		if out, err := env.Kubectl(ctx, nil, args...); err == nil {
			t.Logf("kubectl %s\n%s", strings.Join(args, " "), out)
		}
	}
	logs, _ := filepath.Glob(env.path("log/" + product + "_*/*/*.log"))
	for _, log := range logs {
		if text, err := os.ReadFile(log); err == nil {
			t.Logf("%s\n%s", filepath.Base(filepath.Dir(filepath.Dir(log))), text[max(0, len(text)-4000):])
		}
	}
}

// eventually waits until holds returns nil.
func eventually(t *testing.T, what string, timeout time.Duration, holds func() error) {
	t.Helper()
	if err := cluster.Eventually(t.Context(), timeout, 100*time.Millisecond, holds); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := env.Kubectl(t.Context(), strings.NewReader(stdin), args...)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// helm runs helm on the cluster.
func helm(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), env.path("helm"), append(args, "--namespace", product, "--kubeconfig", env.Kubeconfig())...)
	cmd.Env = []string{"HOME=" + env.dir}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("helm %s: %v\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// deploy is the chart, with the image of the test and further settings.
func deploy(t *testing.T, verb string, settings ...string) string {
	t.Helper()
	root, err := binaries.Root()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{verb, product, filepath.Join(root, "deploy", "chart"), "--wait", "--timeout", "2m",
		"--set", "image.tag=" + tag + ",image.pullPolicy=Never"}
	return helm(t, append(args, settings...)...)
}

// policyFile writes a policy table, for --set-file: the default one under another name.
func policyFile(t *testing.T, name string) string {
	t.Helper()
	root, err := binaries.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "policies", "default.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, bytes.Replace(text, []byte("name: default"), []byte("name: "+name), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	return "policy.table=" + path
}

// installChart installs the chart into a namespace that takes restricted pods alone. Helm waits until both replicas are Ready.
func installChart(t *testing.T) {
	kubectl(t, "", "create", "namespace", product)
	kubectl(t, "", "label", "namespace", product, "pod-security.kubernetes.io/enforce=restricted")
	out := deploy(t, "install", "--set-file", policyFile(t, "first"))
	if !strings.Contains(out, "rollout status deployment/"+product) {
		t.Errorf("the notes do not lead on:\n%s", out)
	}
	all, err := pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ready := 0
	for _, pod := range all {
		if isReady(pod) && pod.Spec.NodeName == nodeName {
			ready++
		}
	}
	if ready != 2 || len(all) != 2 {
		t.Errorf("%d of %d replicas are Ready, want 2 of 2", ready, len(all))
	}
}

func oneLeader(t *testing.T) {
	// The first leader ever waits for one lease duration.
	eventually(t, "one leads", leaseDuration+10*time.Second, func() error {
		_, standby, err := leader(t.Context())
		if err == nil && len(standby) != 1 {
			err = fmt.Errorf("%d standbys, want 1", len(standby))
		}
		return err
	})
	lead, standby, err := leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lease, err := env.Admin.CoordinationV1().Leases("default").Get(t.Context(), product+"-leader", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if holder := *lease.Spec.HolderIdentity; !strings.HasPrefix(holder, lead.Name) {
		t.Errorf("%s leads, and the Lease is held by %s", lead.Name, holder)
	}
	if status, body, err := get(standby[0], "/api/v1/report"); err != nil || status != http.StatusServiceUnavailable || !strings.Contains(body, lead.Name) {
		t.Errorf("the report of the standby: %d %q (%v), want 503 and who leads", status, body, err)
	}
}

// allShapes compares the leader's scores with those of the pods that the API server lists, however these were made.
func allShapes(t *testing.T) {
	kubectl(t, shapes, "apply", "-f", "-")
	eventually(t, "what can run runs", 2*time.Minute, func() error {
		list, err := env.Admin.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		phases := make(map[corev1.PodPhase]int)
		for _, pod := range list.Items {
			if pod.Namespace == "shop" || pod.Namespace == "default" {
				phases[pod.Status.Phase]++
			}
		}
		// shop: two good, one bad, two of the StatefulSet and one of the DaemonSet run, the job has ended; default: one
		// crashes, one has no node and one no image.
		want := map[corev1.PodPhase]int{corev1.PodRunning: 7, corev1.PodSucceeded: 1, corev1.PodPending: 2}
		if diff := cmp.Diff(want, phases); diff != "" {
			return fmt.Errorf("phases (-want +got):\n%s", diff)
		}
		return nil
	})
	scoresAsListed(t)
}

// scoresAsListed waits until the leader publishes the scores of the pods that there are, under the default table.
func scoresAsListed(t *testing.T) {
	t.Helper()
	scoresUnder(t, oracle.Default)
}

// scoresUnder waits until the leader publishes the scores that the pods have under these weights, and returns them.
func scoresUnder(t *testing.T, weights oracle.Weights) oracle.Scores {
	t.Helper()
	var scores oracle.Scores
	eventually(t, "the scores are those of the pods", 10*time.Second, func() error {
		list, err := env.ListPods(t.Context())
		if err != nil {
			return err
		}
		want, err := weights.FromList(list)
		if err != nil {
			return err
		}
		lead, _, err := leader(t.Context())
		if err != nil {
			return err
		}
		metrics, err := scrape(lead)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, metrics.Scores(), cmpopts.EquateApprox(1e-12, 1e-12)); diff != "" {
			return fmt.Errorf("scores (-pods +leader):\n%s", diff)
		}
		if len(want.Namespaces) < 2 || want.Namespaces["idle"].Pods != 0 {
			return fmt.Errorf("namespaces %v, want shop and default and not idle", want.Namespaces)
		}
		scores = want
		return nil
	})
	return scores
}

// rollingUpdate replaces both replicas. Two are Ready all the time, and no two publish at the same moment.
func rollingUpdate(t *testing.T) {
	before, err := pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := watch(t.Context())
	deploy(t, "upgrade", "--reset-then-reuse-values", "--set-string", "podAnnotations.rolled=1")
	eventually(t, "the new replicas alone are there, and one leads", time.Minute, func() error {
		_, standby, err := leader(t.Context())
		if err == nil && len(standby) != 1 {
			err = fmt.Errorf("%d standbys, want 1", len(standby))
		}
		return err
	})
	looks, ready := w.stop()
	twoPublishers(t, looks)
	if least := slices.Min(ready); least < 2 {
		t.Errorf("%d replicas were Ready at the least, want 2", least)
	}
	after, err := pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range after {
		if slices.ContainsFunc(before, func(old corev1.Pod) bool { return old.Name == pod.Name }) {
			t.Errorf("%s was not replaced", pod.Name)
		}
	}
	scoresAsListed(t)
}

// editPolicy changes a weight in the ConfigMap. The kubelet swaps the folder, and both replicas take the table over without a
// restart; one with a mistake changes nothing; an upgrade brings back the table of the release.
func editPolicy(t *testing.T) {
	before, err := pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	configMap := func(edits ...string) {
		t.Helper()
		policy, err := env.Admin.CoreV1().ConfigMaps(product).Get(t.Context(), product+"-policy", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for edit := range slices.Chunk(edits, 2) {
			text := policy.Data["policy.yaml"]
			if !strings.Contains(text, edit[0]) {
				t.Fatalf("the policy has no %q:\n%s", edit[0], text)
			}
			policy.Data["policy.yaml"] = strings.Replace(text, edit[0], edit[1], 1)
		}
		if _, err := env.Admin.CoreV1().ConfigMaps(product).Update(t.Context(), policy, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	both := func(what string, holds func(name string, successful float64) bool) {
		t.Helper()
		begun := time.Now()
		eventually(t, what, 2*time.Minute, func() error {
			for _, pod := range before {
				metrics, err := scrape(pod)
				if err != nil {
					return err
				}
				name := ""
				for _, metric := range metrics["kube_devops_policy_info"].GetMetric() {
					for _, label := range metric.Label {
						if label.GetName() == "name" {
							name = label.GetValue()
						}
					}
				}
				successful, _ := metrics.Value("kube_devops_policy_last_reload_successful")
				if !holds(name, successful) {
					return fmt.Errorf("%s has policy %q, reload successful %g", pod.Name, name, successful)
				}
			}
			return nil
		})
		t.Logf("%s after %s", what, time.Since(begun).Round(100*time.Millisecond))
	}
	second := maps.Clone(oracle.Default)
	second["latest_tag"] = 50
	scores := scoresUnder(t, oracle.Default)
	configMap("name: first", "name: second", "weight: 5\n", "weight: 50\n")
	both("the second table is in force", func(name string, ok float64) bool { return name == "second" && ok == 1 })
	if heavier := scoresUnder(t, second); heavier.Namespaces["shop"].Score <= scores.Namespaces["shop"].Score {
		t.Errorf("the score of shop is %g, and was %g before its images weighed more", heavier.Namespaces["shop"].Score, scores.Namespaces["shop"].Score)
	}
	configMap("operator: hasSuffix", "operator: endsWith")
	both("a table with a mistake is refused", func(name string, ok float64) bool { return name == "second" && ok == 0 })
	scoresUnder(t, second)
	configMap("operator: endsWith", "operator: hasSuffix")
	both("the mistake is fixed", func(name string, ok float64) bool { return name == "second" && ok == 1 })
	// Helm does not overwrite manual edits without --force-conflicts.
	deploy(t, "upgrade", "--reset-then-reuse-values", "--force-conflicts")
	both("the table of the release is in force again", func(name string, ok float64) bool { return name == "first" && ok == 1 })
	after, err := pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, pod := range after {
		if restarts := pod.Status.ContainerStatuses[0].RestartCount; restarts != 0 || pod.UID != before[i].UID {
			t.Errorf("%s was restarted", pod.Name)
		}
	}
	scoresAsListed(t)
}

// deleteLeader has the leader's pod deleted: it gives the Lease back, and the standby takes over.
func deleteLeader(t *testing.T) {
	lead, _, err := leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := watch(t.Context())
	sees(t, w, lead.Name)
	kubectl(t, "", "-n", product, "delete", "pod", lead.Name)
	eventually(t, "another publishes", 30*time.Second, func() error {
		return w.published(time.Time{}, func(pod string) bool { return pod != lead.Name })
	})
	looks, _ := w.stop()
	twoPublishers(t, looks)
	took := gap(t, looks, lead.Name)
	t.Logf("nothing was published for %s", took.Round(time.Millisecond))
	if took > released {
		t.Errorf("nothing was published for %s, want %s at the most", took, released)
	}
	helm(t, "status", product)
	kubectl(t, "", "-n", product, "rollout", "status", "deployment/"+product, "--timeout=60s")
}

// sees waits until a pod was seen to publish.
func sees(t *testing.T, w *watcher, pod string) {
	t.Helper()
	eventually(t, pod+" is seen to publish", 10*time.Second, func() error {
		return w.published(time.Time{}, func(other string) bool { return other == pod })
	})
}

// killLeader kills the process of the leader, which so gives nothing back.
func killLeader(t *testing.T) {
	lead, _, err := leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pid, err := processOf(lead.Name)
	if err != nil {
		t.Fatal(err)
	}
	w := watch(t.Context())
	sees(t, w, lead.Name)
	killed := time.Now()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the process is gone", 10*time.Second, func() error {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("process %d is there (%w)", pid, err)
		}
		return nil
	})
	gone := time.Now()                           // what is asked from now on, it cannot answer
	anybody := func(string) bool { return true } // it may lead again: its container is started anew
	eventually(t, "one publishes", time.Minute, func() error { return w.published(gone, anybody) })
	eventually(t, "one leads, and the other stands by", time.Minute, func() error {
		_, standby, err := leader(t.Context())
		if err == nil && len(standby) != 1 {
			err = fmt.Errorf("%d standbys, want 1", len(standby))
		}
		return err
	})
	looks, _ := w.stop()
	first := firstAfter(looks, gone, anybody)
	if first.IsZero() {
		t.Fatal("no pod has published after the SIGKILL")
	}
	took := first.Sub(killed)
	t.Logf("nothing was published for %s after the SIGKILL", took.Round(time.Millisecond))
	if took > died {
		t.Errorf("nothing was published for %s after the SIGKILL, want %s at the most", took, died)
	}
	scoresAsListed(t)
}

// memoryLimits checks that the kernel enforces the memory limit of the chart, and that the agent stays below it. Only a container that
// exceeds its limit is killed.
func memoryLimits(t *testing.T) {
	kubectl(t, hog, "apply", "-f", "-")
	eventually(t, "who exceeds the limit is ended", time.Minute, func() error {
		pod, err := env.Admin.CoreV1().Pods("default").Get(t.Context(), "hog", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, status := range pod.Status.ContainerStatuses {
			// containerd may miss the reason where the end comes right after the start; it tries again.
			for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
				if end := state.Terminated; end != nil && end.Reason == "OOMKilled" {
					return nil
				}
			}
		}
		return fmt.Errorf("its containers are %+v", pod.Status.ContainerStatuses)
	})
	kubectl(t, hog, "delete", "-f", "-")
	all, err := pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range all {
		want := pod.Spec.Containers[0].Resources.Limits.Memory().Value()
		pid, err := processOf(pod.Name)
		if err != nil {
			t.Fatal(err)
		}
		limit, peak, err := memory(pid)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: at most %d MiB of %d MiB", pod.Name, peak>>20, limit>>20)
		if limit != want || want == 0 {
			t.Errorf("%s: the kernel's limit is %d bytes, the chart's %d", pod.Name, limit, want)
		}
		if peak >= limit/2 {
			t.Errorf("%s used %d of %d bytes, for a handful of pods", pod.Name, peak, limit)
		}
		for _, status := range pod.Status.ContainerStatuses {
			if last := status.LastTerminationState.Terminated; last != nil && last.Reason == "OOMKilled" {
				t.Errorf("%s was killed for its memory", pod.Name)
			}
		}
	}
}

// uninstall leaves nothing of the release but the Lease, which the agents made, and which deploy/README.md says to delete.
func uninstall(t *testing.T) {
	helm(t, "uninstall", product, "--wait", "--timeout", "2m")
	for _, args := range [][]string{
		{"-n", product, "get", "deployments,services,configmaps,poddisruptionbudgets,serviceaccounts", "-l", selector, "-o", "name"},
		{"get", "clusterroles,clusterrolebindings", "-l", selector, "-o", "name"},
		{"-n", "default", "get", "roles,rolebindings", "-l", selector, "-o", "name"},
	} {
		if out := kubectl(t, "", args...); out != "" {
			t.Errorf("left behind:\n%s", out)
		}
	}
	// The roles go together with the Deployment, so the last leader may not be permitted any more to give the Lease back.
	kubectl(t, "", "-n", "default", "delete", "lease", product+"-leader")
}
