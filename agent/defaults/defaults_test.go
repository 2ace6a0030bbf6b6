package defaults

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPod compares a pod with the pod that kube-apiserver v1.37 stored, without what its admission plugins added. TestPreviewIsWhatIsRefused in
// agent/e2e compares random pods.
func TestPod(t *testing.T) {
	const pod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"hostNetwork":true,"hostPID":false,"serviceAccount":"x","containers":[
{"name":"a","image":"nginx","args":[],"env":[{"name":"x","value":""},{"name":"y","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],"ports":[{"containerPort":80},{"containerPort":81,"hostPort":81,"protocol":"UDP"}],
 "resources":{"limits":{"cpu":"1000m","memory":"0.5Gi"},"requests":{"cpu":0.0001}},"livenessProbe":{"httpGet":{"port":80}},"startupProbe":{"grpc":{"port":3}},"lifecycle":{"preStop":{"httpGet":{"port":80}}},"unknown":1}],
"initContainers":[{"name":"b","image":"nginx:1","ports":[{"containerPort":90}],"terminationMessagePolicy":"FallbackToLogsOnError"}],
"volumes":[{"name":"a"},{"name":"b","hostPath":{"path":"/x"}},{"name":"c","projected":{"sources":[{"serviceAccountToken":{"path":"x"}}]}},{"name":"d","configMap":{"name":"x"}},{"name":"e","image":{"reference":"x:latest"}},
 {"name":"f","downwardAPI":{"items":[{"path":"p","fieldRef":{"fieldPath":"metadata.name"}}]}},{"name":"g","ephemeral":{"volumeClaimTemplate":{"spec":{"resources":{"requests":{"storage":"1024Mi"}}}}}},{"name":"h","secret":{"secretName":"x"}}]}}`
	const ports, initPorts = `{"containerPort":80,"hostPort":80,"protocol":"TCP"},{"containerPort":81,"hostPort":81,"protocol":"UDP"}`, `{"containerPort":90,"hostPort":90,"protocol":"TCP"}`
	const requests, links = `{"cpu":"1m","memory":"512Mi"}`, `"enableServiceLinks":true,`
	const want = `{"hostNetwork":true,"serviceAccount":"x","serviceAccountName":"x","dnsPolicy":"ClusterFirst",` + links + `"restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30,"containers":[
{"name":"a","image":"nginx","imagePullPolicy":"Always","terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","env":[{"name":"x"},{"name":"y","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}}],
 "ports":[` + ports + `],"resources":{"limits":{"cpu":"1","memory":"512Mi"},"requests":` + requests + `},
 "livenessProbe":{"httpGet":{"port":80,"path":"/","scheme":"HTTP"},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},
 "startupProbe":{"grpc":{"port":3,"service":""},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"lifecycle":{"preStop":{"httpGet":{"port":80,"path":"/","scheme":"HTTP"}}}}],
"initContainers":[{"name":"b","image":"nginx:1","imagePullPolicy":"IfNotPresent","terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"FallbackToLogsOnError","ports":[` + initPorts + `],"resources":{}}],
"volumes":[{"name":"a","emptyDir":{}},{"name":"b","hostPath":{"path":"/x","type":""}},{"name":"c","projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"path":"x","expirationSeconds":3600}}]}},{"name":"d","configMap":{"name":"x","defaultMode":420}},
 {"name":"e","image":{"reference":"x:latest","pullPolicy":"Always"}},{"name":"f","downwardAPI":{"defaultMode":420,"items":[{"path":"p","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}]}},
 {"name":"g","ephemeral":{"volumeClaimTemplate":{"metadata":{},"spec":{"resources":{"requests":{"storage":"1Gi"}},"volumeMode":"Filesystem"}}}},{"name":"h","secret":{"secretName":"x","defaultMode":420}}]}`
	template := strings.NewReplacer(ports, strings.Replace(ports, `"hostPort":80,`, "", 1), initPorts, strings.Replace(initPorts, `"hostPort":90,`, "", 1), requests, `{"cpu":"1m"}`, links, "").Replace(want)
	for _, test := range []struct {
		name, got, want string
	}{{"pod", string(Pod([]byte(pod))), want}, {"template", string(Template([]byte(pod))), template}} {
		var got struct{ Spec any }
		var want any
		if err := json.Unmarshal([]byte(test.got), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(test.want), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Spec); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// TestPullPolicies checks the default pull policy, also for images with a tag and a digest.
func TestPullPolicies(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0123456789abcdef", 4)
	for image, always := range map[string]bool{
		"nginx": true, "nginx:latest": true, "nginx:latest" + digest: true, "registry:5000/nginx": true,
		"nginx:1": false, "nginx" + digest: false, "nginx:1" + digest: false, "nginx:Latest": false, "a//b:latest": false, "": false,
		strings.Repeat("a", 247) + ":latest": true, strings.Repeat("a", 248) + ":latest": false,
	} {
		if got := pullPolicy(image) == "Always"; got != always {
			t.Errorf("%q: always %v, want %v", image, got, always)
		}
	}
}

// TestNotAPod checks that a text with values of wrong types is unchanged. The API server does not store such a pod.
func TestNotAPod(t *testing.T) {
	const text = `{"kind":"Pod","spec":{"hostNetwork":"yes","containers":[{"image":"nginx"}]}}`
	if got := string(Pod([]byte(text))); got != text {
		t.Errorf("got %s", got)
	}
}
