package agent

import (
	"github.com/kube-devops/kube-devops/agent/evaluator"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// detailsOf returns a function that finds the details of violations in the present forms of their pods. It reads a pod once
// for violations of it that follow each other. If a pod has changed since it was evaluated, the details are those of its
// present form. Those of a pod that is gone are withheld, and all those of a recording, whose pods the agent does not keep.
func detailsOf(table *rules.Table, lookup evaluator.Lookup) func(state.PodViolation) rules.Detail {
	var pod state.Pod
	var details []rules.Detail // of the pod
	return func(v state.PodViolation) rules.Detail {
		if pod != v.Pod {
			pod, details = v.Pod, details[:0]
			if _, json, ok := lookup(pod); ok {
				details = table.Details(details, json, v.Verdict)
			}
		}
		if v.Index >= len(details) {
			return rules.Detail{Withheld: true}
		}
		return details[v.Index]
	}
}
