package agent

import (
	"github.com/kube-devops/kube-devops/agent/evaluator"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// detailsOf returns what finds the details of violations in the present forms of their pods. A pod that has gone or changed
// since the violation was found shows no value, or the one that it has now.
func detailsOf(table *rules.Table, now evaluator.Lookup) func(state.PodViolation) rules.Detail {
	return func(v state.PodViolation) rules.Detail {
		_, json, ok := now(v.Pod)
		if !ok {
			return rules.Detail{}
		}
		return table.Detail(json, v.Violation)
	}
}
