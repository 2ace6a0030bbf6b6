package oracle_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/e2e/oracle"
)

func TestFromList(t *testing.T) {
	const bad = `{"metadata": {"namespace": "a"}, "spec": {"containers": [{"image": "nginx:latest"}]}}`
	const half = `{"metadata": {"namespace": "b"}, "spec": {"containers": [
		{"image": "x:1", "livenessProbe": {}, "readinessProbe": {"exec": {}}}, {"image": "x", "livenessProbe": null, "readinessProbe": {}}]}}`
	const system = `{"metadata": {"namespace": "kube-system"}, "spec": {"containers": [{"image": "nginx:latest"}]}}`
	for _, test := range []struct {
		name, list string
		want       oracle.Scores
	}{
		{"no data", `{"items": []}`, oracle.Scores{Namespaces: map[string]oracle.Namespace{}}},
		{"excluded alone", `{"items": [` + system + `]}`, oracle.Scores{Namespaces: map[string]oracle.Namespace{}}},
		{
			"two namespaces", `{"items": [` + bad + "," + half + "," + system + "," + bad + `]}`,
			oracle.Scores{
				Score:      new(6.5),
				Compliance: new(0.425),
				Namespaces: map[string]oracle.Namespace{
					"a": {
						Pods: 2, Score: 10, Compliance: 0,
						Violations: map[string]int{"latest_tag": 2, "missing_liveness": 2, "missing_readiness": 2},
					},
					"b": {
						Pods: 1, Score: 3, Compliance: 0.85,
						Violations: map[string]int{"latest_tag": 0, "missing_liveness": 1, "missing_readiness": 0},
					},
				},
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := oracle.FromList([]byte(test.list))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("scores (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWithout(t *testing.T) {
	const list = `{"items": [{"metadata": {"namespace": "a", "name": "x"}}, {"metadata": {"namespace": "b", "name": "x"}}]}`
	got, err := oracle.Without([]byte(list), "a", "x")
	if want := `{"items":[{"metadata":{"namespace":"b","name":"x"}}]}`; err != nil || string(got) != want {
		t.Errorf("%s (%v), want %s", got, err, want)
	}
	if _, err := oracle.Without([]byte(list), "a", "y"); err == nil {
		t.Error("a pod that is not there was left out")
	}
}
