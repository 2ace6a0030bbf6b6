package scan

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

const (
	// batchBytes is the size at which a batch is sent. It fits the cache of a core.
	batchBytes = 256 << 10
	// batchPods is the number of pods at which a batch is sent.
	batchPods = 256
)

// batch is a batch of pods to be evaluated, with the line of an item that was left out after them.
type batch struct {
	text      []byte
	reduced   []byte // the pods with owners, reduced to what is read later
	details   []report.Detail
	describer describer
	admission []vap.Selection
	seed      maphash.Seed // for the hashes of owners
	pods      []batchedPod
	leftOut   string
	done      chan struct{} // receives when the batch is evaluated
}

// batchedPod is one pod of a batch, and its verdict.
type batchedPod struct {
	dump.Event // without its JSON
	from       *source
	end        int    // of its text in that of the batch
	counts     bool   // its namespace is not excluded
	excludedBy string // the pattern of the policy that excludes its namespace
	judged
	admission []judged // one for each selection
	err       error
	owner     rules.Workload // of a recorded pod that has violations
	ownerHash uint64         // of its workload in a cluster; 0 if it has none
	waiveLine int            // of the annotation, if its waivers have mistakes
	unnamed   bool           // of a manifest: no container has a name
	patch     bool           // a part of a manifest
}

// judged is the verdict of a pod with the details of its violations.
type judged struct {
	verdict rules.Verdict
	details []report.Detail
}

// violates reports whether the verdict has violations or mistakes that reports show.
func (j *judged) violates() bool { return len(j.verdict.Violations) > 0 || len(j.verdict.Mistakes) > 0 }

// pipeline evaluates pods in parallel and puts them into the state in order.
type pipeline struct {
	ctx     context.Context //nolint:containedctx // of the scan; the readers that call send have no other one
	scan    *scan
	filling *batch
	free    chan *batch
	todo    chan *batch
	inOrder chan *batch
	running sync.WaitGroup
}

func (s *scan) newPipeline(ctx context.Context) *pipeline {
	workers := max(1, s.options.Workers)
	n := 2*workers + 2
	p := &pipeline{ctx: ctx, scan: s, free: make(chan *batch, n), todo: make(chan *batch, n), inOrder: make(chan *batch, n)}
	for range n {
		p.free <- &batch{done: make(chan struct{}, 1), admission: s.options.Admission, seed: s.podsOf.seed}
	}
	for range workers {
		p.running.Go(func() {
			for b := range p.todo {
				b.evaluate(s.options.Table, s.projection)
				b.done <- struct{}{}
			}
		})
	}
	p.running.Go(func() {
		for b := range p.inOrder {
			<-b.done
			s.merge(b)
			b.reset()
			p.free <- b
		}
	})
	return p
}

// send adds an event to the batch that is being filled.
func (p *pipeline) send(from *source, e dump.Event) error {
	b, err := p.batch()
	if err != nil {
		return err
	}
	if e.Op == dump.Apply {
		b.text = append(b.text, e.JSON...)
	}
	e.JSON = nil
	if len(b.pods) < cap(b.pods) { // reuse the memory of the verdict
		b.pods = b.pods[:len(b.pods)+1]
	} else {
		b.pods = append(b.pods, batchedPod{})
	}
	pod := &b.pods[len(b.pods)-1]
	pod.Event, pod.from, pod.end, pod.err = e, from, len(b.text), nil
	pod.excludedBy, pod.counts = p.scan.options.includes(e.Namespace)
	if len(b.text) >= batchBytes || len(b.pods) >= batchPods {
		p.flush()
	}
	return nil
}

// batch returns the batch that is being filled.
func (p *pipeline) batch() (*batch, error) {
	if p.filling != nil {
		return p.filling, nil
	}
	select {
	case <-p.ctx.Done():
		return nil, context.Cause(p.ctx)
	case p.filling = <-p.free:
		return p.filling, nil
	}
}

// leaveOut sends the line of an error through the pipeline, to keep the order.
func (p *pipeline) leaveOut(err error) {
	b, stopped := p.batch()
	if stopped != nil {
		return
	}
	b.leftOut = leftOut(err)
	p.flush()
}

// flush sends the batch that is being filled. It does not block: the channels have room for all batches.
func (p *pipeline) flush() {
	if b := p.filling; b != nil {
		p.filling = nil
		p.inOrder <- b
		p.todo <- b
	}
}

// close waits until all batches are in the state.
func (p *pipeline) close() {
	p.flush()
	close(p.todo)
	close(p.inOrder)
	p.running.Wait()
}

// reset empties a batch, and frees the memory of a large pod.
func (b *batch) reset() {
	if b.text = b.text[:0]; cap(b.text) > 4*batchBytes {
		b.text = nil
	}
	if b.reduced = b.reduced[:0]; cap(b.reduced) > batchBytes {
		b.reduced = nil
	}
	b.pods, b.details, b.leftOut = b.pods[:0], b.details[:0], ""
}

