package agent

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
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

	// term is held for reading while one pod is brought in, and for writing while the whole state is exchanged or dropped.
	term   sync.RWMutex
	policy atomic.Pointer[rules.Table]
	state  atomic.Pointer[state.ClusterState]
	// lead is the context of the term; nil outside of one. It, build and halted are guarded by term.
	lead  context.Context
	build *build // the state that is being made; nil for none
	// halted: the pods of the cache have the form that another policy needs, so that none is brought into the present state.
	halted   bool
	building chan struct{} // holds an element while a state is made: one at a time

	// voice is held while events are logged. It is never taken with the term held.
	voice  sync.Mutex
	untold map[state.Pod]news // of pods without UID: what could not be logged when it happened
	limit  *eventLimit        // of pods without UID
}

func newEvaluator(table *rules.Table, log *zap.Logger, m *evaluationMetrics) *evaluator {
	e := &evaluator{
		log: log, metrics: m, untold: make(map[state.Pod]news), building: make(chan struct{}, 1), limit: newEventLimit(time.Now),
	}
	e.policy.Store(table)
	return e
}

// table is the policy in force.
func (e *evaluator) table() *rules.Table { return e.policy.Load() }

// current is the state that may be published, nil where there is none: on a standby, and until it is whole.
func (e *evaluator) current() *state.ClusterState { return e.state.Load() }

// begin begins a term, which lasts until ctx is done and end is called: it evaluates all pods and makes that the state.
func (e *evaluator) begin(ctx context.Context, pods iter.Seq[state.Observation]) {
	e.term.Lock()
	e.lead = ctx
	e.term.Unlock()
	_ = e.rebuild(ctx, e.table, pods) // it fails where the term ends, and then there is nothing to do
}

// retable puts another policy in force. In a term all pods are evaluated anew, and old and new state change places in one
// step: nothing that is published is of both. Where swap is not nil it is called before that, once, and changes the form
// in which pods and present (of follow) give the pods: the present state stays as it is from then on. Where ctx ends before
// retable begins, nothing changes, and it returns the error.
func (e *evaluator) retable(ctx context.Context, table *rules.Table, swap func(), pods iter.Seq[state.Observation]) error {
	return e.rebuild(ctx, func() *rules.Table {
		e.policy.Store(table)
		if swap != nil {
			swap()
		}
		if e.lead == nil {
			return nil
		}
		e.halted = e.halted || swap != nil
		return table
	}, pods)
}

// adoptPolicy makes a state that was made elsewhere the one to publish, and its policy the one in force.
func (e *evaluator) adoptPolicy(whole *state.ClusterState, took time.Duration) {
	e.term.Lock()
	adopted := e.adopt(whole, nil, took)
	e.term.Unlock()
	// A log that blocks must hold up neither pods nor the end of the term.
	e.logAdoption(adopted)
}

// An adoption is what there is to tell of a state that was just made the one to publish.
type adoption struct {
	before, after *state.Snapshot // at the moment of the change; before is nil where there was none
	failures      []state.Failure
	took          time.Duration
}

// adopt makes a whole state the one to publish, and its policy the one in force. The term is held.
func (e *evaluator) adopt(whole *state.ClusterState, failures []state.Failure, took time.Duration) *adoption {
	a := &adoption{after: whole.Snapshot(), failures: failures, took: took}
	if before := e.current(); before != nil {
		a.before = before.Snapshot()
	}
	e.metrics.whole.Set(took.Seconds())
	e.state.Store(whole)
	e.policy.Store(whole.Table())
	return a
}

// maxNamedFailures is how many pods without a verdict are named in the log when there are many at once.
const maxNamedFailures = 10

