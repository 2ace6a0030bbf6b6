package agent

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
)

// The report shows the values of the pods in the cache, which are reduced to what the table reads: never one that may be a
// secret, and none of a pod that has gone meanwhile. Its message does not say that there is none.
func TestReportShowsCachedValues(t *testing.T) {
	table := loadTable(t, `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: details}
checks:
  - {id: port, weight: 1, message: "port {value}", forEach: spec.containers.#.ports, violation: {path: hostPort, operator: exists}}
  - {id: literal, weight: 1, forEach: spec.containers.#.env, violation: {path: value, operator: exists}}
`)
	projection := table.Projection()
	cache := make(map[state.Pod][]byte)
	var observed []state.Observation
	for _, name := range []string{"stays", "goes"} {
		text, err := projection.AppendTo(nil, []byte(`{"spec":{"containers":[{"name":"app","image":"secret","ports":[{"containerPort":80,"hostPort":8080}],
			"env":[{"name":"TOKEN","value":"secret"}]}]}}`))
		if err != nil {
			t.Fatal(err)
		}
		pod := state.Pod{Namespace: "shop", Name: name}
		cache[pod] = text
		observed = append(observed, state.Observation{Pod: pod, JSON: text})
	}
	e := evaluatorOf(table)
	e.Begin(t.Context(), observations(observed...))
	delete(cache, state.Pod{Namespace: "shop", Name: "goes"})
	lookup := func(name state.Pod) (state.Pod, []byte, bool) {
		text, ok := cache[name]
		return name, text, ok
	}
	var b bytes.Buffer
	if err := report.JSON(&b, e.Current().SnapshotWithViolations(), detailsOf(table, lookup), nil); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		`"pod":"stays","check":"port"`:    `"container":"app","subject":"80/TCP","path":"spec.containers.0.ports.0","value":"8080","message":"port 8080"`,
		`"pod":"stays","check":"literal"`: `"container":"app","subject":"TOKEN","path":"spec.containers.0.env.0","message"`,
		`"pod":"goes","check":"port"`:     `"container":"app","subject":"80/TCP","path":"spec.containers.0.ports.0","message":"port (not shown)"`,
	} {
		found := false
		for _, text := range strings.Split(b.String(), "\n") {
			found = found || strings.Contains(text, line) && strings.Contains(text, want)
		}
		if !found {
			t.Errorf("no violation with %s and %s in:\n%s", line, want, &b)
		}
	}
	if strings.Contains(b.String(), "secret") {
		t.Errorf("a secret shows:\n%s", &b)
	}
}
