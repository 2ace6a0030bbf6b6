package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestAccess has public and restricted pages, and every result of AccessFunc.
func TestAccess(t *testing.T) {
	type asked = Bearer
	asks := func(token, path string) []asked { return []asked{{token, path, "192.0.2.1"}} }
	type result struct {
		Status       int
		Body         string
		Authenticate string
		Asked        []asked
	}
	const needs, unknown, silent = "this page needs a bearer token\n", "the token is not valid\n", "cannot check access to this page\n"
	for _, test := range []struct {
		name, path, authorization string
		want                      result
	}{
		{"health is public", "/healthz", "", result{200, "OK", "", nil}},
		{"readiness is public", "/readyz", "", result{200, "READY", "", nil}},
		{"no token", "/metrics", "", result{401, needs, "Bearer", nil}},
		{"no token for the report", "/api/v1/report", "", result{401, needs, "Bearer", nil}},
		{"a password", "/metrics", "Basic Zm9vOmJhcg==", result{401, needs, "Bearer", nil}},
		{"an empty token", "/metrics", "Bearer ", result{401, needs, "Bearer", nil}},
		{"a good token", "/metrics", "Bearer good", result{200, processText + scoresText, "", asks("good", "/metrics")}},
		{"the scheme in another case", "/api/v1/report", "bearer good", result{200, reportText, "", asks("good", "/api/v1/report")}},
		{"an unknown token", "/metrics", "Bearer bad", result{401, unknown, `Bearer error="invalid_token"`, asks("bad", "/metrics")}},
		{"a user without access", "/metrics", "Bearer other", result{403, "forbidden: bob may not get /metrics\n", "", asks("other", "/metrics")}},
		{"no decision", "/metrics", "Bearer down", result{503, silent, "", asks("down", "/metrics")}},
		{"too many waiting", "/metrics", "Bearer late", result{429, "review: too many tokens wait for a review\n", "", asks("late", "/metrics")}},
		{"an unknown path", "/secret", "", result{404, "404 page not found\n", "", nil}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got result
			o := options()
			o.Publish = granted
			o.Access = func(_ context.Context, bearer Bearer) error {
				got.Asked = append(got.Asked, bearer)
				return map[string]error{
					"bad": ErrUnknown, "other": fmt.Errorf("%w: bob may not get %s", ErrForbidden, bearer.Path), "down": errors.New("secret trouble"),
					"late": fmt.Errorf("review: %w", ErrBusy),
				}[bearer.Token]
			}
			request := httptest.NewRequest(http.MethodGet, test.path, nil)
			if test.authorization != "" {
				request.Header.Set("Authorization", test.authorization)
			}
			recorder := httptest.NewRecorder()
			Handler(o).ServeHTTP(recorder, request)
			got.Status, got.Body, got.Authenticate = recorder.Code, recorder.Body.String(), recorder.Header().Get("WWW-Authenticate")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
