package evaluator

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

// A build is a new state of all pods in the making. Meanwhile pods, policy and leadership go on changing: a build holds no
// lock that they need, and ends with its context.
type build struct {
	fresh   *state.ClusterState
	live    bool // changes are brought into the present state too
	started time.Time

	mu      sync.Mutex
	changed map[state.Pod]Lookup // pods that changed since the start, named without their UID

	failures []state.Failure
	changes  []Change // not logged yet
}

// note records that a pod has changed. The new state may have it in its earlier form.
func (b *build) note(name state.Pod, lookup Lookup) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed[state.Pod{Namespace: name.Namespace, Name: name.Name}] = lookup
}

func (b *build) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.changed)
}

func (b *build) take() map[state.Pod]Lookup {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := b.changed
	b.changed = make(map[state.Pod]Lookup)
	return changed
}

// evaluate evaluates all pods, and then those that changed meanwhile, until only a few are left.
func (b *build) evaluate(ctx context.Context, pods iter.Seq[state.Observation]) {
	b.failures, _ = b.fresh.Replace(ctx, runtime.GOMAXPROCS(0), pods) // finish looks at ctx
	for range mostRounds {
		if ctx.Err() != nil || b.waiting() <= fewChanges {
			return
		}
		b.replay(ctx)
	}
}

// replay brings the present forms of the pods that changed into the new state.
func (b *build) replay(ctx context.Context) {
	for name, lookup := range b.take() {
		if ctx.Err() != nil {
			return
		}
		pod, json, ok := lookup(name)
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
			b.changes = append(b.changes, Change{Change: state.Change{Pod: pod, Transition: t}, Table: b.fresh.Table(), JSON: json})
		}
	}
}

// rebuild evaluates all pods under a table, and makes that the state in one step; or does nothing if ctx or the term ends
// before that: a replica that lost the lead must not be held up by the work for it. prepare is called first, while no pod is
// brought in, and returns the table, or nil where there is nothing to build. The error is that of ctx.
func (e *Evaluator) rebuild(ctx context.Context, prepare func() *rules.Table, pods iter.Seq[state.Observation]) error {
	b, adopted, err := e.exchange(ctx, prepare, pods)
	if adopted == nil {
		return err
	}
	// Nothing is held here: a log that blocks must hold up neither pods nor the end of the term, nor the next build.
	e.logAdoption(adopted)
	for _, change := range b.changes {
		e.events.add(ctx, e.Publish, b.fresh, change.Pod, change.Transition)
	}
	return nil
}

// exchange is rebuild without the log; the adoption is nil where nothing was adopted.
func (e *Evaluator) exchange(
	ctx context.Context, prepare func() *rules.Table, pods iter.Seq[state.Observation],
) (*build, *adoption, error) {
	select {
	case e.building <- struct{}{}:
		defer func() { <-e.building }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	b, termEnded := e.startBuild(prepare)
	if b == nil {
		return nil, nil, nil
	}
	build, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-termEnded:
			cancel()
		case <-build.Done():
		}
	}()
	b.evaluate(build, pods)
	return b, e.finishBuild(build, b), ctx.Err()
}

func (e *Evaluator) startBuild(prepare func() *rules.Table) (b *build, termEnded <-chan struct{}) {
	e.term.Lock()
	defer e.term.Unlock()
	table := prepare()
	if table == nil {
		return nil, nil
	}
	e.build = &build{
		fresh: state.New(table), started: time.Now(), changed: make(map[state.Pod]Lookup),
		live: e.Current() != nil && !e.frozen,
	}
	e.build.fresh.ExpireWaivers(e.build.started)
	return e.build, e.ended
}

// finishBuild adopts what was built; it returns nil if the context ended before that.
func (e *Evaluator) finishBuild(ctx context.Context, b *build) *adoption {
	e.term.Lock()
	defer e.term.Unlock()
	b.replay(ctx)
	if e.build != b || ctx.Err() != nil {
		e.build = nil
		return nil
	}
	e.build, e.frozen = nil, false
	// The present state may have moved on, and a waiver that has expired must not come back.
	b.fresh.ExpireWaivers(time.Now())
	e.metrics.failures.Add(float64(len(b.failures)))
	adopted := e.adopt(b.fresh, b.failures, time.Since(b.started))
	for _, change := range b.changes {
		e.changed(change)
	}
	return adopted
}
