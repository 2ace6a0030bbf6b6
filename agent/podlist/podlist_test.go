package podlist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/client-go/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An answer is the response of the test's API server to one request.
type answer func(w http.ResponseWriter, r *http.Request)

func text(code int, body string) answer {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body) // the client may have gone
	}
}

func page(next string, names ...string) answer {
	items := make([]string, len(names))
	for i, name := range names {
		items[i] = fmt.Sprintf(`{"metadata":{"name":%q}}`, name)
	}
	return text(http.StatusOK, fmt.Sprintf(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":%q},"items":[%s]}`, next, strings.Join(items, ",")))
}

func status(code int, reason, message, next string) answer {
	return text(code, fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","metadata":{"continue":%q},"status":"Failure","message":%q,"reason":%q,"code":%d}`, next, message, reason, code))
}

// read lists all pods of a server. Its answers are keyed by path and continue token; several answers come in turn.
func read(t *testing.T, o Options, answers map[string][]answer) (body string, requests []string, err error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at := strings.TrimPrefix(r.URL.Path, "/prefix/api/v1/")
		if token := r.URL.Query().Get("continue"); token != "" {
			at += " " + token
		}
		requests = append(requests, at+" limit "+r.URL.Query().Get("limit"))
		if r.Header.Get("Authorization") != "Bearer secret" || r.Method != http.MethodGet {
			t.Errorf("%s %s with %q", r.Method, r.URL, r.Header.Get("Authorization"))
		}
		next := answers[at]
		if len(next) == 0 {
			http.NotFound(w, r)
			return
		}
		if len(next) > 1 {
			answers[at] = next[1:]
		}
		next[0](w, r)
	}))
	defer server.Close()
	reader, err := New(t.Context(), &rest.Config{Host: server.URL + "/prefix", BearerToken: "secret"}, o)
	if err != nil {
		return "", nil, err
	}
	all, err := io.ReadAll(reader)
	if (reader.Err() != nil) != (err != nil) {
		t.Errorf("Err is %v, Read gave %v", reader.Err(), err)
	}
	return string(all), requests, err
}

