package seed

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var born = metav1.NewTime(time.Date(2026, 5, 9, 7, 30, 0, 0, time.UTC))

// NewPod is a Deployment's pod of two containers, of about 8 KB as JSON: with managedFields and a status. A clean one has
// no violation of the default table, another has two of latest_tag.
func NewPod(i int, clean bool) *corev1.Pod {
	tag := "1.27.3"
	if !clean {
		tag = "latest"
	}
	controller := true
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: NameOf(i), GenerateName: "checkout-7d9c6b5f48-", Namespace: NamespaceOf(i), CreationTimestamp: born,
			UID:    types.UID(fmt.Sprintf("0d3a8f0e-6a7e-4c5c-9f52-%012d", i)),
			Labels: map[string]string{"app.kubernetes.io/name": "checkout", "app.kubernetes.io/part-of": "shop", "pod-template-hash": "7d9c6b5f48"},
			Annotations: map[string]string{
				"prometheus.io/port": "9090", "prometheus.io/scrape": "true", "kubectl.kubernetes.io/restartedAt": "2026-05-09T07:29:58Z",
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "checkout-7d9c6b5f48", UID: "b4c6f0cf-0f0f-4a44-8f3f-4f1d5f6b6f7a",
				Controller: &controller, BlockOwnerDeletion: &controller,
			}},
			ManagedFields: []metav1.ManagedFieldsEntry{
				{Manager: "kube-controller-manager", Operation: "Update", APIVersion: "v1", Time: &born, FieldsType: "FieldsV1", FieldsV1: specFields},
				{Manager: "kubelet", Operation: "Update", APIVersion: "v1", Time: &born, FieldsType: "FieldsV1", FieldsV1: statusFields, Subresource: "status"},
			},
		},
		Spec: corev1.PodSpec{
			Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
			Containers: []corev1.Container{
				newContainer("checkout", "registry.example.com/shop/checkout:"+tag), newContainer("proxy", "registry.example.com/shop/proxy:"+tag),
			},
			RestartPolicy: "Always", DNSPolicy: "ClusterFirst", ServiceAccountName: "checkout", NodeName: "worker-17", SchedulerName: "default-scheduler",
			SecurityContext: &corev1.PodSecurityContext{},
			Tolerations: []corev1.Toleration{
				{Key: "node.kubernetes.io/not-ready", Operator: "Exists", Effect: "NoExecute"}, {Key: "node.kubernetes.io/unreachable", Operator: "Exists", Effect: "NoExecute"},
			},
		},
		Status: corev1.PodStatus{Phase: "Running", HostIP: "10.0.17.4", PodIP: "10.244.17.23", StartTime: &born, QOSClass: "Burstable"},
	}
	for _, condition := range []corev1.PodConditionType{"Initialized", "PodReadyToStartContainers", "Ready", "ContainersReady", "PodScheduled"} {
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{Type: condition, Status: "True", LastTransitionTime: born})
	}
	for _, c := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Ready: true, Started: &controller, Image: c.Image, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: born}},
			ImageID: "registry.example.com/shop/x@sha256:" + strings.Repeat("0123456789abcdef", 4), ContainerID: "containerd://" + strings.Repeat("fedcba9876543210", 4),
		})
	}
	return pod
}

func newContainer(name, image string) corev1.Container {
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http"), Scheme: "HTTP"}},
			InitialDelaySeconds: 15, TimeoutSeconds: 1, PeriodSeconds: 20, SuccessThreshold: 1, FailureThreshold: 3}
	}
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
	}
	resources := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{"cpu": resource.MustParse(cpu), "memory": resource.MustParse(memory)}
	}
	no, yes, user := false, true, int64(10001)
	return corev1.Container{
		Name: name, Image: image, ImagePullPolicy: "IfNotPresent", TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: "File",
		Ports:        []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: "TCP"}, {Name: "metrics", ContainerPort: 9090, Protocol: "TCP"}},
		Env:          []corev1.EnvVar{field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP"), {Name: "LOG_LEVEL", Value: "info"}, {Name: "OTEL_RESOURCE_ATTRIBUTES", Value: "service.name=checkout,deployment.environment=production"}},
		Resources:    corev1.ResourceRequirements{Limits: resources("500m", "512Mi"), Requests: resources("100m", "256Mi")},
		VolumeMounts: []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}}, LivenessProbe: probe("/healthz"), ReadinessProbe: probe("/ready"),
		SecurityContext: &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, RunAsUser: &user, RunAsNonRoot: &yes, ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no},
	}
}

func managedContainer(name string) string {
	return `"k:{\"name\":\"` + name + `\"}":{".":{},"f:env":{".":{},"k:{\"name\":\"LOG_LEVEL\"}":{".":{},"f:name":{},"f:value":{}},"k:{\"name\":\"POD_NAME\"}":{".":{},"f:name":{},"f:valueFrom":{".":{},"f:fieldRef":{}}}},` +
		`"f:image":{},"f:imagePullPolicy":{},"f:livenessProbe":{".":{},"f:failureThreshold":{},"f:httpGet":{".":{},"f:path":{},"f:port":{},"f:scheme":{}},"f:periodSeconds":{},"f:successThreshold":{},"f:timeoutSeconds":{}},"f:name":{},` +
		`"f:ports":{".":{},"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}}},"f:resources":{".":{},"f:limits":{".":{},"f:cpu":{},"f:memory":{}},"f:requests":{".":{},"f:cpu":{},"f:memory":{}}},` +
		`"f:securityContext":{".":{},"f:capabilities":{".":{},"f:drop":{}},"f:readOnlyRootFilesystem":{},"f:runAsNonRoot":{},"f:runAsUser":{}},"f:terminationMessagePath":{},"f:terminationMessagePolicy":{},"f:volumeMounts":{".":{},"k:{\"mountPath\":\"/tmp\"}":{".":{},"f:mountPath":{},"f:name":{}}}}`
}

var (
	specFields = metav1.NewFieldsV1(`{"f:metadata":{"f:generateName":{},"f:labels":{".":{},"f:app.kubernetes.io/name":{},"f:pod-template-hash":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"b4c6f0cf-0f0f-4a44-8f3f-4f1d5f6b6f7a\"}":{}}},"f:spec":{"f:containers":{` +
		managedContainer("checkout") + "," + managedContainer("proxy") + `},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}`)
	statusFields = metav1.NewFieldsV1(`{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:hostIP":{},"f:phase":{},"f:podIP":{},"f:podIPs":{".":{},"k:{\"ip\":\"10.244.17.23\"}":{".":{},"f:ip":{}}},"f:startTime":{}}}`)
)

// Size is how many bytes of JSON a pod is.
func Size(pod *corev1.Pod) int {
	pod.APIVersion, pod.Kind = "v1", "Pod"
	text, err := json.Marshal(pod)
	if err != nil {
		panic(err) // it came from JSON
	}
	return len(text)
}
