package evaluator

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// An Evaluator brings pods into the state, and logs what changed. It is safe for concurrent use.
type Evaluator struct {
	// Publish asks for permission to log violations; nil where there are no other replicas. It is set before the first term.
	Publish PublishFunc
	// Changed is called for each change in the violations of a pod, with the term held: no call is late for its term. It must be
	// quick, and must not call the evaluator. It is set before the first term; nil for none.
	Changed func(Change)

	log     *zap.Logger
	metrics *metrics
	events  *eventLog

	// term is held for reading while one pod is brought in, and for writing while the whole state is exchanged or dropped.
	// Nothing is logged while it is held.
	term   sync.RWMutex
	policy atomic.Pointer[rules.Table]
	state  atomic.Pointer[state.ClusterState]
	// ended is closed at the end of the term; nil outside of one. It, build and frozen are guarded by term.
	ended <-chan struct{}
	build *build // the state in the making; nil for none
	// frozen: the cache has the pods in the form that another policy needs, so the present state takes no more changes.
	frozen   bool
	building chan struct{} // has one slot: one build at a time
}

// New returns an evaluator outside of a term.
func New(table *rules.Table, log *zap.Logger, reg prometheus.Registerer) *Evaluator {
	e := &Evaluator{log: log, metrics: newMetrics(reg), events: newEventLog(log), building: make(chan struct{}, 1)}
	e.policy.Store(table)
	return e
}

// Table returns the policy in force.
func (e *Evaluator) Table() *rules.Table { return e.policy.Load() }

// Current returns the state to publish; nil outside of a term, and until the state is complete.
func (e *Evaluator) Current() *state.ClusterState { return e.state.Load() }

// Begin begins a term, which lasts until ctx is done and End is called. It evaluates all pods and makes that the state.
func (e *Evaluator) Begin(ctx context.Context, pods iter.Seq[state.Observation]) {
	e.term.Lock()
	e.ended = ctx.Done()
	e.term.Unlock()
	_ = e.rebuild(ctx, e.Table, pods) // the error is that of ctx: the term has ended
}

// End drops the state.
func (e *Evaluator) End() {
	e.term.Lock()
	defer e.term.Unlock()
	e.state.Store(nil)
	e.ended, e.build, e.frozen = nil, nil, false
}

// SetPolicy puts another policy in force. In a term it evaluates all pods under it, and exchanges the state in one step:
// nothing that is published mixes the two. If swap is not nil, it is called once before the evaluation, and changes the form
// in which pods and Lookup (of Update) give the pods; the present state takes no changes from then on. If ctx ends before
// the change begins, nothing changes and SetPolicy returns the error.
func (e *Evaluator) SetPolicy(ctx context.Context, table *rules.Table, swap func(), pods iter.Seq[state.Observation]) error {
	return e.rebuild(ctx, func() *rules.Table {
		e.policy.Store(table)
		if swap != nil {
			swap()
		}
		if e.ended == nil {
			return nil
		}
		e.frozen = e.frozen || swap != nil
		return table
	}, pods)
}

// Adopt makes a state that was built elsewhere the one to publish, and its policy the one in force.
func (e *Evaluator) Adopt(whole *state.ClusterState, took time.Duration) {
	e.term.Lock()
	adopted := e.adopt(whole, nil, took)
	e.term.Unlock()
	e.logAdoption(adopted)
}

// A Change is a change in the violations of a pod, and the table that they are of.
type Change struct {
	state.Change
	Table *rules.Table
	// JSON is the form of the pod that was evaluated; nil for a pod that has gone, and if a waiver has expired.
	JSON []byte
	// Expired says that a waiver has expired, and the pod is the same.
	Expired bool
}

func (e *Evaluator) changed(c Change) {
	if e.Changed != nil && c.Transition.Changed() {
		e.Changed(c)
	}
}

// A Lookup returns the present form of a pod, if there is one.
type Lookup func(name state.Pod) (pod state.Pod, json []byte, ok bool)

// Update brings in the present form of a pod, or removes the pod where there is none.
func (e *Evaluator) Update(ctx context.Context, name state.Pod, lookup Lookup) {
	st, pod, transition, err := e.update(name, lookup)
	if err != nil {
		// The earlier violations are not resolved: what the pod violates now is unknown.
		e.metrics.failures.Inc()
		e.logFailure(pod, err)
		return
	}
	e.events.add(ctx, e.Publish, st, pod, transition)
}

// update changes the state, and returns it; nothing changes where there is none. It looks the pod up within the term, so
// that a form that was kept for one policy is never evaluated under another.
func (e *Evaluator) update(name state.Pod, lookup Lookup) (*state.ClusterState, state.Pod, state.Transition, error) {
	e.term.RLock()
	defer e.term.RUnlock()
	if e.build != nil {
		e.build.note(name, lookup)
	}
	st := e.Current()
	if st == nil || e.frozen {
		return nil, name, state.Transition{}, nil
	}
	pod, json, ok := lookup(name)
	if !ok {
		transition := st.Delete(name)
		e.changed(Change{Change: state.Change{Pod: name, Transition: transition}, Table: st.Table()})
		return st, name, transition, nil
	}
	started := time.Now()
	transition, err := st.Observe(pod, json)
	e.metrics.each.Observe(time.Since(started).Seconds())
	if err == nil {
		e.changed(Change{Change: state.Change{Pod: pod, Transition: transition}, Table: st.Table(), JSON: json})
	}
	return st, pod, transition, err
}

func (e *Evaluator) logFailure(pod state.Pod, err error) {
	e.log.Warn("pod cannot be evaluated and is not counted",
		zap.String("namespace", pod.Namespace), zap.String("pod", pod.Name), zap.Error(err))
}

// Run advances the state to the present until ctx is done, so that violations count again when their waivers expire, and
// logs pending events.
func (e *Evaluator) Run(ctx context.Context) error {
	// A timer alone is not enough: the wall clock may be set.
	const period = time.Second
	for {
		wait := period
		if st := e.Current(); st != nil {
			if next, ok := st.NextExpiry(); ok {
				wait = max(0, min(period, time.Until(next)))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
			e.expire(ctx, time.Now())
			e.events.flush(ctx, e.Publish, e.Current())
		}
	}
}

// expire lets the waivers expire whose time has come.
func (e *Evaluator) expire(ctx context.Context, now time.Time) {
	st, changes := e.advance(now)
	for _, change := range changes {
		e.events.add(ctx, e.Publish, st, change.Pod, change.Transition)
	}
}

func (e *Evaluator) advance(now time.Time) (*state.ClusterState, []state.Change) {
	e.term.RLock()
	defer e.term.RUnlock()
	st := e.Current()
	if st == nil {
		return nil, nil
	}
	changes := st.ExpireWaivers(now)
	for _, change := range changes {
		e.changed(Change{Change: change, Table: st.Table(), Expired: true})
	}
	return st, changes
}
