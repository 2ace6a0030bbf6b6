package agent

import (
	"context"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/evaluator"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

func evaluatorOf(table *rules.Table) *evaluator.Evaluator {
	return evaluator.New(table, zap.NewNop(), prometheus.NewRegistry())
}

// apply brings in a pod of that form.
func apply(e *evaluator.Evaluator, pod state.Pod, json []byte) {
	e.Update(context.Background(), pod, func(state.Pod) (state.Pod, []byte, bool) { return pod, json, true })
}

func podJSON(container string) []byte {
	return []byte(`{"kind":"Pod","spec":{"containers":[` + container + `]}}`)
}

const (
	clean    = `{"name":"c","image":"nginx:1.25","livenessProbe":{},"readinessProbe":{}}`
	latest   = `{"name":"c","image":"nginx:latest","livenessProbe":{},"readinessProbe":{}}`
	noProbes = `{"name":"c","image":"nginx:latest"}`
)

func observations(pods ...state.Observation) func(func(state.Observation) bool) {
	return slices.Values(pods)
}