// logAdoption logs one summary of a state that was adopted, if one was, and what is different from the one before.
func (e *evaluator) logAdoption(a *adoption) {
	if a == nil {
		return
	}
	for _, f := range a.failures[:min(len(a.failures), maxNamedFailures)] {
		e.failed(f.Pod, f.Err)
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

// end drops the state.
func (e *evaluator) end() {
	e.term.Lock()
	defer e.term.Unlock()
	e.state.Store(nil)
	e.lead, e.build, e.halted = nil, nil, false
}

// present gives the form that a pod has now, if there is one.
type present func(name state.Pod) (pod state.Pod, json []byte, ok bool)

// follow brings in the present form of a pod, or takes the pod out where there is none.
func (e *evaluator) follow(name state.Pod, now present) {
	st, pod, transition, err := e.bring(name, now)
	if err != nil {
		// What the pod failed before is not resolved: nobody knows what it fails now.
		e.metrics.failures.Inc()
		e.failed(pod, err)
		return
	}
	e.announce(st, pod, transition)
}

// bring changes the state as follow says, and returns the state; where there is none nothing has changed. It asks for
// the form of the pod within the term: a form that was kept for one policy is never evaluated under another.
func (e *evaluator) bring(name state.Pod, now present) (*state.ClusterState, state.Pod, state.Transition, error) {
	e.term.RLock()
	defer e.term.RUnlock()
	if e.build != nil {
		e.build.note(name, now)
	}
	st := e.current()
	if st == nil || e.halted {
		return nil, name, state.Transition{}, nil
	}
	pod, json, ok := now(name)
	if !ok {
		return st, name, st.Delete(name), nil
	}
	started := time.Now()
	transition, err := st.Observe(pod, json)
	e.metrics.each.Observe(time.Since(started).Seconds())
	return st, pod, transition, err
}

func (e *evaluator) failed(pod state.Pod, err error) {
	e.log.Warn("pod cannot be evaluated and is not counted",
		zap.String("namespace", pod.Namespace), zap.String("pod", pod.Name), zap.Error(err))
}

// news is what changed in the violations of a pod, and the state that says so.
type news struct {
	state.Transition
	of *state.ClusterState
}

// announce logs what changed in the violations of a pod. Without permission this replica has no voice, and what it has
// to say waits for catchUp.
func (e *evaluator) announce(st *state.ClusterState, pod state.Pod, t state.Transition) {
	if !t.Changed() {
		return // what waits is told later, and is right as it is
	}
	e.voice.Lock()
	defer e.voice.Unlock()
	pod.UID = ""
	if waiting, ok := e.untold[pod]; ok && waiting.of == st {
		t.Before, t.Recreated = waiting.Before, waiting.Recreated || t.Recreated
	}
	e.limit.changed(pod)
	err := e.speak(st, pod, t)
	if err == nil {
		delete(e.untold, pod)
		return
	}
	e.untold[pod] = news{t, st}
	if !errors.Is(err, errManyEvents) {
		e.limit.uncount(pod) // without permission changes are merged, and none of them is suppressed
	}
}

// catchUp tells what could not be told, as one change of each pod. What is of an earlier state is dropped: the summary of
// the one that took its place has told of it, or, when the term has ended, that of who leads next.
func (e *evaluator) catchUp() {
	e.voice.Lock()
	defer e.voice.Unlock()
	current := e.current()
	maps.DeleteFunc(e.untold, func(_ state.Pod, n news) bool { return n.of != current })
	byName := func(a, b state.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	}
	for _, pod := range slices.SortedFunc(maps.Keys(e.untold), byName) {
		switch err := e.speak(current, pod, e.untold[pod].Transition); {
		case err == nil:
			delete(e.untold, pod)
		case !errors.Is(err, errManyEvents): // no permission, which no other pod has either
			return
		}
	}
}

// speak logs what changed in the violations of a pod, if it may. The voice is held, so that of two changes of a pod the
// later is told later.
func (e *evaluator) speak(st *state.ClusterState, pod state.Pod, t state.Transition) error {
	if !t.Changed() {
		return nil
	}
	resolved, violated := len(t.Before) > 0 && (t.Recreated || len(t.After) == 0), len(t.After) > 0
	events := 1
	if resolved && violated {
		events = 2
	}
	if !e.limit.allows(pod, events) {
		return errManyEvents
	}
	write := func(context.Context) error {
		suppressed := e.limit.logged(pod, events)
		if resolved {
			e.event(st, "policy violation resolved", "policy_violation_resolved", pod, t.Before, suppressed)
			suppressed = 0
		}
		if violated {
			e.event(st, "policy violation", "policy_violation", pod, t.After, suppressed)
		}
		return nil
	}
	if e.publish == nil {
		return write(context.Background())
	}
	return e.publish(context.Background(), write)
}

// event logs one event. Suppressed is how many changes of the pod before it were not logged.
func (e *evaluator) event(st *state.ClusterState, message, event string, pod state.Pod, checks []int, suppressed int) {
	ids := make([]string, len(checks))
	for i, check := range checks {
		ids[i] = st.Table().Checks()[check].ID
	}
	fields := []zap.Field{zap.String("event", event), zap.String("namespace", pod.Namespace),
		zap.String("pod", pod.Name), zap.Strings("violations", ids)}
	if suppressed > 0 {
		fields = append(fields, zap.Int("suppressed", suppressed))
	}
	e.log.Info(message, fields...)
}

// expire keeps the moment of the state at the present, so that violations count again when their waivers expire, and
// tells what could not be told when it happened.
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
			e.catchUp()
		}
	}
}

func (e *evaluator) advance(now time.Time) {
	st, changes := e.pass(now)
	for _, change := range changes {
		e.announce(st, change.Pod, change.Transition)
	}
}

// pass moves the moment of the state, where there is one.
func (e *evaluator) pass(now time.Time) (*state.ClusterState, []state.Change) {
	e.term.RLock()
	defer e.term.RUnlock()
	st := e.current()
	if st == nil {
		return nil, nil
	}
	return st, st.ExpireWaivers(now)
}
