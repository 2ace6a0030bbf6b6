package dump

import (
	"context"
	"io"
)

// asyncReader reads in a goroutine of its own, so that whoever waits for the bytes can leave when ctx ends: a read of
// stdin cannot be interrupted.
type asyncReader struct {
	ctx   context.Context //nolint:containedctx // an io.Reader takes no context
	full  chan chunk
	free  chan []byte
	chunk chunk
	rest  []byte // of the chunk
}

type chunk struct {
	bytes []byte
	err   error
}

func newAsyncReader(ctx context.Context, r io.Reader) *asyncReader {
	a := &asyncReader{ctx: ctx, full: make(chan chunk), free: make(chan []byte, 2)}
	for range cap(a.free) {
		a.free <- make([]byte, firstBuffer)
	}
	go a.run(r)
	return a
}

// run reads until r or ctx ends.
func (a *asyncReader) run(r io.Reader) {
	for {
		select {
		case <-a.ctx.Done():
			return
		case buf := <-a.free:
			n, err := r.Read(buf)
			select {
			case <-a.ctx.Done():
				return
			case a.full <- chunk{buf[:n], err}:
			}
			if err != nil {
				return
			}
		}
	}
}

// Read implements io.Reader.
func (a *asyncReader) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.chunk.err != nil {
			return 0, a.chunk.err
		}
		if a.chunk.bytes != nil {
			a.free <- a.chunk.bytes[:cap(a.chunk.bytes)]
		}
		select {
		case <-a.ctx.Done():
			return 0, context.Cause(a.ctx)
		case a.chunk = <-a.full:
			a.rest = a.chunk.bytes
		}
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}
