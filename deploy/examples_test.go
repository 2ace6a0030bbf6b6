package deploy

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// examples reads a file of testdata/examples as typed objects, by kind.
func examples(t *testing.T, file string) map[string]any {
	t.Helper()
	all := make(map[string]any)
	for part := range strings.SplitSeq(string(content(t, "testdata/examples/"+file)), "\n---\n") {
		var kind struct{ Kind string }
		if err := yaml.Unmarshal([]byte(part), &kind); err != nil {
			t.Fatal(err)
		}
		typed := map[string]any{
			"ClusterRole": new(rbacv1.ClusterRole), "ClusterRoleBinding": new(rbacv1.ClusterRoleBinding), "Deployment": new(appsv1.Deployment),
			"Ingress": new(networkingv1.Ingress), "Service": new(corev1.Service),
		}[kind.Kind]
		if err := yaml.UnmarshalStrict([]byte(part), typed); err != nil {
			t.Fatalf("%s: %s: %v", file, kind.Kind, err)
		}
		all[kind.Kind] = typed
	}
	return all
}

// TestExamples checks that the examples lead to the Service that the chart makes, by its name and port, and that the NetworkPolicy of
// their values lets the proxy in.
func TestExamples(t *testing.T) {
	all := documents(t, render(t, "--values", "testdata/examples/auth-proxy.values.yaml"))
	leader := object(t, all, "Service", "kube-devops-leader")

	backend := examples(t, "ingress.yaml")["Ingress"].(*networkingv1.Ingress).Spec.Rules[0].HTTP.Paths[0].Backend.Service
	if backend.Name != lookup(leader, "metadata.name") || backend.Port.Name != lookup(leader, "spec.ports.0.name") {
		t.Errorf("the Ingress leads to %s, port %s", backend.Name, backend.Port.Name)
	}

	objects := examples(t, "auth-proxy.yaml")
	proxy, service := objects["Deployment"].(*appsv1.Deployment), objects["Service"].(*corev1.Service)
	pod := proxy.Spec.Template
	upstream := "--upstream=https://kube-devops-leader.kube-devops.svc:8080/"
	if args := strings.Join(pod.Spec.Containers[0].Args, " "); !strings.Contains(args, upstream) || asJSON(t, lookup(leader, "spec.ports.0.port")) != "8080" {
		t.Errorf("the proxy has %s, and the Service the ports %v", args, lookup(leader, "spec.ports"))
	}
	for key, want := range service.Spec.Selector {
		if pod.Labels[key] != want {
			t.Errorf("the Service selects %s=%s, and the pods have %v", key, want, pod.Labels)
		}
	}
	from := lookup(only(t, all, "NetworkPolicy"), "spec.ingress.0.from.0.podSelector.matchLabels")
	if asJSON(t, from) != asJSON(t, pod.Labels) {
		t.Errorf("the NetworkPolicy lets in %v, and the proxy has %v", from, pod.Labels)
	}
	role, binding := objects["ClusterRole"].(*rbacv1.ClusterRole), objects["ClusterRoleBinding"].(*rbacv1.ClusterRoleBinding)
	if binding.RoleRef.Name != role.Name {
		t.Errorf("the binding is of %s", binding.RoleRef.Name)
	}
}
