package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// What an AccessFunc answers, wrapped, where it does not let somebody in.
var (
	// ErrUnknown: nobody knows the token.
	ErrUnknown = errors.New("the token is not valid")
	// ErrForbidden: the token is somebody's, who may not read the page.
	ErrForbidden = errors.New("forbidden")
)

// AccessFunc decides whether the bearer of a token may read the page at a path: nil, ErrUnknown, ErrForbidden, or why it
// cannot be found out.
type AccessFunc func(ctx context.Context, token, path string) error

// guard lets through to a page whom access lets in; all, where it is nil.
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
		switch err := access(r.Context(), token, r.URL.Path); {
		case err == nil:
			page.ServeHTTP(w, r)
		case errors.Is(err, ErrUnknown):
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			answer(w, http.StatusUnauthorized, err.Error()+"\n")
		case errors.Is(err, ErrForbidden):
			answer(w, http.StatusForbidden, err.Error()+"\n")
		default: // the reason is for the log of the agent, and not for strangers
			answer(w, http.StatusServiceUnavailable, "cannot find out who may read this page\n")
		}
	})
}
