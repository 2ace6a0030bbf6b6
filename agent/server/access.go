package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
)

// An AccessFunc that denies access returns one of these, possibly wrapped.
var (
	// ErrUnknown means that the API server does not know the token.
	ErrUnknown = errors.New("the token is not valid")
	// ErrForbidden means that the token is valid, but its user may not read the page.
	ErrForbidden = errors.New("forbidden")
	// ErrBusy means that the token cannot be reviewed now, because too many others are waiting.
	ErrBusy = errors.New("too many tokens wait for a review")
)

// retryAfter is the Retry-After header of ErrBusy, in seconds.
const retryAfter = "5"

// A Bearer is a client that requests a page with a token.
type Bearer struct {
	Token string
	Path  string // of the page
	From  string // the client's address without its port
}

// An AccessFunc decides whether a bearer may read the page: nil, ErrUnknown, ErrForbidden, ErrBusy, or the error that prevents
// a decision.
type AccessFunc func(ctx context.Context, bearer Bearer) error

// guard serves a page to the clients that access allows; to all if access is nil.
func guard(access AccessFunc, page http.Handler) http.Handler {
	if access == nil {
		return page
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			answer(w, http.StatusUnauthorized, "this page needs a bearer token\n")
			return
		}
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		switch err := access(r.Context(), Bearer{Token: token, Path: r.URL.Path, From: from}); {
		case err == nil:
			page.ServeHTTP(w, r)
		case errors.Is(err, ErrUnknown):
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			answer(w, http.StatusUnauthorized, err.Error()+"\n")
		case errors.Is(err, ErrForbidden):
			answer(w, http.StatusForbidden, err.Error()+"\n")
		case errors.Is(err, ErrBusy):
			w.Header().Set("Retry-After", retryAfter)
			answer(w, http.StatusTooManyRequests, err.Error()+"\n")
		default: // the reason belongs into the agent's log, and not to clients without access
			answer(w, http.StatusServiceUnavailable, "cannot check access to this page\n")
		}
	})
}
