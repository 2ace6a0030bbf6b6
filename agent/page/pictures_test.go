package page

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/kube-devops/kube-devops/agent/page/browsertest"
)

// widths are those of a phone, a small window and a desktop.
var widths = []int{390, 800, 1440}

// serve serves views by their names.
func serve(t testing.TB, views map[string]View) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		view, ok := views[r.URL.Path[1:]]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", SecurityPolicy())
		if err := Render(w, view); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// TestPictures writes pictures of all views to the folder that PICTURES names.
func TestPictures(t *testing.T) {
	folder := os.Getenv("PICTURES")
	if folder == "" {
		t.Skip("PICTURES names no folder")
	}
	views := examples()
	views["large"] = overview(5000, PerPage, 3)
	server := serve(t, views)
	tab := browsertest.Start(t).Tab(t)
	for name := range views {
		if only := os.Getenv("VIEW"); only != "" && only != name {
			continue
		}
		for _, width := range widths {
			for scheme, dark := range map[string]bool{"light": false, "dark": true} {
				tab.Screen(t, width, 900, dark)
				tab.Go(t, server.URL+"/"+name)
				file := filepath.Join(folder, fmt.Sprintf("%s-%d-%s.png", name, width, scheme))
				if err := os.WriteFile(file, tab.Picture(t, width > 390 || name != "large"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if errors := tab.Errors(); len(errors) > 0 {
		t.Error(errors)
	}
}
