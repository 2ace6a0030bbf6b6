package deploy

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// TestLeaderService checks that the EndpointSlices belong to the Service of the leader, that the chart leaves to the leader what the
// leader writes, and that no ServiceMonitor selects that Service.
func TestLeaderService(t *testing.T) {
	all := documents(t, render(t, "--set", "leaderService.enabled=true,serviceMonitor.enabled=true,namespaceOverride=elsewhere"))
	service := object(t, all, "Service", "kube-devops-leader")
	if selector := lookup(service, "spec.selector"); selector != nil {
		t.Errorf("it selects %v: Kubernetes fills its slices with every replica", selector)
	}
	for family, name := range map[string]string{"IPv4": "kube-devops-leader-ipv4", "IPv6": "kube-devops-leader-ipv6"} {
		slice := object(t, all, "EndpointSlice", name)
		for path, want := range map[string]any{
			"addressType":        family,
			"metadata.namespace": "elsewhere",
			`metadata.labels.kubernetes\.io/service-name`:              "kube-devops-leader",
			`metadata.labels.endpointslice\.kubernetes\.io/managed-by`: "kube-devops",
		} {
			if got := lookup(slice, path); got != want {
				t.Errorf("%s: %s is %v, want %v", name, path, got, want)
			}
		}
		for _, field := range []string{"endpoints", "ports"} {
			if value, has := slice[field]; has {
				t.Errorf("%s sets %s to %v: an upgrade would overwrite what the leader has written", name, field, value)
			}
		}
	}
	selector := new(metav1.LabelSelector)
	text := asJSON(t, lookup(only(t, all, "ServiceMonitor"), "spec.selector"))
	if err := yaml.UnmarshalStrict([]byte(text), selector); err != nil {
		t.Fatal(err)
	}
	compiled, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	selected := map[string]bool{}
	for _, d := range all {
		if d.GetKind() == "Service" {
			selected[d.GetName()] = compiled.Matches(labels.Set(d.GetLabels()))
		}
	}
	if diff := cmp.Diff(map[string]bool{"kube-devops": true, "kube-devops-leader": false}, selected); diff != "" {
		t.Errorf("Services that the ServiceMonitor selects (-want +got):\n%s", diff)
	}
}
