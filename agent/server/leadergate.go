package server

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// A leaderGate serves a page only with the permission to publish: it renders the page in memory, checks the permission again,
// and then writes the page under a deadline, so that no part of it leaves after the permission has ended.
//
// It keeps at most streamAfter bytes in memory, and writes the rest of a larger page while it is rendered, under the same
// deadline. If the permission ends or the page fails then, the response is cut off, and its reader can see that.
type leaderGate struct {
	publish PublishFunc
	page    http.Handler
	// refused answers without the permission.
	refused func(w http.ResponseWriter, r *http.Request, reason error)
	writers *writeLimit
}

// streamAfter holds all scrapes but those of thousands of namespaces.
const streamAfter = 1 << 20

var (
	errClosing    = errors.New("the permission to publish ended while the page was rendered")
	errIncomplete = errors.New("the page failed after a part of it was written")
)

func (g leaderGate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page := &gatedResponse{
		to: w, control: http.NewResponseController(w), writers: g.writers, header: make(http.Header), status: http.StatusOK,
	}
	err := g.publish(r.Context(), func(ctx context.Context) error {
		page.ctx = ctx
		defer func() {
			if page.release != nil {
				page.release()
			}
		}()
		g.page.ServeHTTP(page, r.WithContext(ctx))
		return page.finish()
	})
	switch {
	case !page.written:
		g.refused(w, r, err)
	case page.streaming && err != nil:
		panic(http.ErrAbortHandler) // net/http cuts the response off
	}
}

// A gatedResponse is a response that stays in memory until it is finished or too large.
type gatedResponse struct {
	ctx     context.Context //nolint:containedctx // ends with the permission; an http.ResponseWriter takes no context
	to      http.ResponseWriter
	control *http.ResponseController
	writers *writeLimit
	release func() // ends the deadline and the registration of the write
	leave   func() // gives up the slot of limitConcurrency; may be nil

	header    http.Header
	status    int
	body      bytes.Buffer
	written   bool // a part may have left
	streaming bool
	err       error // of streaming
}

func (r *gatedResponse) Header() http.Header { return r.header }

func (r *gatedResponse) Write(p []byte) (int, error) {
	if !r.streaming && r.body.Len()+len(p) <= streamAfter {
		return r.body.Write(p)
	}
	if !r.streaming {
		if r.err = r.begin(); r.err == nil {
			r.streaming = true
			_, r.err = r.body.WriteTo(r.to)
		}
	}
	if r.err == nil && r.ctx.Err() != nil {
		r.err = errClosing
	}
	if r.err != nil {
		return 0, r.err
	}
	var n int
	n, r.err = r.to.Write(p)
	return n, r.err
}

// WriteHeader starts the response again: the error of a page that fails half-way replaces the page. This is too late for a
// page that is being streamed.
func (r *gatedResponse) WriteHeader(status int) {
	if r.streaming {
		r.err = cmp.Or(r.err, errIncomplete)
		return
	}
	r.status = status
	r.body.Reset()
}

// begin checks the permission again, sets the deadline, and writes the header.
func (r *gatedResponse) begin() error {
	if r.ctx.Err() != nil {
		return errClosing
	}
	if deadline, ok := r.ctx.Deadline(); ok && time.Until(deadline) < writeTimeout {
		// A writer without deadlines, as in tests, has no slow client.
		_ = r.control.SetWriteDeadline(deadline)
	}
	cut := func() { _ = r.control.SetWriteDeadline(time.Unix(1, 0)) }
	stop, done := context.AfterFunc(r.ctx, cut), r.writers.start(cut)
	r.release = func() { stop(); done() }
	if r.leave != nil {
		r.leave() // a client that reads slowly must not occupy a slot
	}
	r.written = true
	for key, values := range r.header {
		r.to.Header()[key] = values
	}
	r.to.WriteHeader(r.status)
	return nil
}

// finish writes what is still in memory.
func (r *gatedResponse) finish() error {
	if r.err != nil {
		return r.err
	}
	if !r.streaming {
		// A response of unknown length has an end mark, which would leave after the permission.
		if r.status != http.StatusNotModified { // its length would be that of the page
			r.header.Set("Content-Length", strconv.Itoa(r.body.Len()))
		}
		if err := r.begin(); err != nil {
			return err
		}
		if _, err := r.body.WriteTo(r.to); err != nil {
			return err
		}
	}
	// What stayed in a buffer would leave after the permission.
	if err := r.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if r.streaming && r.ctx.Err() != nil {
		return errClosing
	}
	return nil
}
