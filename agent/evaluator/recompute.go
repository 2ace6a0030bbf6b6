package evaluator

import (
	"context"
	"hash/maphash"
	"iter"
	"runtime"
	"time"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

// seed is that of the fingerprints of pods.
var seed = maphash.MakeSeed()

// Diverging compares the state with one computed from scratch, and returns the namespaces that differ, each with a
// fingerprint of its pods. A change that is on its way to the state makes a difference too. It returns nil while another
// state is built, and after the end of ctx.
func (e *Evaluator) Diverging(ctx context.Context, pods iter.Seq[state.Observation]) map[string]uint64 {
	st := e.settled()
	if st == nil {
		return nil
	}
	prints := make(map[string]uint64)
	fresh := state.New(st.Table())
	fresh.ExpireWaivers(time.Now())
	// The term is not held, so neither pods nor another policy wait for this.
	_, err := fresh.Replace(ctx, max(1, runtime.GOMAXPROCS(0)/2), func(yield func(state.Observation) bool) {
		for o := range pods {
			// A sum, because the pods come in no order.
			prints[o.Namespace] += maphash.Comparable(seed, o.Pod) ^ maphash.Bytes(seed, o.JSON)
			if !yield(o) {
				return
			}
		}
	})
	if err != nil || e.settled() != st { // the pods may have been in the form of another policy
		return nil
	}
	differ := make(map[string]uint64)
	for _, namespace := range st.Differences(fresh) {
		differ[namespace] = prints[namespace]
	}
	return differ
}

// settled returns the state that takes all changes; nil if there is none, or if another one is built.
func (e *Evaluator) settled() *state.ClusterState {
	e.term.RLock()
	defer e.term.RUnlock()
	if e.build != nil || e.frozen {
		return nil
	}
	return e.Current()
}

// Recompute evaluates all pods again, if there is a state, unless ctx or the term ends before that.
func (e *Evaluator) Recompute(ctx context.Context, pods iter.Seq[state.Observation]) error {
	return e.rebuild(ctx, func() *rules.Table {
		st := e.Current()
		if st == nil {
			return nil
		}
		return st.Table()
	}, pods)
}
