package server

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const pageText = "<!DOCTYPE html><title>pages</title>"

// pagesOf are pages that name their path, with one version. written counts how often they are rendered.
func pagesOf(written *atomic.Int32) *Pages {
	header := http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Content-Security-Policy": {"default-src 'none'"}}
	return &Pages{
		Leader: func(r *http.Request) Page {
			page := Page{Status: http.StatusOK, Header: header, Version: "v1", Write: func(to io.Writer) error {
				written.Add(1)
				_, err := io.WriteString(to, pageText+r.URL.Path+r.PathValue("name"))
				return err
			}}
			switch r.PathValue("name") {
			case "gone":
				page.Status = http.StatusNotFound
			case "broken":
				page.Write = func(to io.Writer) error {
					_, _ = io.WriteString(to, "half a page")
					return errors.New("the template is broken")
				}
			}
			return page
		},
		Standby: func(_ *http.Request, reason error) Page {
			return Page{Status: http.StatusServiceUnavailable, Header: header, Write: func(to io.Writer) error {
				_, err := io.WriteString(to, "standby: "+reason.Error())
				return err
			}}
		},
	}
}

func TestPages(t *testing.T) {
	const htmlType = "text/html; charset=utf-8"
	tests := []struct {
		name    string
		path    string
		with    func(*Options)
		headers map[string]string // of the request
		method  string
		status  int
		body    string
		want    map[string]string // headers of the response; "" for an absent one
	}{
		{name: "overview", path: "/", status: 200, body: pageText + "/", want: map[string]string{
			"Content-Type": htmlType, "Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "no-referrer", "Cache-Control": "private, no-cache", "ETag": `W/"v1"`, "Vary": "Accept, Accept-Encoding",
			"X-Frame-Options": "DENY", "Cross-Origin-Resource-Policy": "same-origin",
		}},
		{name: "namespace", path: "/namespaces/shop", status: 200, body: pageText + "/namespaces/shopshop"},
		{name: "waivers", path: "/waivers", status: 200, body: pageText + "/waivers"},
		{name: "policy", path: "/policy", status: 200, body: pageText + "/policy"},
		{name: "changes", path: "/changes", status: 200, body: pageText + "/changes"},
		{name: "parameters", path: "/?filter=shop", status: 200, body: pageText + "/"},
		{name: "another path", path: "/index.html", status: 404, body: "404 page not found\n"},
		{name: "no namespace", path: "/namespaces/", status: 404, body: "404 page not found\n"},
		{name: "below a namespace", path: "/namespaces/shop/x", status: 404, body: "404 page not found\n"},
		{name: "another method", path: "/", method: http.MethodPost, status: 405, body: "Method Not Allowed\n"},
		{name: "an unknown namespace", path: "/namespaces/gone", status: 404, body: pageText + "/namespaces/gonegone"},
		{name: "head", path: "/", method: http.MethodHead, status: 200, want: map[string]string{"ETag": `W/"v1"`}},
		{name: "unchanged", path: "/", headers: map[string]string{"If-None-Match": `"other", W/"v1"`}, status: 304,
			want: map[string]string{"ETag": `W/"v1"`, "Content-Type": "", "Content-Length": "", "Cache-Control": "private, no-cache"}},
		{name: "unchanged in any version", path: "/", headers: map[string]string{"If-None-Match": "*"}, status: 304},
		{name: "changed", path: "/", headers: map[string]string{"If-None-Match": `W/"v0"`}, status: 200, body: pageText + "/"},
		{name: "an unknown namespace, again", path: "/namespaces/gone", headers: map[string]string{"If-None-Match": `W/"v1"`}, status: 404,
			body: pageText + "/namespaces/gonegone"},
		{name: "compressed", path: "/", headers: map[string]string{"Accept-Encoding": "gzip"}, status: 200, body: pageText + "/",
			want: map[string]string{"Content-Encoding": "gzip"}},
		{name: "an error", path: "/namespaces/broken", status: 500, body: "the page cannot be rendered: the template is broken\n",
			want: map[string]string{"Content-Type": textType, "ETag": "", "Cache-Control": "no-store"}},
		{name: "standby", path: "/", with: func(o *Options) { o.Publish = denied }, status: 503, body: "standby: not the leader; agent-1 is",
			want: map[string]string{"Cache-Control": "no-store", "ETag": ""}},
		{name: "standby with a version of the leader", path: "/namespaces/shop", headers: map[string]string{"If-None-Match": `W/"v1"`},
			with: func(o *Options) { o.Publish = denied }, status: 503, body: "standby: not the leader; agent-1 is"},
		{name: "standby, compressed", path: "/", headers: map[string]string{"Accept-Encoding": "gzip"}, with: func(o *Options) { o.Publish = denied },
			status: 503, body: "standby: not the leader; agent-1 is", want: map[string]string{"Content-Encoding": "gzip"}},
		{name: "without a token", path: "/changes", with: func(o *Options) { o.Access = func(context.Context, Bearer) error { return nil } },
			status: 401, body: "this page needs a bearer token\n"},
		{name: "standby without a token", path: "/", status: 401, body: "this page needs a bearer token\n", with: func(o *Options) {
			o.Publish = denied
			o.Access = func(context.Context, Bearer) error { return nil }
		}},
		{name: "a forbidden namespace", path: "/namespaces/shop", headers: map[string]string{"Authorization": "Bearer x"}, status: 403, body: "forbidden\n",
			with: func(o *Options) {
				o.Access = func(_ context.Context, b Bearer) error {
					if b.Path != "/namespaces/shop" {
						return nil
					}
					return ErrForbidden
				}
			}},
		{name: "no pages", path: "/", with: func(o *Options) { o.Pages = nil }, status: 404, body: "404 page not found\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var written atomic.Int32
			o := options()
			o.Publish = granted
			o.Pages = pagesOf(&written)
			if test.with != nil {
				test.with(&o)
			}
			method := test.method
			if method == "" {
				method = http.MethodGet
			}
			request := httptest.NewRequest(method, test.path, nil)
			for name, value := range test.headers {
				request.Header.Set(name, value)
			}
			server := httptest.NewServer(Handler(o)) // net/http removes headers that a recorder keeps
			defer server.Close()
			request.RequestURI, request.URL.Scheme, request.URL.Host = "", "http", server.Listener.Addr().String()
			client := server.Client()
			client.Transport.(*http.Transport).DisableCompression = true
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			var body io.Reader = response.Body
			if response.Header.Get("Content-Encoding") == "gzip" {
				if body, err = gzip.NewReader(body); err != nil {
					t.Fatal(err)
				}
			}
			text, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != test.status || string(text) != test.body {
				t.Errorf("%d %q, want %d %q", response.StatusCode, text, test.status, test.body)
			}
			got := make(map[string]string)
			for name := range test.want {
				got[name] = strings.Join(response.Header.Values(name), ", ")
			}
			if diff := cmp.Diff(test.want, got); len(test.want) > 0 && diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
			if rendered := written.Load() > 0; rendered != strings.HasPrefix(test.body, pageText) && method == http.MethodGet {
				t.Errorf("rendered: %t", rendered)
			}
		})
	}
}

// TestPageAtTheEndOfPermission: a page that is rendered when the permission ends is not served.
func TestPageAtTheEndOfPermission(t *testing.T) {
	o := options()
	var end func()
	o.Publish = func(ctx context.Context, publish func(context.Context) error) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		end = cancel
		return publish(ctx)
	}
	var written atomic.Int32
	o.Pages = pagesOf(&written)
	page := o.Pages.Leader
	for name, version := range map[string]string{"content": "", "not modified": `W/"v1"`} {
		o.Pages.Leader = func(r *http.Request) Page {
			end()
			return page(r)
		}
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Header.Set("If-None-Match", version)
		recorder := httptest.NewRecorder()
		Handler(o).ServeHTTP(recorder, request)
		if got := recorder.Body.String(); recorder.Code != http.StatusServiceUnavailable || !strings.HasPrefix(got, "standby: ") {
			t.Errorf("%s: %d %q", name, recorder.Code, got)
		}
	}
}
