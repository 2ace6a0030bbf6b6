package state

import (
	"context"
	"iter"
	"sync"

	"github.com/kube-devops/kube-devops/rules"
)

// A batch is some pods on their way through evaluation.
type batch struct {
	pods     []Observation
	verdicts []rules.Verdict
	errs     []error
	done     chan struct{} // closed when the batch is evaluated
}

const batchSize = 128

// evaluateAll evaluates pods on several goroutines and calls apply with batches of them, in the order in which they
// came. Pods of namespaces that the table leaves out are dropped. When ctx is done it ends after the pods at hand.
func (s *ClusterState) evaluateAll(ctx context.Context, workers int, pods iter.Seq[Observation], apply func(*batch)) {
	todo := make(chan *batch)
	inOrder := make(chan *batch, 2*workers)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for b := range todo {
				s.evaluateBatch(ctx, b)
			}
		})
	}
	running.Go(func() {
		defer close(inOrder)
		defer close(todo)
		send := func(b *batch) {
			b.done = make(chan struct{})
			inOrder <- b
			todo <- b
		}
		b := new(batch)
		for o := range pods {
			if ctx.Err() != nil {
				break
			}
			if !s.table.Includes(o.Namespace) {
				continue
			}
			if b.pods = append(b.pods, o); len(b.pods) == batchSize {
				send(b)
				b = new(batch)
			}
		}
		if len(b.pods) > 0 {
			send(b)
		}
	})
	for b := range inOrder {
		<-b.done
		if ctx.Err() == nil {
			apply(b)
		}
	}
	running.Wait()
}

func (s *ClusterState) evaluateBatch(ctx context.Context, b *batch) {
	defer close(b.done)
	b.verdicts = make([]rules.Verdict, len(b.pods))
	b.errs = make([]error, len(b.pods))
	for i, o := range b.pods {
		if ctx.Err() != nil {
			return
		}
		b.errs[i] = evaluate(s.table, &b.verdicts[i], o.JSON)
	}
}
