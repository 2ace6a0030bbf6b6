package e2e_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
)

// operatorModule ships the definitions of ServiceMonitor, PodMonitor and PrometheusRule.
const operatorModule = "github.com/prometheus-operator/prometheus-operator@v0.85.0"

// TestChart applies everything that the chart renders, in each setting, as a dry run: the API server checks schema and admission, the
// objects of the Prometheus Operator against its CRDs, and each pod against the Pod Security Standard restricted.
func TestChart(t *testing.T) {
	if env.Own == nil {
		t.Skip("definitions are not installed into an existing cluster")
	}
	helm, err := binaries.Helm(t.Context(), env.dir)
	if err != nil {
		t.Fatal(err)
	}
	root, err := binaries.Root()
	if err != nil {
		t.Fatal(err)
	}
	installOperator(t)
	values := func(name string) string { return filepath.Join(root, "deploy", "testdata", "values", name) }
	ours := filepath.Join(root, "testdata", "policies", "ours.yaml")
	for name, flags := range map[string][]string{
		"nothing set":        nil,
		"all that there is":  {"--set-file", "policy.table=" + ours, "--values", values("network.yaml"), "--set", "http.tls.secretName=tls,http.auth=true,dashboard.enabled=true,serviceMonitor.enabled=true,prometheusRule.enabled=true,prometheusRule.fleet=true,serviceMonitor.tlsConfig.insecureSkipVerify=true"},
		"policy as YAML":     {"--values", values("policy.yaml")},
		"its own ConfigMap":  {"--set", "policy.existingConfigMap=ours"},
		"pods, not Service":  {"--values", values("podmonitor.yaml")},
		"where it runs":      {"--values", values("placed.yaml")},
		"what users bring":   {"--values", values("own.yaml")},
		"its namespace":      {"--set", "namespace.create=true"},
		"some namespaces":    {"--values", values("network.yaml"), "--set", "namespaces={default,kube-system},healthListen=8081"},
		"with another table": {"--set", "policy.name=recommended,replicas=1,podDisruptionBudget.enabled=false"},
	} {
		t.Run(name, func(t *testing.T) {
			rendered := template(t, helm, append([]string{filepath.Join(root, "deploy", "chart")}, flags...)...)
			out, err := env.Kubectl(t.Context(), bytes.NewReader(rendered), "apply", "--dry-run=server", "--validate=strict", "-f", "-")
			if err != nil {
				t.Fatalf("%v\n%s", err, rendered)
			}
			if got, want := strings.Count(string(out), "(server dry run)"), strings.Count("\n"+string(rendered), "\nkind: "); got != want {
				t.Errorf("the server has checked %d objects of %d:\n%s", got, want, out)
			}
			deployment := deploymentOf(t, rendered)
			if err := dryRunPod(t, deployment.Spec.Template); err != nil {
				t.Errorf("its pod is refused: %v", err)
			}
			refuseLax(t, deployment.Spec.Template)
		})
	}
}

// refuseLax removes the requirements of restricted one at a time, and checks that each such pod is rejected.
func refuseLax(t *testing.T, template corev1.PodTemplateSpec) {
	t.Helper()
	for name, loosen := range map[string]func(pod *corev1.PodSpec, c *corev1.SecurityContext){
		"may be root":          func(pod *corev1.PodSpec, _ *corev1.SecurityContext) { pod.SecurityContext.RunAsNonRoot = nil },
		"any system call":      func(pod *corev1.PodSpec, _ *corev1.SecurityContext) { pod.SecurityContext.SeccompProfile = nil },
		"capabilities":         func(_ *corev1.PodSpec, c *corev1.SecurityContext) { c.Capabilities = nil },
		"may gain privileges":  func(_ *corev1.PodSpec, c *corev1.SecurityContext) { c.AllowPrivilegeEscalation = nil },
		"the network of nodes": func(pod *corev1.PodSpec, _ *corev1.SecurityContext) { pod.HostNetwork = true },
	} {
		lax := *template.DeepCopy()
		loosen(&lax.Spec, lax.Spec.Containers[0].SecurityContext)
		if err := dryRunPod(t, lax); !apierrors.IsForbidden(err) {
			t.Errorf("a pod that differs by %q is not refused (%v)", name, err)
		}
	}
}

// template renders the chart for the installation of these tests.
func template(t *testing.T, helm string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), helm, append([]string{"template", env.installation.Name, "--namespace", env.installation.Name}, args...)...)
	cmd.Env = []string{"HOME=" + env.dir}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("helm template %q: %v\n%s", args, err, stderr.String())
	}
	return out
}

// deploymentOf reads the one Deployment of a stream of manifests, which may hold kinds that the client does not know.
func deploymentOf(t *testing.T, rendered []byte) *appsv1.Deployment {
	t.Helper()
	for part := range strings.SplitSeq(string(rendered), "\n---\n") {
		if strings.Contains(part, "\nkind: Deployment\n") {
			return find[*appsv1.Deployment](t, decode(t, []byte(part)))
		}
	}
	t.Fatalf("no Deployment in\n%s", rendered)
	return nil
}

// installOperator makes the API server know the kinds of the Prometheus Operator.
func installOperator(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", operatorModule)
	cmd.Dir = t.TempDir() // of no module
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go mod download %s: %v\n%s", operatorModule, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"servicemonitors", "podmonitors", "prometheusrules"} {
		file := filepath.Join(module.Dir, "example", "prometheus-operator-crd", "monitoring.coreos.com_"+kind+".yaml")
		if _, err := env.Kubectl(t.Context(), nil, "apply", "--server-side", "-f", file); err != nil {
			t.Fatal(err)
		}
		name := "customresourcedefinition/" + kind + ".monitoring.coreos.com"
		if _, err := env.Kubectl(t.Context(), nil, "wait", "--for=condition=Established", "--timeout=30s", name); err != nil {
			t.Fatal(err)
		}
		// Established is not served yet: the next question would not find it.
		waitFor(t, kind+" are served", 30*time.Second, func() error {
			_, err := env.Kubectl(t.Context(), nil, "get", kind+".monitoring.coreos.com", "--all-namespaces")
			return err
		})
	}
}