// evaluate finds the violations of the pods of a batch. It checks the JSON of excluded pods too: an error in one of them can hide the
// pods that follow.
func (b *batch) evaluate(table *rules.Table, projection *rules.Projection) {
	start := 0
	for i := range b.pods {
		p := &b.pods[i]
		text := b.text[start:p.end]
		start = p.end
		p.owner, p.ownerHash, p.unnamed, p.patch, p.details, p.waiveLine = rules.Workload{}, 0, false, false, nil, 0
		if p.Op == dump.Delete {
			continue
		}
		before := len(b.reduced)
		if kept := b.evaluatePod(p, text, table, projection); !kept {
			b.reduced = b.reduced[:before]
		}
	}
}

// evaluatePod reports whether the reduced pod is needed later.
func (b *batch) evaluatePod(p *batchedPod, text []byte, table *rules.Table, projection *rules.Projection) (kept bool) {
	before := len(b.reduced)
	// One pass checks the pod and extracts what the table reads.
	if b.reduced, p.err = projection.AppendTo(b.reduced, text); p.err != nil || !p.counts {
		return false
	}
	reduced := b.reduced[before:]
	if p.patch = p.isPatch(text); p.patch {
		return false
	}
	if p.err = table.EvaluateInto(&p.verdict, reduced); p.err != nil {
		return false
	}
	if p.Template || !p.Recorded && p.UID == "" {
		p.unnamed = !gjson.GetBytes(text, "spec.containers.0.name").Exists()
	}
	p.ownerHash = b.hashOwner(p, reduced)
	p.checkAnnotation(text, table)
	b.describe(p, &p.judged, table, text, reduced)
	if violates := b.judge(p, text, reduced, projection) || p.violates(); !violates || p.Template {
		return false
	}
	p.owner = rules.WorkloadOf(reduced)
	return true
}

// describe finds the details of the violations of a verdict.
func (b *batch) describe(p *batchedPod, j *judged, table *rules.Table, text, reduced []byte) {
	if !j.violates() {
		return
	}
	first := len(b.details)
	b.details = b.describer.describe(b.details, p, &j.verdict, table, text, reduced)
	j.details = b.details[first:len(b.details):len(b.details)]
}

// merge puts a batch into the state.
func (s *scan) merge(b *batch) {
	for i := range b.pods {
		if s.err != nil {
			return
		}
		s.apply(&b.pods[i])
	}
	if b.leftOut != "" {
		s.result.Inputs.Unreadable = append(s.result.Inputs.Unreadable, b.leftOut)
	}
}

func (s *scan) apply(p *batchedPod) {
	if p.err != nil && !s.keepGoing(p) {
		return
	}
	switch {
	case !p.counts:
		s.excluded.add(p)
		return
	case p.patch:
		s.note(withoutImage, p.title(), p.from)
		return
	}
	key, equal := s.identities.key(p)
	if equal {
		s.noteDuplicate(p, key, true)
		return
	}
	if p.Watched {
		key.UID = p.UID // a deletion must be of the same pod
	}
	if p.Op == dump.Delete {
		s.remove(p, key)
		return
	}
	if p.unnamed {
		s.note(withoutName, p.title(), p.from)
	}
	s.put(p, key)
}

func (s *scan) remove(p *batchedPod, key state.Pod) {
	if !s.state.Remove(key) {
		return
	}
	s.removeAdmission(key)
	*s.total(p)--
	key.UID = ""
	s.workloads.remove(key)
}

func (s *scan) put(p *batchedPod, key state.Pod) {
	var replaced bool
	if p.err != nil {
		replaced = s.state.PutFailed(key)
	} else {
		replaced = s.state.Put(key, p.verdict, s.origin(p, &p.judged, key))
	}
	s.putAdmission(p, key)
	key.UID = ""
	if !replaced {
		*s.total(p)++
		s.podsOf.put(p)
	} else if !p.Watched {
		s.noteDuplicate(p, key, false)
	}
	if p.Template {
		s.workloads.put(key, p)
	}
	s.files.put(p.from, key)
}

// total returns the counter of a pod.
func (s *scan) total(p *batchedPod) *int {
	if p.Template {
		return &s.result.Inputs.Templates
	}
	return &s.result.Inputs.Pods
}

// keepGoing reports whether to continue after a pod that cannot be evaluated.
func (s *scan) keepGoing(p *batchedPod) bool {
	err := podError(p)
	if s.options.KeepGoing {
		s.result.Inputs.Unreadable = append(s.result.Inputs.Unreadable, leftOut(err))
		return true
	}
	s.err = err
	s.cancel()
	return false
}

// podError returns the error of a pod that cannot be evaluated, with its place.
func podError(p *batchedPod) error {
	e := &dump.Error{Name: p.from.name, Item: p.Item, Offset: p.Offset, Err: fmt.Errorf("pod %s: %w", p.title(), p.err)}
	var syntax *rules.SyntaxError
	if errors.As(p.err, &syntax) {
		e.Offset, e.Err = p.OffsetOf(syntax.Offset), fmt.Errorf("pod %s: invalid JSON: %s", p.title(), syntax.Reason())
	}
	return e
}
