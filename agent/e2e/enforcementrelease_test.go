package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
)

// TestEnforcementRelease installs exported policies with the chart. A pod must be refused, and the API server must count the refusal with the labels
// that the rules and the dashboard use. An upgrade with another table must remove the policies of the first table, and an uninstallation all
// policies.
func TestEnforcementRelease(t *testing.T) {
	if env.Own == nil {
		t.Skip("an existing cluster is not enforced")
	}
	namespace := newNamespace(t, "e2e-enforcement")
	bad := cluster.NewPod(namespace, "bad", cluster.Bad)
	t.Cleanup(func() { waitAdmitted(t, bad) }) // after the uninstallation, or the next test would be refused its pods
	first, second := exportTable(t, "--policy=default", "--action=deny"), exportTable(t, "--policy=extended", "--action=audit", "--partial")
	release := installRelease(t, "enforced-kube-devops", "--set-file", "enforcement.policies="+first)
	waitFor(t, "a pod is refused", seeTimeout, func() error {
		err := dryRun(t, bad)
		if err == nil || !strings.Contains(err.Error(), "kube-devops-default-deny") {
			return fmt.Errorf("error %w", errors.Join(errors.New("not by the policy"), err))
		}
		return nil
	})
	if diff := cmp.Diff(map[string]string{"policy": "kube-devops-default-deny", "policy_binding": "kube-devops-default-deny", "enforcement_action": "deny", "error_type": "invalid_error"}, checkTotal(t)); diff != "" {
		t.Errorf("labels that the API server counts a refusal with, on which rules and dashboard rest (-want +got):\n%s", diff)
	}

	release.run(t, "upgrade", release.name, release.chart, "--set-file", "enforcement.policies="+second)
	if diff := cmp.Diff([]string{"kube-devops-extended-audit"}, admissionPolicies(t)); diff != "" {
		t.Errorf("policies and bindings after an upgrade (-want +got):\n%s", diff)
	}
	waitAdmitted(t, bad)
	t.Logf("the release of %d kB of policies has %d kB", size(t, second)/1000, releaseSize(t, release.name)/1000)

	release.run(t, "uninstall", release.name)
	waitFor(t, "no policy is left", seeTimeout, func() error {
		if left := admissionPolicies(t); len(left) > 0 {
			return fmt.Errorf("there are %v", left)
		}
		return nil
	})
}

// exportTable exports a table to a file.
func exportTable(t *testing.T, flags ...string) string {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), env.binary, append([]string{"policy", "export", "vap"}, flags...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "enforce.yaml")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func size(t *testing.T, file string) int64 {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// releaseSize returns the size of the largest Secret with a release of Helm.
func releaseSize(t *testing.T, name string) int {
	t.Helper()
	secrets, err := env.Admin.CoreV1().Secrets(env.installation.Name).List(t.Context(), metav1.ListOptions{LabelSelector: "owner=helm,name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	largest := 0
	for _, secret := range secrets.Items {
		largest = max(largest, len(secret.Data["release"]))
	}
	return largest
}

// admissionPolicies returns the names of all policies and bindings, sorted and without duplicates.
func admissionPolicies(t *testing.T) []string {
	t.Helper()
	out, err := env.Kubectl(t.Context(), nil, "get", "validatingadmissionpolicies,validatingadmissionpolicybindings",
		"-o", `jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}`)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(out))
	slices.Sort(names)
	return slices.Compact(names)
}

func dryRun(t *testing.T, pod *corev1.Pod) error {
	_, err := env.Admin.CoreV1().Pods(pod.Namespace).Create(context.WithoutCancel(t.Context()), pod.DeepCopy(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

func waitAdmitted(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	err := cluster.Eventually(context.WithoutCancel(t.Context()), seeTimeout, 10*time.Millisecond, func() error {
		if err := dryRun(t, pod); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
		return nil
	})
	if err != nil {
		t.Errorf("the pod is still refused: %v", err)
	}
}

// checkTotal returns the labels of the one series of apiserver_validating_admission_policy_check_total.
func checkTotal(t *testing.T) map[string]string {
	t.Helper()
	text, err := env.Kubectl(t.Context(), nil, "get", "--raw", "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	parsed := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parsed.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{}
	for _, metric := range families["apiserver_validating_admission_policy_check_total"].GetMetric() {
		named := map[string]string{}
		for _, pair := range metric.GetLabel() {
			named[pair.GetName()] = pair.GetValue()
		}
		if named["policy"] == "kube-devops-default-deny" {
			labels = named
		}
	}
	return labels
}
