package evaluator

import (
	"time"

	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/state"
)

// An adoption is what to log about a state that was just made the one to publish.
type adoption struct {
	before, after *state.Snapshot // at the moment of the change; before is nil where there was no state
	failures      []state.Failure
	took          time.Duration
}

// adopt makes a complete state the one to publish, and its policy the one in force. The term is held.
func (e *Evaluator) adopt(whole *state.ClusterState, failures []state.Failure, took time.Duration) *adoption {
	a := &adoption{after: whole.Snapshot(), failures: failures, took: took}
	if before := e.Current(); before != nil {
		a.before = before.Snapshot()
	}
	e.metrics.whole.Set(took.Seconds())
	e.state.Store(whole)
	e.policy.Store(whole.Table())
	return a
}

// maxNamedFailures is how many pods without a verdict are named in the log when there are many at once.
const maxNamedFailures = 10

// logAdoption logs a summary of a state that was adopted, and what differs from the state before.
func (e *Evaluator) logAdoption(a *adoption) {
	for _, f := range a.failures[:min(len(a.failures), maxNamedFailures)] {
		e.logFailure(f.Pod, f.Err)
	}
	totals, violations := a.after.Totals(), 0
	for _, n := range totals.Violations {
		violations += n
	}
	fields := []zap.Field{
		zap.String("policy", a.after.Table.Name()),
		zap.Int("namespaces", len(a.after.Namespaces)),
		zap.Int("pods", totals.TotalPods),
		zap.Int("violations", violations),
		zap.Int("unevaluated", totals.Unevaluated),
		zap.Duration("took", a.took),
	}
	if scores, ok := a.after.Cluster(); ok {
		fields = append(fields, zap.Float64("score", scores.Score), zap.Float64("compliance", scores.Compliance),
			zap.String("grade", scores.Grade))
	}
	e.log.Info("all pods evaluated", fields...)
	if a.before != nil {
		e.logEffect(a.before, a.after)
	}
}
