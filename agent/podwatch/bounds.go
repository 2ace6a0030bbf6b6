package podwatch

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"time"
)

// Limits on a list of pods, far above every real cluster: Kubernetes supports 150,000 pods.
const (
	maxPages    = 10_000
	maxListTime = 10 * time.Minute // for all pages
	maxResponse = 4 << 30          // bytes of one response
)

var errUnbounded = errors.New("the API server does not end its list of pods")

// A listing bounds one list of one or more pages.
type listing struct {
	pages int
	until time.Time
	token string // of the previous page
	// suspect is set when a list did not end, until one does: in between, a page does not show that the cache follows the
	// cluster.
	suspect bool
}

// begin records the request for a page. token is that of the previous page, empty for the first page.
func (l *listing) begin(token string, now time.Time) error {
	if token == "" {
		*l = listing{until: now.Add(maxListTime), suspect: l.suspect}
	}
	l.token = token
	switch l.pages++; {
	case l.pages > maxPages:
		return l.unbounded("more than %d pages", maxPages)
	case now.After(l.until):
		return l.unbounded("%d pages in %s", l.pages-1, maxListTime)
	}
	return nil
}

// end checks a page: if another page follows, this one must have items and a new token.
func (l *listing) end(token string, items int) error {
	switch {
	case token == "":
		l.suspect = false
		return nil
	case token == l.token:
		return l.unbounded("page %d has the same continue token as the page before", l.pages)
	case items == 0:
		return l.unbounded("page %d is empty and names a next page", l.pages)
	}
	return nil
}

func (l *listing) unbounded(format string, args ...any) error {
	l.suspect = true
	return fmt.Errorf("%w: "+format, append([]any{errUnbounded}, args...)...)
}

// limitResponses makes too large responses fail, except for watches, whose events client-go bounds.
func limitResponses(next http.RoundTripper) http.RoundTripper {
	return limitedTransport{next, responseLimit(debug.SetMemoryLimit(-1))}
}

// responseLimit returns the largest response in bytes under a memory limit (GOMEMLIMIT). client-go reads a response as a whole,
// and holds it nearly twice while its buffer grows.
func responseLimit(memory int64) int64 { return min(maxResponse, memory/2) }

type limitedTransport struct {
	next  http.RoundTripper
	limit int64
}

func (t limitedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if err == nil && r.URL.Query().Get("watch") == "" {
		response.Body = limitedBody{http.MaxBytesReader(nil, response.Body, t.limit)}
	}
	return response, err
}

// A limitedBody names the limit in the error of http.MaxBytesReader.
type limitedBody struct{ io.ReadCloser }

func (b limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		err = fmt.Errorf("%w: more than %d bytes, the lower of 4 GiB and half of GOMEMLIMIT", errUnbounded, tooLarge.Limit)
	}
	return n, err
}
