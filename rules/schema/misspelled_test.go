package schema_test

import (
	"os"
	"testing"

	"github.com/kube-devops/kube-devops/rules/schema"
)

func TestMisspelledField(t *testing.T) {
	text, err := os.ReadFile("../../policies/pod.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	pods, err := schema.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for pod, want := range map[string]string{
		`{}`: "",
		`{"apiVersion":"v1","kind":"Pod","metadata":{"labels":{"any.thing":"x"},"annotations":{"a":"b"}},"spec":{"containers":[{"name":"a","resources":{"limits":{"nvidia.com/gpu":"1"}}}]}}`: "",
		`{"spec":{"containres":[]}}`:                       `spec has no field "containres" (did you mean "containers"?)`,
		`{"spec":{"containers":[{},{"livenesProbe":{}}]}}`: `spec.containers.1 has no field "livenesProbe" (did you mean "livenessProbe"?)`,
		`{"metdata":{}}`:                                   `Pod has no field "metdata" (did you mean "metadata"?)`,
		`{"sepc":{}}`:                                      `Pod has no field "sepc"`,
		`{"spec":{"zzzzzzzzzz":1}}`:                        "", // perhaps of a newer Kubernetes
		`{"spec":[{"zz":1}]}`:                              "", // of another type altogether: the API refuses it
		`{"spec":{"volumes":[{"name":"a","hostPath":{"path":"/"},"emptyDri":{}}]}}`:         `spec.volumes.0 has no field "emptyDri" (did you mean "emptyDir"?)`,
		`{"spec":{"containers":[{"env":[{"name":"A","valueFrom":{"secretKeyRefs":{}}}]}]}}`: `spec.containers.0.env.0.valueFrom has no field "secretKeyRefs" (did you mean "secretKeyRef"?)`,
	} {
		if got := pods.MisspelledField([]byte(pod)); got != want {
			t.Errorf("%s: %q, want %q", pod, got, want)
		}
	}
}
