package scan

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/rules"
)

const (
	// batchBytes is how much text a batch has before it is sent: small enough for a core's own cache.
	batchBytes = 256 << 10
	// batchPods bounds a batch of small pods.
	batchPods = 256
)

// A batch is some pods on their way through evaluation, or the word of one that is left out.
type batch struct {
	from    source
	text    []byte
	reduced []byte // the pods that have owners, without what nobody reads
	pods    []batched
	leftOut string
	done    chan struct{} // has an element once the batch is evaluated
}

// A batched pod is one of a batch, and what came of it.
type batched struct {
	dump.Event      // without its JSON
	end        int  // of its text in that of the batch; it begins where the one before ends
	counts     bool // its namespace is looked at
	verdict    rules.Verdict
	err        error
	owner      owner // of a pod that has violations
	bare       bool  // of a manifest: no container has a name
	raw        bool  // of a manifest: a template stands where a name or an image should
	patch      bool  // it is a part of a manifest, and nothing of its own
}

// A pipeline takes pods through evaluation into the state.
type pipeline struct {
	ctx     context.Context
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
		p.free <- &batch{done: make(chan struct{}, 1)}
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
func (p *pipeline) send(from source, e dump.Event) error {
	if p.filling != nil && p.filling.from != from {
		p.flush()
	}
	b, err := p.batch()
	if err != nil {
		return err
	}
	b.from = from
	if e.Op == dump.Apply {
		b.text = append(b.text, e.JSON...)
	}
	e.JSON = nil
	if len(b.pods) < cap(b.pods) { // for the memory of the verdict
		b.pods = b.pods[:len(b.pods)+1]
	} else {
		b.pods = append(b.pods, batched{})
	}
	pod := &b.pods[len(b.pods)-1]
	pod.Event, pod.end, pod.counts, pod.err = e, len(b.text), p.scan.options.looksAt(e.Namespace), nil
	if len(b.text) >= batchBytes || len(b.pods) >= batchPods {
		p.flush()
	}
	return nil
}

// batch is the one that is being filled.
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

// leaveOut takes the word of what cannot be read through the pipeline too, so that these come in order.
func (p *pipeline) leaveOut(err error) {
	b, stopped := p.batch()
	if stopped != nil {
		return
	}
	b.leftOut = leftOut(err)
	p.flush()
}

// flush sends the batch that is being filled. There is room: there are no more batches than the channels hold.
func (p *pipeline) flush() {
	if b := p.filling; b != nil {
		p.filling = nil
		p.inOrder <- b
		p.todo <- b
	}
}

// close waits until all that was sent is in the state.
func (p *pipeline) close() {
	p.flush()
	close(p.todo)
	close(p.inOrder)
	p.running.Wait()
}

// reset makes a batch ready to be filled again. What one large pod made it grow to is let go.
func (b *batch) reset() {
	if b.text = b.text[:0]; cap(b.text) > 4*batchBytes {
		b.text = nil
	}
	if b.reduced = b.reduced[:0]; cap(b.reduced) > batchBytes {
		b.reduced = nil
	}
	b.pods, b.leftOut = b.pods[:0], ""
}

// evaluate judges the pods of a batch. Those that are left out for their namespace are checked too, as nothing else makes
// sure that they are what the splitter took them for.
func (b *batch) evaluate(table *rules.Table, projection *rules.Projection) {
	start := 0
	for i := range b.pods {
		p := &b.pods[i]
		text := b.text[start:p.end]
		start = p.end
		p.owner, p.bare, p.raw, p.patch = owner{}, false, false, false
		if p.Op == dump.Delete {
			continue
		}
		// The check of a pod takes out what the table reads: the rest of the work is quick.
		before := len(b.reduced)
		if b.reduced, p.err = projection.AppendTo(b.reduced, text); p.err != nil {
			continue
		}
		reduced := b.reduced[before:]
		if p.counts {
			if p.patch = p.mayBePatch() && !hasImage(text); p.patch {
				b.reduced = b.reduced[:before]
				continue
			}
			p.err = table.EvaluateInto(&p.verdict, reduced)
			if p.Template || p.UID == "" {
				p.bare = !gjson.GetBytes(text, "spec.containers.0.name").Exists()
				p.raw = isTemplate(p.Name) || isTemplate(p.Namespace) || isTemplate(gjson.GetBytes(text, "spec.containers.#.image").Raw)
			}
		}
		if p.counts && p.err == nil && len(p.verdict.Violations) > 0 && !p.Template {
			p.owner = ownerOf(reduced)
		} else {
			b.reduced = b.reduced[:before]
		}
	}
}

// merge brings a batch into the state.
func (s *scan) merge(b *batch) {
	for i := range b.pods {
		if s.err != nil {
			return
		}
		s.apply(b.from, &b.pods[i])
	}
	if b.leftOut != "" {
		s.result.Inputs.LeftOut = append(s.result.Inputs.LeftOut, b.leftOut)
	}
}

func (s *scan) apply(from source, p *batched) {
	if p.Generated {
		s.number(p)
	}
	if p.err != nil && !s.tolerate(from, p) {
		return
	}
	switch {
	case !p.counts:
		s.others++
		return
	case p.patch:
		s.patches.add(from, p)
		return
	}
	named := state.Pod{Namespace: p.Namespace, Name: p.Name}
	if p.Watched {
		named.UID = p.UID // of an item of a list nobody asks for it
	}
	if p.bare {
		s.bare.add(from, p)
	}
	if p.raw {
		s.raw.add(from, p)
	}
	inputs := &s.result.Inputs
	total := &inputs.Pods
	if p.Template {
		total = &inputs.Templates
	}
	if p.Op == dump.Delete {
		if s.state.Remove(named) {
			*total--
		}
		return
	}
	var replaced bool
	if p.err != nil {
		replaced = s.state.PutFailed(named)
	} else {
		replaced = s.state.Put(named, p.verdict, s.origin(from, p))
	}
	if !replaced {
		*total++
	} else if !p.Watched {
		inputs.Repeated++
		s.repeated(from, p)
	}
	s.places.put(from, p)
}

// isTemplate says that a text is for Helm, or a tool like it, to make something of.
func isTemplate(text string) bool { return strings.Contains(text, "{{") }

// number tells a manifest whose name the API server will make from others of the same beginning: the second is import-2.
func (s *scan) number(p *batched) {
	if s.generated == nil {
		s.generated = make(map[[2]string]int)
	}
	name := [2]string{strings.Clone(p.Namespace), strings.Clone(p.Name)}
	if s.generated[name]++; s.generated[name] > 1 {
		p.Name += strconv.Itoa(s.generated[name])
	}
}

// tolerate says whether to go on behind a pod that cannot be evaluated.
func (s *scan) tolerate(from source, p *batched) bool {
	err := fault(from, p)
	if s.options.KeepGoing {
		s.result.Inputs.LeftOut = append(s.result.Inputs.LeftOut, leftOut(err))
		return true
	}
	s.err = err
	s.cancel()
	return false
}

// fault says where a pod stands that cannot be evaluated.
func fault(from source, p *batched) error {
	e := &dump.Error{Name: from.name, Item: p.Item, Offset: p.Offset, Err: fmt.Errorf("pod %s: %w", p.title(), p.err)}
	var syntax *rules.SyntaxError
	if errors.As(p.err, &syntax) {
		e.Offset, e.Err = p.OffsetOf(syntax.Offset), fmt.Errorf("pod %s: invalid JSON: %s", p.title(), syntax.Reason())
	}
	return e
}
