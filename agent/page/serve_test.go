package page

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
)

// A site serves views like the agent: with the Content-Security-Policy, an ETag of the content, and the date of its clock.
type site struct {
	*httptest.Server

	mu    sync.Mutex
	views func(r *http.Request) View
	asked []string // the queries of the requests
	saved int      // answers 304
	down  bool
}

func serve(t testing.TB, views func(r *http.Request) View) *site {
	t.Helper()
	s := &site{views: views}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.answer(t, w, r) }))
	t.Cleanup(s.Close)
	return s
}

// named serves views by their names.
func named(t testing.TB, views map[string]View) *site {
	return serve(t, func(r *http.Request) View { return views[r.URL.Path[1:]] })
}

func (s *site) answer(t testing.TB, w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	view := s.views(r)
	switch {
	case s.down:
		http.Error(w, "no permission", http.StatusForbidden)
		return
	case view == nil:
		http.NotFound(w, r)
		return
	}
	s.asked = append(s.asked, r.URL.RawQuery)
	var content bytes.Buffer
	if err := Render(&content, view); err != nil {
		t.Error(err)
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", SecurityPolicy())
	header.Set("ETag", strconv.Quote(strconv.FormatUint(hashOf(content.Bytes()), 16)))
	if r.Header.Get("If-None-Match") == header.Get("ETag") {
		s.saved++
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if _, ok := view.(*Rejected); ok && r.URL.RawQuery != "" {
		w.WriteHeader(http.StatusBadRequest)
	}
	_, _ = w.Write(content.Bytes())
}

// with changes the site between two requests.
func (s *site) with(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// count reads a number of the site, which its server changes at the same time.
func (s *site) count(of func() int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return of()
}