func TestPages(t *testing.T) {
	body, requests, err := read(t, Options{}, map[string][]answer{
		"pods": {page("t1", "a", "b")}, "pods t1": {page("t2")}, "pods t2": {page("", "c")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(requests, "; "), "pods limit 500; pods t1 limit 500; pods t2 limit 500"; got != want {
		t.Errorf("requests %q, want %q", got, want)
	}
	if n := strings.Count(body, `"kind":"PodList"`); n != 3 || strings.Count(body, "\n") != 3 || strings.Count(body, `"name"`) != 3 {
		t.Errorf("%d lists in:\n%s", n, body)
	}
}

func TestListNamespaces(t *testing.T) {
	_, requests, err := read(t, Options{Namespaces: []string{"shop", "web"}}, map[string][]answer{
		"namespaces/shop/pods": {page("t", "a")}, "namespaces/shop/pods t": {page("", "b")}, "namespaces/web/pods": {page("")},
	})
	if got, want := strings.Join(requests, "; "), "namespaces/shop/pods limit 500; namespaces/shop/pods t limit 500; namespaces/web/pods limit 500"; err != nil || got != want {
		t.Errorf("requests %q, want %q; %v", got, want, err)
	}
	for _, name := range []string{"", "..", "a/b", "a?b", "Shop", strings.Repeat("a", 64)} {
		if _, err := New(t.Context(), &rest.Config{}, Options{Namespaces: []string{name}}); err == nil {
			t.Errorf("%q is accepted as the name of a namespace", name)
		}
	}
}

// An expired list continues with the token of the error response, and warns that it has pods of two versions.
func TestExpiredListContinues(t *testing.T) {
	var warnings []string
	body, _, err := read(t, Options{Warn: func(line string) { warnings = append(warnings, line) }}, map[string][]answer{
		"pods": {page("t1", "a")}, "pods t1": {status(http.StatusGone, "Expired", "the token is too old", "t2")}, "pods t2": {page("", "b")},
	})
	if err != nil || strings.Count(body, `"name"`) != 2 {
		t.Errorf("%v in:\n%s", err, body)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "the list of pods in all namespaces expired after page 1;") {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestRetryBusyServer(t *testing.T) {
	busy := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "0")
		status(http.StatusTooManyRequests, "TooManyRequests", "slow down", "")(w, r)
	}
	if _, requests, err := read(t, Options{}, map[string][]answer{"pods": {busy, page("", "a")}}); err != nil || len(requests) != 2 {
		t.Errorf("%q, %v", requests, err)
	}
}

// If a page is too large, the Reader requests half as many pods.
func TestLargePages(t *testing.T) {
	large := func(w http.ResponseWriter, _ *http.Request) {
		chunk := strings.Repeat(" ", 1<<20)
		for range maxPage>>20 + 1 {
			if _, err := io.WriteString(w, chunk); err != nil {
				return // the client has closed the connection
			}
		}
	}
	_, requests, err := read(t, Options{}, map[string][]answer{"pods": {large, large, page("", "a")}})
	if got, want := strings.Join(requests, "; "), "pods limit 500; pods limit 250; pods limit 125"; err != nil || got != want {
		t.Errorf("requests %q, want %q; %v", got, want, err)
	}
}

func TestErrors(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed, with the token %q", r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	for _, tt := range []struct {
		name       string
		namespaces []string
		answers    map[string][]answer
		want       string
	}{
		{"forbidden in the cluster", nil, map[string][]answer{"pods": {status(403, "Forbidden", `pods is forbidden: User "ci" cannot list`, "")}},
			`list pods in all namespaces: forbidden: the account needs the verb list on the resource pods: pods is forbidden: User "ci" cannot list; --namespace NAME lists only the pods of one namespace`},
		{"forbidden in a namespace", []string{"shop"}, map[string][]answer{"namespaces/shop/pods": {status(403, "Forbidden", "no\nnever", "")}},
			"list pods in namespace shop: forbidden: the account needs the verb list on the resource pods: no never"},
		{"unauthorized", nil, map[string][]answer{"pods": {status(401, "Unauthorized", "Unauthorized", "")}}, "the API server does not accept the credentials: Unauthorized"},
		{"not an API server", nil, map[string][]answer{}, "the server does not serve pods: is it a Kubernetes API server?"},
		{"a page of HTML", nil, map[string][]answer{"pods": {text(200, "<html>")}}, "the response is not valid JSON: is the server a Kubernetes API server?"},
		{"another kind", nil, map[string][]answer{"pods": {text(200, `{"kind":"SecretList","items":[]}`)}}, `the response has kind "SecretList", want PodList`},
		{"another kind on page 2", nil, map[string][]answer{"pods": {page("t", "a")}, "pods t": {text(200, `{"kind":"SecretList","items":[]}`)}}, `the response has kind "SecretList", want PodList`},
		{"no items", nil, map[string][]answer{"pods": {text(200, `{"kind":"PodList"}`)}}, "the response has no list of items"},
		{"a repeated token", nil, map[string][]answer{"pods": {page("t", "a")}, "pods t": {page("t", "b")}}, "the list does not end: the API server repeats its continue token"},
		{"two repeated tokens", nil, map[string][]answer{"pods": {page("t")}, "pods t": {page("u")}, "pods u": {page("t")}}, "the list does not end: it has more than 20000 pages"},
		{"expired without a new token", nil, map[string][]answer{"pods": {page("t", "a")}, "pods t": {status(410, "Expired", "too old", "")}}, "the list took longer than the API server keeps its version: run the scan again (too old)"},
		{"a redirect", nil, map[string][]answer{"pods": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/api/v1/pods", http.StatusFound)
		}}}, "the server redirects to " + elsewhere.URL + ": redirects are not followed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if testing.Short() && strings.Contains(tt.name, "two repeated tokens") {
				t.Skip("sends 20,000 requests")
			}
			_, _, err := read(t, Options{Namespaces: tt.namespaces}, tt.answers)
			if err == nil || !strings.HasPrefix(err.Error(), "list pods in ") || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	reader, err := New(t.Context(), &rest.Config{Host: "https://127.0.0.1:1"}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(reader); err == nil || !strings.Contains(err.Error(), "the API server cannot be reached: dial tcp 127.0.0.1:1: connect: connection refused") {
		t.Error(err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	defer server.Close()
	reader, err := New(ctx, &rest.Config{Host: server.URL}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-asked
		cancel()
	}()
	if _, err := io.ReadAll(reader); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestNamespaces(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(text(http.StatusOK, `{"kind":"NamespaceList","items":[{"metadata":{"name":"web"}},{"metadata":{"name":"shop"}}]}`)))
	defer server.Close()
	if names, err := Namespaces(t.Context(), &rest.Config{Host: server.URL}); err != nil || strings.Join(names, " ") != "shop web" {
		t.Errorf("%q, %v", names, err)
	}
}
