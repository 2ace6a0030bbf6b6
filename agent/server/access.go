package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
)

// What an AccessFunc answers, wrapped, where it does not let somebody in.
var (
	// ErrUnknown means that the API server does not know the token.
	ErrUnknown = errors.New("the token is not valid")
	// ErrForbidden means that the token is valid, and that its user may not read the page.
	ErrForbidden = errors.New("forbidden")
	// ErrBusy means that the token cannot be reviewed now, because too many others wait for a review.
	ErrBusy = errors.New("too many tokens wait for a review")
)

// retryAfter is what a client is told to wait, in seconds, when its token cannot be reviewed now.
const retryAfter = "5"

// A Bearer is a client that asks for a page with a token.
type Bearer struct {
	Token string
	Path  string // of the page
	From  string // the address of the client, without its port
}

// AccessFunc decides whether a bearer may read the page that they ask for: nil, ErrUnknown, ErrForbidden, ErrBusy, or why
// the decision cannot be made.
type AccessFunc func(ctx context.Context, bearer Bearer) error

// guard serves a page to the clients that access lets in; to all, where access is nil.
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
		default: // the reason is for the log of the agent, and not for clients that are not let in
			answer(w, http.StatusServiceUnavailable, "cannot find out who may read this page\n")
		}
	})
}
