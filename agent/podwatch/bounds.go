package podwatch

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"time"
)

// The bounds of what an API server can make a list of pods cost. They are far beyond every real cluster: Kubernetes is
// tested to 150,000 pods.
const (
	// maxPages is how many pages one list may have.
	maxPages = 10_000
	// maxListTime is how long all pages of one list may take together.
	maxListTime = 10 * time.Minute
	// maxAnswer is how many bytes the answer to one request may have that is not a watch.
	maxAnswer = 4 << 30
)

var errUnbounded = errors.New("the API server does not end its list of pods")

// A listing bounds one list, which comes in one page or in several.
type listing struct {
	pages int
	until time.Time
	token string // of the page before
	// suspect: the list before did not end. Until one does, a page says nothing about whether the cache follows the cluster.
	suspect bool
}

// begin notes the request for a page; token is that of the page before, empty for the first page.
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

// end checks a page: one that has a next page must have items, and a token of its own.
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

// boundAnswers makes the end of an answer an error that is too long to be a list of pods. A watch has no end, and its
// events are bounded by client-go.
func boundAnswers(next http.RoundTripper) http.RoundTripper {
	return bounded{next, answerLimit(debug.SetMemoryLimit(-1))}
}

// answerLimit returns how many bytes an answer may have under a memory limit (GOMEMLIMIT). The client reads an answer as a whole,
// and holds it nearly twice while its buffer grows, so that a larger one does not fit.
func answerLimit(memory int64) int64 { return min(maxAnswer, memory/2) }

type bounded struct {
	next http.RoundTripper
	most int64
}

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(r)
	if err != nil || r.URL.Query().Get("watch") != "" {
		return answer, err
	}
	answer.Body = &boundedBody{answer.Body, b.most, b.most}
	return answer, nil
}

type boundedBody struct {
	io.ReadCloser
	left, most int64
}

// Read is that of the body, up to its bound.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: more than %d bytes, the lower of 4 GiB and half of GOMEMLIMIT", errUnbounded, b.most)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
