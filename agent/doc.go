// Package agent is kube-devops in a cluster. It composes the rooms below it (the watch of pods, the evaluator and its state,
// the election, the audit, the policy source, the HTTP endpoints), and is the only package that knows all of them.
//
// It takes no part in what a room decides: whether a pod violates the policy, who leads, or who may read a page.
package agent
