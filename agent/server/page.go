package server

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// Pages are the pages for people.
type Pages struct {
	// Leader returns a page. It is served only with the permission to publish.
	Leader func(r *http.Request) Page
	// Standby returns what is served without the permission, for the reason. It must have no data.
	Standby func(r *http.Request, reason error) Page
}

// pagePatterns are the paths of the pages.
var pagePatterns = []string{"GET /{$}", "GET /namespaces/{name}", "GET /waivers", "GET /policy", "GET /changes"}

// A Page is the answer to one request.
type Page struct {
	Status int
	// Header has at least the Content-Type.
	Header http.Header
	// Version differs between two contents of a path. Clients that have the content already get 304 instead. Empty: clients
	// must not store the page.
	Version string
	// Write writes the content.
	Write func(to io.Writer) error
}

// pageBuffers are buffers for whole pages.
var pageBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// serve writes the page, compressed if the client accepts gzip. It is rendered first, so that an error does not leave a half page.
func (p Page) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Vary", "Accept")
	h.Set("Cache-Control", "no-store")
	if p.Version != "" {
		// The browser may keep the page, but asks each time: access, leader and content may have changed.
		h.Set("Cache-Control", "private, no-cache")
		tag := `W/"` + p.Version + `"` // weak: it is that of the plain page, too
		h.Set("ETag", tag)
		if p.Status == http.StatusOK && hasTag(r.Header.Get("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	maps.Copy(h, p.Header)
	body := pageBuffers.Get().(*bytes.Buffer)
	defer pageBuffers.Put(body)
	body.Reset()
	if err := compress(h, body, r, p.Write); err != nil {
		h.Del("Content-Encoding")
		h.Del("ETag")
		h.Set("Cache-Control", "no-store")
		answer(w, http.StatusInternalServerError, "the page cannot be rendered: "+err.Error()+"\n")
		return
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body.Bytes()) // fails only if the client is gone
}

// hasTag reports whether a header If-None-Match has the tag. Whether tags are weak does not matter for it.
func hasTag(header, tag string) bool {
	for each := range strings.SplitSeq(header, ",") {
		each = strings.TrimSpace(each)
		if each == "*" || each != "" && strings.TrimPrefix(each, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}
