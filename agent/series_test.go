package agent

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/kube-devops/kube-devops/agent/evaluator"
	"github.com/kube-devops/kube-devops/agent/state"
)

// gathered are the score series of an evaluator, by name and namespace.
func gathered(t *testing.T, e *evaluator.Evaluator) map[string]map[string]float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(newScores(e))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]map[string]float64)
	for _, family := range families {
		of := make(map[string]float64)
		for _, m := range family.Metric {
			of[namespaceOf(m)] += m.GetGauge().GetValue()
		}
		all[family.GetName()] = of
	}
	return all
}

func namespaceOf(m *dto.Metric) string {
	for _, label := range m.Label {
		if label.GetName() == "namespace" {
			return label.GetValue()
		}
	}
	return ""
}

// TestNamespacesOverflow: beyond the cap the namespaces share their series, and nothing is lost of the sums.
func TestNamespacesOverflow(t *testing.T) {
	for _, n := range []int{1, maxNamespaces, maxNamespaces + 1, maxNamespaces + 300} {
		t.Run(fmt.Sprint(n, " namespaces"), func(t *testing.T) {
			e := defaultEvaluator(t)
			e.Begin(t.Context(), func(yield func(state.Observation) bool) {
				for i := range n {
					if !yield(observed(fmt.Sprintf("ns-%05d", i), "one", noProbes)) || !yield(observed(fmt.Sprintf("ns-%05d", i), "two", clean)) {
						return
					}
				}
			})
			series := gathered(t, e)
			over := max(0, n-maxNamespaces)
			if got := series["kube_devops_namespaces_overflowed"][""]; got != float64(over) {
				t.Errorf("%v namespaces overflowed, want %d", got, over)
			}
			pods := series["kube_devops_pods"]
			if want := min(n, maxNamespaces+1); len(pods) != want {
				t.Errorf("%d series, want %d", len(pods), want)
			}
			if pods[otherNamespaces] != float64(2*over) {
				t.Errorf("%v pods of others, want %d", pods[otherNamespaces], 2*over)
			}
			if score, ok := series["namespace_health_score"][otherNamespaces]; ok != (over > 0) || ok && score != 5 {
				t.Errorf("score of the others %v (there: %v), want 5 where there are any", score, ok)
			}
			if got := series["cluster_health_score"][""]; got != 5 {
				t.Errorf("cluster_health_score %v, want 5: all namespaces are in it", got)
			}
		})
	}
}

// TestLabelsThatAreNoText: a name from a recording may hold any bytes, and a label may not.
func TestLabelsThatAreNoText(t *testing.T) {
	e := defaultEvaluator(t)
	e.Begin(t.Context(), observations(observed("a\xff\xfeb", "one", clean)))
	for name := range gathered(t, e)["kube_devops_pods"] {
		if !strings.Contains(name, "a\uFFFDb") {
			t.Errorf("namespace %q, want the bytes that are no text replaced", name)
		}
	}
}

// Unknown violations have a series where there are any, and no other: one for each check and namespace would be mostly 0.
func TestUnknownViolationsHaveSeries(t *testing.T) {
	e := evaluatorOf(loadTable(t, `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: unknown}
checks:
  - {id: small, weight: 5, violation: {path: spec.size, operator: quantityLessThan, value: 1}}
  - {id: large, weight: 5, violation: {path: spec.other, operator: quantityGreaterThan, value: 1}}
`))
	e.Begin(t.Context(), observations(
		state.Observation{Pod: state.Pod{Namespace: "ns-1", Name: "a"}, JSON: []byte(`{"spec":{"size":"1e101"}}`)},
		state.Observation{Pod: state.Pod{Namespace: "ns-2", Name: "a"}, JSON: []byte(`{"spec":{"size":"500m"}}`)},
	))
	text := string(newScores(e).AppendText(nil))
	if want := "\nkube_devops_unknown_violations{check=\"small\",namespace=\"ns-1\"} 1\n"; !strings.Contains(text, want) {
		t.Errorf("no series%sin:\n%s", want, text)
	}
	if n := strings.Count(text, "\nkube_devops_unknown_violations{"); n != 1 {
		t.Errorf("%d series of unknown violations, want 1:\n%s", n, text)
	}
	if want := "\nkube_devops_violations{check=\"small\",namespace=\"ns-1\"} 1\n"; !strings.Contains(text, want) {
		t.Errorf("no series%sin:\n%s", want, text)
	}
}
