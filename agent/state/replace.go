package state

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/kube-devops/kube-devops/rules"
)

// An Observation is one pod and its JSON, for Replace.
type Observation struct {
	Pod
	JSON []byte
}

// A Failure is a pod that could not be evaluated, and why.
type Failure struct {
	Pod
	Err error
}

// Replace makes the state exactly that of the pods, in one step at its end, and sets it ready: no snapshot shows a part. It
// evaluates on as many goroutines as workers says, at least one, and returns the pods that could not be evaluated, sorted.
// If a pod occurs twice the last one wins. The JSON must stay unchanged until Replace returns.
//
// When ctx is done, Replace stops after the pods that are being evaluated, changes nothing and returns the error of ctx.
func (s *ClusterState) Replace(ctx context.Context, workers int, pods iter.Seq[Observation]) ([]Failure, error) {
	fresh := New(s.table)
	fresh.now = s.time()
	failed := make(map[Pod]Failure)
	s.evaluateAll(ctx, max(1, workers), pods, func(e *evaluation) {
		name := Pod{Namespace: e.Namespace, Name: e.Name}
		if e.err != nil {
			fresh.put(e.Pod, internedVerdict{failed: true})
			failed[name] = Failure{e.Pod, e.err}
			return
		}
		fresh.put(e.Pod, newVerdict(e.verdict, nil))
		delete(failed, name)
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	failures := slices.SortedFunc(maps.Values(failed), func(a, b Failure) int { return a.compare(b.Pod) })
	s.mu.Lock()
	defer s.mu.Unlock()
	// The pods were counted for the time at the start of the list; the state may have moved on since.
	fresh.ExpireWaivers(s.now)
	s.namespaces, s.verdicts, s.expiries, s.skipped, s.ready = fresh.namespaces, fresh.verdicts, fresh.expiries, fresh.skipped, true
	return failures, nil
}

// An evaluation is a pod, and its verdict or error.
type evaluation struct {
	Observation
	verdict rules.Verdict
	err     error
}

// chunkSize is the number of pods that one worker evaluates between two synchronizations.
const chunkSize = 256

// evaluateAll evaluates the pods of the namespaces that the table includes, on several goroutines, and calls apply for each in
// their order, until ctx is done.
func (s *ClusterState) evaluateAll(ctx context.Context, workers int, pods iter.Seq[Observation], apply func(*evaluation)) {
	batch := make([]evaluation, 0, workers*chunkSize)
	flush := func() {
		var running sync.WaitGroup
		for chunk := range slices.Chunk(batch, max(1, (len(batch)+workers-1)/workers)) {
			running.Go(func() {
				for i := range chunk {
					if e := &chunk[i]; ctx.Err() == nil {
						e.err = evaluate(s.table, &e.verdict, e.JSON)
					}
				}
			})
		}
		running.Wait()
		if ctx.Err() == nil {
			for i := range batch {
				apply(&batch[i])
			}
		}
		batch = batch[:0]
	}
	for o := range pods {
		if ctx.Err() != nil {
			return
		}
		if !s.table.Includes(o.Namespace) {
			continue
		}
		// The memory of the verdict is reused: EvaluateInto overwrites it, and the state keeps a copy.
		n := len(batch)
		batch = batch[:n+1]
		batch[n].Observation = o
		if n+1 == cap(batch) {
			flush()
		}
	}
	flush()
}
