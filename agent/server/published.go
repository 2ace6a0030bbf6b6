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

// published is a page that is written by permission alone. It is rendered in memory, permission is looked at again,
// and then it is written, with a deadline: so no part of it leaves after the permission has ended.
//
// Of a page that is larger than streamAfter so much is rendered in memory, and the rest is written as it is rendered,
// under the same deadline. Should the permission end, or the page fail, then the response is cut off, which its reader
// can tell from a whole one.
type published struct {
	publish PublishFunc
	page    http.Handler
	// refused answers where there is no permission.
	refused func(w http.ResponseWriter, r *http.Request, reason error)
	// writers bounds how many read the page at the same time.
	writers *lane
}

// streamAfter is how much of a page is kept in memory: any scrape but those of thousands of namespaces.
const streamAfter = 1 << 20

var errClosing = errors.New("the permission to publish ended while the page was rendered")

func (p published) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page := &rendering{
		to: w, control: http.NewResponseController(w), writers: p.writers, header: make(http.Header), status: http.StatusOK,
	}
	err := p.publish(r.Context(), func(ctx context.Context) error {
		page.ctx = ctx
		defer func() {
			if page.release != nil {
				page.release()
			}
		}()
		p.page.ServeHTTP(page, r.WithContext(ctx))
		return page.finish()
	})
	switch {
	case !page.written:
		p.refused(w, r, err)
	case page.streaming && err != nil:
		panic(http.ErrAbortHandler) // net/http cuts the response off
	}
}

// A rendering is a response that is in memory until it is finished or grows too large.
type rendering struct {
	ctx     context.Context // done when the permission ends
	to      http.ResponseWriter
	control *http.ResponseController
	writers *lane
	release func() // of the deadline, and of the place among those that are written to
	leave   func() // gives up the turn; nil where there is none

	header    http.Header
	status    int
	body      bytes.Buffer
	written   bool // something may have left
	streaming bool
	err       error // of streaming
}

func (r *rendering) Header() http.Header { return r.header }

func (r *rendering) Write(p []byte) (int, error) {
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

// WriteHeader begins the response anew: where a page fails half-way, nothing of it is left before the error. What has
// left already stays half a page.
func (r *rendering) WriteHeader(status int) {
	if r.streaming {
		r.err = cmp.Or(r.err, errHalf)
		return
	}
	r.status = status
	r.body.Reset()
}

var errHalf = errors.New("the page failed when a part of it had been written")

// begin looks at the permission again, sets the deadline, and writes the header.
func (r *rendering) begin() error {
	if r.ctx.Err() != nil {
		return errClosing
	}
	if deadline, ok := r.ctx.Deadline(); ok && time.Until(deadline) < writeTimeout {
		// A writer without deadlines, as in tests, has no slow client behind it.
		_ = r.control.SetWriteDeadline(deadline)
	}
	cut := func() { _ = r.control.SetWriteDeadline(time.Unix(1, 0)) }
	stop, done := context.AfterFunc(r.ctx, cut), r.writers.enter(cut)
	r.release = func() { stop(); done() }
	if r.leave != nil {
		r.leave() // a client that reads slowly must not keep others from their turn
	}
	r.written = true
	for key, values := range r.header {
		r.to.Header()[key] = values
	}
	r.to.WriteHeader(r.status)
	return nil
}

// finish writes what is in memory still.
func (r *rendering) finish() error {
	if r.err != nil {
		return r.err
	}
	if !r.streaming {
		// With its length known a response has no end mark, which would leave after the permission.
		r.header.Set("Content-Length", strconv.Itoa(r.body.Len()))
		if err := r.begin(); err != nil {
			return err
		}
		if _, err := r.body.WriteTo(r.to); err != nil {
			return err
		}
	}
	// What is still in a buffer would leave after the permission.
	if err := r.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if r.streaming && r.ctx.Err() != nil {
		return errClosing
	}
	return nil
}
