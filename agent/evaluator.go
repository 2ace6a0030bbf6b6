package agent

import (
	"context"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/server"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// An evaluator brings pods into the state, and tells the log what changed. While this replica does not lead it has no
// state, and pods pass it by.
type evaluator struct {
	table   *rules.Table
	log     *zap.Logger
	metrics *evaluationMetrics
	// publish asks for the permission to log violations; nil where nobody else could.
	publish server.PublishFunc

	// term is held for reading while one pod is brought in, and for writing while the whole state is made or dropped.
	// A pod that changes while the state is made waits, and is then looked at again in its latest form.
	term  sync.RWMutex
	state atomic.Pointer[state.ClusterState]
}

// current is the state that may be published, nil where there is none: on a standby, and until it is whole.
func (e *evaluator) current() *state.ClusterState { return e.state.Load() }

// begin evaluates all pods and makes that the state, in one step.
func (e *evaluator) begin(pods iter.Seq[state.Observation]) {
	e.term.Lock()
	defer e.term.Unlock()
	started := time.Now()
	fresh := state.New(e.table)
	failures := fresh.Replace(runtime.GOMAXPROCS(0), pods)
	e.metrics.failures.Add(float64(len(failures)))
	for _, f := range failures[:min(len(failures), maxNamedFailures)] {
		e.failed(f.Pod, f.Err)
	}
	e.adopt(fresh, time.Since(started))
}

// maxNamedFailures is how many pods without a verdict are named in the log when there are many at once.
const maxNamedFailures = 10

// adopt makes a whole state the one to publish, and logs one summary of it.
func (e *evaluator) adopt(whole *state.ClusterState, took time.Duration) {
	e.metrics.whole.Set(took.Seconds())
	e.state.Store(whole)
	snap := whole.Snapshot()
	totals, violations := snap.Totals(), 0
	for _, n := range totals.Violations {
		violations += n
	}
	fields := []zap.Field{
		zap.String("policy", e.table.Name()),
		zap.Int("namespaces", len(snap.Namespaces)),
		zap.Int("pods", totals.TotalPods),
		zap.Int("violations", violations),
		zap.Int("unevaluated", totals.Unevaluated),
		zap.Duration("took", took),
	}
	if scores, ok := snap.Cluster(); ok {
		fields = append(fields, zap.Float64("score", scores.Score), zap.Float64("compliance", scores.Compliance),
			zap.String("grade", scores.Grade))
	}
	e.log.Info("all pods evaluated", fields...)
}

// end drops the state.
func (e *evaluator) end() {
	e.term.Lock()
	defer e.term.Unlock()
	e.state.Store(nil)
}

// apply brings one pod in.
func (e *evaluator) apply(pod state.Pod, json []byte) {
	e.term.RLock()
	defer e.term.RUnlock()
	st := e.current()
	if st == nil {
		return
	}
	started := time.Now()
	transition, err := st.Observe(pod, json)
	e.metrics.each.Observe(time.Since(started).Seconds())
	if err != nil {
		e.metrics.failures.Inc()
		e.failed(pod, err)
	}
	e.announce(pod, transition)
}

// remove takes one pod out.
func (e *evaluator) remove(pod state.Pod) {
	e.term.RLock()
	defer e.term.RUnlock()
	if st := e.current(); st != nil {
		e.announce(pod, st.Delete(pod))
	}
}

func (e *evaluator) failed(pod state.Pod, err error) {
	e.log.Warn("pod cannot be evaluated and is not counted",
		zap.String("namespace", pod.Namespace), zap.String("pod", pod.Name), zap.Error(err))
}

// announce logs what changed in the violations of a pod.
func (e *evaluator) announce(pod state.Pod, t state.Transition) {
	if !t.Changed() {
		return
	}
	write := func(context.Context) error {
		if len(t.Before) > 0 && (t.Recreated || len(t.After) == 0) {
			e.event("policy violation resolved", "policy_violation_resolved", pod, t.Before)
		}
		if len(t.After) > 0 {
			e.event("policy violation", "policy_violation", pod, t.After)
		}
		return nil
	}
	if e.publish == nil {
		_ = write(context.Background())
		return
	}
	// Without permission this replica has no voice; who leads looks at all pods anew.
	_ = e.publish(context.Background(), write)
}

func (e *evaluator) event(message, event string, pod state.Pod, checks []int) {
	ids := make([]string, len(checks))
	for i, check := range checks {
		ids[i] = e.table.Checks()[check].ID
	}
	e.log.Info(message, zap.String("event", event), zap.String("namespace", pod.Namespace),
		zap.String("pod", pod.Name), zap.Strings("violations", ids))
}
