package celtest

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apiserver/pkg/admission"
	apiservercel "k8s.io/apiserver/pkg/apis/cel"
)

// largePod returns a pod with 100 containers that violate most checks. Each has several ports, variables, capabilities and mounts.
func largePod(of int) *corev1.Pod {
	p := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "large", Namespace: "shop", CreationTimestamp: metav1.NewTime(now)}}
	yes, root, unmasked := true, int64(0), corev1.UnmaskedProcMount
	for i := range 100 {
		c := corev1.Container{
			Name: fmt.Sprintf("container-%d", i), Image: "registry.example.com/" + strings.Repeat("team/", 10) + "app:latest",
			Command: []string{"sh", "-c", strings.Repeat("run ", 30)},
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("1Gi")},
				Limits:   corev1.ResourceList{"cpu": resource.MustParse("1")},
			},
			SecurityContext: &corev1.SecurityContext{
				Privileged: &yes, RunAsUser: &root, AllowPrivilegeEscalation: &yes, ProcMount: &unmasked,
				Capabilities: &corev1.Capabilities{}, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined},
			},
		}
		c.LivenessProbe = &corev1.Probe{InitialDelaySeconds: 40, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(80)}}}
		for k := range of {
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("PASSWORD_%d", k), Value: strings.Repeat("v", 60)})
			c.Ports = append(c.Ports, corev1.ContainerPort{Name: fmt.Sprintf("p%d", k), ContainerPort: int32(k + 1), HostPort: int32(k + 1), Protocol: corev1.ProtocolTCP})
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "v0", MountPath: fmt.Sprintf("/data/%d", k)})
			c.SecurityContext.Capabilities.Add = append(c.SecurityContext.Capabilities.Add, corev1.Capability(fmt.Sprintf("CAP_%d", k)))
		}
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
	for i := range of {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: fmt.Sprintf("v%d", i), VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/etc/kubernetes"}}})
	}
	return p
}

// TestCost measures the cost of an update of a large pod, as the API server computes it. The export must warn about exactly the checks that
// exceed a limit.
func TestCost(t *testing.T) {
	binary := build(t)
	for _, table := range []string{"default", "recommended", "pss-baseline", "pss-restricted", "extended"} {
		t.Run(table, func(t *testing.T) {
			exported, err := binary.Export(table)
			if err != nil {
				t.Fatal(err)
			}
			policy, err := Compile(Newest, exported)
			if err != nil {
				t.Fatal(err)
			}
			command := exec.Command(binary.Path, "policy", "export", "vap", "--policy", table, "--action", "audit", "--partial")
			var warnings strings.Builder
			command.Stderr = &warnings
			if err := command.Run(); err != nil {
				t.Fatal(err)
			}
			result, err := policy.Evaluate(updateOf(largePod(5)))
			if err != nil {
				t.Fatal(err)
			}
			worst := ""
			for check, cost := range result.Costs {
				if worst == "" || cost > result.Costs[worst] {
					worst = check
				}
				if cost > apiservercel.PerCallLimit && !strings.Contains(warnings.String(), check) {
					t.Errorf("check %s costs %d, and there is no warning", check, cost)
				}
			}
			if result.Cost > apiservercel.RuntimeCELCostBudget && !strings.Contains(warnings.String(), "all checks together") {
				t.Errorf("all checks together cost %d, and there is no warning", result.Cost)
			}
			t.Logf("%-15s %9d of %d, the most for %s: %d of %d", table, result.Cost, apiservercel.RuntimeCELCostBudget, worst, result.Costs[worst], apiservercel.PerCallLimit)
			// Twice as many of all make some expressions too costly.
			if _, err := policy.Evaluate(updateOf(largePod(10))); err != nil {
				t.Logf("with 10 of each: %v", err)
				words := strings.Fields(strings.ReplaceAll(err.Error(), ":", " "))
				if len(words) < 2 || words[0] == "check" && !strings.Contains(warnings.String(), words[1]) {
					t.Errorf("there is no warning of it")
				}
			}
		})
	}
}

// updateOf returns an update that fixes one violation of a pod.
func updateOf(old *corev1.Pod) Request {
	object := old.DeepCopy()
	object.Spec.Containers[0].Image = "registry.example.com/app:1"
	return Request{
		Operation: admission.Update, Object: object, OldObject: old, Kind: schema.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Resource: schema.GroupVersionResource{Version: "v1", Resource: "pods"}, Namespace: "shop", Name: "large",
	}
}
