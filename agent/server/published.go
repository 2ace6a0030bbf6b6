package server

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// published is a page that is written by permission alone. It is rendered in memory, permission is looked at again,
// and then it is written, with a deadline: so no part of it leaves after the permission has ended.
type published struct {
	publish PublishFunc
	page    http.Handler
	// refused answers where there is no permission.
	refused func(w http.ResponseWriter, r *http.Request, reason error)
	// writers bounds how many read the page at the same time.
	writers *lane
}

var errClosing = errors.New("the permission to publish ended while the page was rendered")

func (p published) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	written := false
	err := p.publish(r.Context(), func(ctx context.Context) error {
		page := &rendering{header: make(http.Header), status: http.StatusOK}
		p.page.ServeHTTP(page, r.WithContext(ctx))
		if ctx.Err() != nil {
			return errClosing
		}
		control := http.NewResponseController(w)
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < writeTimeout {
			// A writer without deadlines, as in tests, has no slow client behind it.
			_ = control.SetWriteDeadline(deadline)
		}
		cut := func() { _ = control.SetWriteDeadline(time.Unix(1, 0)) }
		stop := context.AfterFunc(ctx, cut)
		defer stop()
		defer p.writers.enter(cut)()
		written = true
		return page.writeTo(w, control)
	})
	if !written {
		p.refused(w, r, err)
	}
}

// A rendering is a response in memory.
type rendering struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *rendering) Header() http.Header         { return r.header }
func (r *rendering) Write(p []byte) (int, error) { return r.body.Write(p) }

// WriteHeader begins the response anew: where a page fails half-way, nothing of it is left before the error.
func (r *rendering) WriteHeader(status int) {
	r.status = status
	r.body.Reset()
}

func (r *rendering) writeTo(w http.ResponseWriter, control *http.ResponseController) error {
	for key, values := range r.header {
		w.Header()[key] = values
	}
	// With its length known a response has no end mark, which would leave after the permission.
	w.Header().Set("Content-Length", strconv.Itoa(r.body.Len()))
	w.WriteHeader(r.status)
	if _, err := r.body.WriteTo(w); err != nil {
		return err
	}
	// What is still in a buffer would leave after the permission.
	if err := control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
