package agent

import (
	"context"
	"iter"
	"runtime"
	"sync"
	"time"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

const (
	// fewChanges is how many pods that changed during a build may be evaluated while everything else waits.
	fewChanges = 16
	// mostRounds bounds the rounds that catch up with pods that change faster than they are evaluated.
	mostRounds = 5
)

// A build is a new state of all pods in the making. The pods go on changing meanwhile, and so do policy and lead: it holds
// no lock that they need, and ends with its context.
type build struct {
	ctx     context.Context // of the caller and of the term
	cancel  context.CancelFunc
	fresh   *state.ClusterState
	live    bool // changes are brought into the present state too
	started time.Time

	mu      sync.Mutex
	changed map[state.Pod]present // pods that changed since it began, named without their UID

	failures []state.Failure
	changes  []state.Change // not yet announced
}

// note records that a pod has changed. It may be in the new state in its form before.
func (b *build) note(name state.Pod, now present) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed[state.Pod{Namespace: name.Namespace, Name: name.Name}] = now
}

func (b *build) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.changed)
}

func (b *build) take() map[state.Pod]present {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := b.changed
	b.changed = make(map[state.Pod]present)
	return changed
}

// evaluate evaluates all pods, and then those that changed meanwhile, until only a few are left.
func (b *build) evaluate(pods iter.Seq[state.Observation]) {
	// Where ctx ends, what there is of it is dropped.
	b.failures, _ = b.fresh.Replace(b.ctx, runtime.GOMAXPROCS(0), pods)
	for range mostRounds {
		if b.ctx.Err() != nil || b.waiting() <= fewChanges {
			return
		}
		b.replay()
	}
}

// replay brings the present forms of the pods that changed into the new state.
func (b *build) replay() {
	for name, now := range b.take() {
		if b.ctx.Err() != nil {
			return
		}
		pod, json, ok := now(name)
		var t state.Transition
		var err error
		if ok {
			t, err = b.fresh.Observe(pod, json)
		} else {
			t = b.fresh.Delete(name)
		}
		if err != nil {
			b.failures = append(b.failures, state.Failure{Pod: pod, Err: err})
		} else if !b.live {
			b.changes = append(b.changes, state.Change{Pod: pod, Transition: t})
		}
	}
}

// rebuild evaluates all pods under a table, and makes that the state, in one step; or nothing, where ctx or the term ends
// before that: who has lost the lead must not be held up by the work for it. prepare is called first, while no pod is
// brought in, and returns the table, or nil where there is nothing to build. The error is that of ctx.
func (e *evaluator) rebuild(ctx context.Context, prepare func() *rules.Table, pods iter.Seq[state.Observation]) error {
	b, adopted, err := e.exchange(ctx, prepare, pods)
	if adopted == nil {
		return err
	}
	// Nothing is held here: a log that blocks must hold up neither pods nor the end of the term, nor the next build.
	e.logAdoption(adopted)
	for _, change := range b.changes {
		e.announce(b.fresh, change.Pod, change.Transition)
	}
	return nil
}

// exchange is rebuild without the log; the adoption is nil where nothing was adopted.
func (e *evaluator) exchange(
	ctx context.Context, prepare func() *rules.Table, pods iter.Seq[state.Observation],
) (*build, *adoption, error) {
	select {
	case e.building <- struct{}{}:
		defer func() { <-e.building }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	b := e.startBuild(ctx, prepare)
	if b == nil {
		return nil, nil, nil
	}
	defer b.cancel()
	b.evaluate(pods)
	return b, e.finishBuild(b), ctx.Err()
}

func (e *evaluator) startBuild(ctx context.Context, prepare func() *rules.Table) *build {
	e.term.Lock()
	defer e.term.Unlock()
	table := prepare()
	if table == nil {
		return nil
	}
	b := &build{
		fresh: state.New(table), started: time.Now(), changed: make(map[state.Pod]present),
		live: e.current() != nil && !e.halted,
	}
	ctx, cancel := context.WithCancel(ctx)
	b.ctx, b.cancel = ctx, cancel
	if e.lead != nil {
		unhook := context.AfterFunc(e.lead, cancel)
		b.cancel = func() { unhook(); cancel() }
	}
	b.fresh.ExpireWaivers(b.started)
	e.build = b
	return b
}

// finishBuild adopts what was built; it returns nil where the context ended before that.
func (e *evaluator) finishBuild(b *build) *adoption {
	e.term.Lock()
	defer e.term.Unlock()
	b.replay()
	if e.build != b || b.ctx.Err() != nil {
		e.build = nil
		return nil
	}
	e.build, e.halted = nil, false
	// The present state may have moved on, and a waiver that has expired must not come back.
	b.fresh.ExpireWaivers(time.Now())
	e.metrics.failures.Add(float64(len(b.failures)))
	return e.adopt(b.fresh, b.failures, time.Since(b.started))
}

// settled is the state that is kept up to date; nil where there is none, or another one is built.
func (e *evaluator) settled() *state.ClusterState {
	e.term.RLock()
	defer e.term.RUnlock()
	if e.build != nil || e.halted {
		return nil
	}
	return e.current()
}
