package rules_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// realisticPod is a pod of about 8 KB as an API server sends it: a Deployment's pod of two containers and an init
// container, with managedFields and a status. A clean one has no violation of the default table, the other has six.
func realisticPod(t testing.TB, clean bool) []byte {
	t.Helper()
	tag, probes := "latest", ""
	if clean {
		tag = "1.27.3"
		probes = `"livenessProbe":{"httpGet":{"path":"/healthz","port":"http","scheme":"HTTP"},"initialDelaySeconds":15,"timeoutSeconds":1,"periodSeconds":20,"successThreshold":1,"failureThreshold":3},
			"readinessProbe":{"httpGet":{"path":"/ready","port":"http","scheme":"HTTP"},"initialDelaySeconds":5,"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},`
	}
	container := func(name, image string) string {
		return fmt.Sprintf(`{"name":%[1]q,"image":"registry.example.com/shop/%[2]s:%[3]s",
			"ports":[{"name":"http","containerPort":8080,"protocol":"TCP"},{"name":"metrics","containerPort":9090,"protocol":"TCP"}],
			"env":[{"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},{"name":"LOG_LEVEL","value":"info"},
				{"name":"DATABASE_URL","valueFrom":{"secretKeyRef":{"name":"checkout-database","key":"url"}}},{"name":"OTEL_RESOURCE_ATTRIBUTES","value":"service.name=%[2]s,deployment.environment=production"}],
			"resources":{"limits":{"cpu":"500m","memory":"512Mi"},"requests":{"cpu":"100m","memory":"256Mi"}},
			"volumeMounts":[{"name":"tmp","mountPath":"/tmp"},{"name":"kube-api-access-x7k2p","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],
			%[4]s"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent",
			"securityContext":{"capabilities":{"drop":["ALL"]},"runAsUser":10001,"runAsNonRoot":true,"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false}}`, name, image, tag, probes)
	}
	managedContainer := func(name string) string {
		return fmt.Sprintf(`"k:{\"name\":\"%s\"}":{".":{},"f:env":{".":{},"k:{\"name\":\"DATABASE_URL\"}":{".":{},"f:name":{},"f:valueFrom":{".":{},"f:secretKeyRef":{}}},"k:{\"name\":\"LOG_LEVEL\"}":{".":{},"f:name":{},"f:value":{}},"k:{\"name\":\"POD_NAME\"}":{".":{},"f:name":{},"f:valueFrom":{".":{},"f:fieldRef":{}}}},
			"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:ports":{".":{},"k:{\"containerPort\":8080,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{},"f:name":{},"f:protocol":{}}},
			"f:resources":{".":{},"f:limits":{".":{},"f:cpu":{},"f:memory":{}},"f:requests":{".":{},"f:cpu":{},"f:memory":{}}},"f:securityContext":{".":{},"f:allowPrivilegeEscalation":{},"f:capabilities":{".":{},"f:drop":{}},"f:readOnlyRootFilesystem":{},"f:runAsNonRoot":{},"f:runAsUser":{}},
			"f:terminationMessagePath":{},"f:terminationMessagePolicy":{},"f:volumeMounts":{".":{},"k:{\"mountPath\":\"/tmp\"}":{".":{},"f:mountPath":{},"f:name":{}}}}`, name)
	}
	status := func(name, image string) string {
		return fmt.Sprintf(`{"name":%q,"state":{"running":{"startedAt":"2026-05-09T07:30:12Z"}},"lastState":{},"ready":true,"restartCount":0,"image":"registry.example.com/shop/%s:%s",
			"imageID":"registry.example.com/shop/%s@sha256:%s","containerID":"containerd://%s","started":true}`, name, image, tag, image, strings.Repeat("0123456789abcdef", 4), strings.Repeat("fedcba9876543210", 4))
	}
	text := `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"checkout-7d9c6b5f48-x2v9q","generateName":"checkout-7d9c6b5f48-","namespace":"shop","uid":"0d3a8f0e-6a7e-4c5c-9f52-2f3b1b1b7d10","resourceVersion":"184467","creationTimestamp":"2026-05-09T07:30:00Z",
		"labels":{"app.kubernetes.io/name":"checkout","app.kubernetes.io/part-of":"shop","pod-template-hash":"7d9c6b5f48"},
		"annotations":{"prometheus.io/port":"9090","prometheus.io/scrape":"true","kubectl.kubernetes.io/restartedAt":"2026-05-09T07:29:58Z"},
		"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"checkout-7d9c6b5f48","uid":"b4c6f0cf-0f0f-4a44-8f3f-4f1d5f6b6f7a","controller":true,"blockOwnerDeletion":true}],
		"managedFields":[{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":"2026-05-09T07:30:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:generateName":{},"f:labels":{".":{},"f:app.kubernetes.io/name":{},"f:pod-template-hash":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"b4c6f0cf-0f0f-4a44-8f3f-4f1d5f6b6f7a\"}":{}}},
			"f:spec":{"f:containers":{` + managedContainer("checkout") + `},"f:dnsPolicy":{},"f:enableServiceLinks":{},"f:restartPolicy":{},"f:schedulerName":{},"f:securityContext":{},"f:terminationGracePeriodSeconds":{}}}},
		{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"2026-05-09T07:30:14Z","fieldsType":"FieldsV1","fieldsV1":{"f:status":{"f:conditions":{"k:{\"type\":\"ContainersReady\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}},"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:hostIP":{},"f:phase":{},"f:podIP":{},"f:startTime":{}}},"subresource":"status"}]},
		"spec":{"volumes":[{"name":"tmp","emptyDir":{}},{"name":"kube-api-access-x7k2p","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}}],"defaultMode":420}}],
		"initContainers":[{"name":"migrate","image":"registry.example.com/shop/migrate:1.27.3","command":["/migrate","--to","latest"],"resources":{},"imagePullPolicy":"IfNotPresent"}],
		"containers":[` + container("checkout", "checkout") + "," + container("proxy", "proxy") + `],
		"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"checkout","serviceAccount":"checkout","nodeName":"worker-17","securityContext":{"runAsNonRoot":true,"fsGroup":10001,"seccompProfile":{"type":"RuntimeDefault"}},"schedulerName":"default-scheduler",
		"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},
		"status":{"phase":"Running","conditions":[{"type":"Initialized","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-05-09T07:30:05Z"},{"type":"PodReadyToStartContainers","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-05-09T07:30:12Z"},{"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-05-09T07:30:14Z"},
		{"type":"ContainersReady","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-05-09T07:30:14Z"},{"type":"PodScheduled","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-05-09T07:30:00Z"}],
		"hostIP":"10.0.17.4","podIP":"10.244.17.23","podIPs":[{"ip":"10.244.17.23"}],"startTime":"2026-05-09T07:30:00Z","containerStatuses":[` + status("checkout", "checkout") + "," + status("proxy", "proxy") + `],"qosClass":"Burstable"}}`
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return compact.Bytes()
}
