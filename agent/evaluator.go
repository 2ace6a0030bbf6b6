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
	log     *zap.Logger
	metrics *evaluationMetrics
	// publish asks for the permission to log violations; nil where nobody else could.
	publish server.PublishFunc

	// term is held for reading while one pod is brought in, and for writing while the whole state is made or dropped.
	// A pod that changes while the state is made waits, and is then looked at again in its latest form.
	term   sync.RWMutex
	policy atomic.Pointer[rules.Table]
	state  atomic.Pointer[state.ClusterState]
}

func newEvaluator(table *rules.Table, log *zap.Logger, m *evaluationMetrics) *evaluator {
	e := &evaluator{log: log, metrics: m}
	e.policy.Store(table)
	return e
}

// table is the policy in force.
func (e *evaluator) table() *rules.Table { return e.policy.Load() }

// current is the state that may be published, nil where there is none: on a standby, and until it is whole.
func (e *evaluator) current() *state.ClusterState { return e.state.Load() }

// begin evaluates all pods and makes that the state, in one step.
func (e *evaluator) begin(pods iter.Seq[state.Observation]) {
	e.term.Lock()
	defer e.term.Unlock()
	e.rebuild(e.table(), pods)
}

// retable puts another policy in force. Where there is a state, all pods are evaluated anew, and old and new change
// places in one step: nothing that is published is of both.
func (e *evaluator) retable(table *rules.Table, pods iter.Seq[state.Observation]) {
	e.term.Lock()
	defer e.term.Unlock()
	if before := e.current(); before != nil {
		e.rebuild(table, pods)
		e.logEffect(before.Snapshot(), e.current().Snapshot())
	}
	e.policy.Store(table)
}

// rebuild makes a state of all pods under a table and adopts it. The term is held.
func (e *evaluator) rebuild(table *rules.Table, pods iter.Seq[state.Observation]) {
	started := time.Now()
	fresh := state.New(table)
	fresh.Advance(started)
	failures := fresh.Replace(runtime.GOMAXPROCS(0), pods)
	e.metrics.failures.Add(float64(len(failures)))
	for _, f := range failures[:min(len(failures), maxNamedFailures)] {
		e.failed(f.Pod, f.Err)
	}
	e.adopt(fresh, time.Since(started))
}

// adoptPolicy makes a state that was made elsewhere the one to publish, and its policy the one in force.
func (e *evaluator) adoptPolicy(whole *state.ClusterState, took time.Duration) {
	e.term.Lock()
	defer e.term.Unlock()
	before := e.current()
	e.adopt(whole, took)
	if before != nil {
		e.logEffect(before.Snapshot(), whole.Snapshot())
	}
	e.policy.Store(whole.Table())
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
		zap.String("policy", whole.Table().Name()),
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
		// What the pod failed before is not resolved: nobody knows what it fails now.
		e.metrics.failures.Inc()
		e.failed(pod, err)
		return
	}
	e.announce(st, pod, transition)
}

// remove takes one pod out.
func (e *evaluator) remove(pod state.Pod) {
	e.term.RLock()
	defer e.term.RUnlock()
	if st := e.current(); st != nil {
		e.announce(st, pod, st.Delete(pod))
	}
}

func (e *evaluator) failed(pod state.Pod, err error) {
	e.log.Warn("pod cannot be evaluated and is not counted",
		zap.String("namespace", pod.Namespace), zap.String("pod", pod.Name), zap.Error(err))
}

// announce logs what changed in the violations of a pod.
func (e *evaluator) announce(st *state.ClusterState, pod state.Pod, t state.Transition) {
	if !t.Changed() {
		return
	}
	write := func(context.Context) error {
		if len(t.Before) > 0 && (t.Recreated || len(t.After) == 0) {
			e.event(st, "policy violation resolved", "policy_violation_resolved", pod, t.Before)
		}
		if len(t.After) > 0 {
			e.event(st, "policy violation", "policy_violation", pod, t.After)
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

func (e *evaluator) event(st *state.ClusterState, message, event string, pod state.Pod, checks []int) {
	ids := make([]string, len(checks))
	for i, check := range checks {
		ids[i] = st.Table().Checks()[check].ID
	}
	e.log.Info(message, zap.String("event", event), zap.String("namespace", pod.Namespace),
		zap.String("pod", pod.Name), zap.Strings("violations", ids))
}

// expire keeps the moment of the state at the present, so that violations count again when their waivers expire.
func (e *evaluator) expire(ctx context.Context) error {
	// The wall clock may be set, so that it is looked at each second, and not only when a timer says so.
	const look = time.Second
	for {
		wait := look
		if st := e.current(); st != nil {
			if next, ok := st.NextExpiry(); ok {
				wait = max(0, min(look, time.Until(next)))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
			e.advance(time.Now())
		}
	}
}

func (e *evaluator) advance(now time.Time) {
	e.term.RLock()
	defer e.term.RUnlock()
	if st := e.current(); st != nil {
		for _, change := range st.Advance(now) {
			e.announce(st, change.Pod, change.Transition)
		}
	}
}
