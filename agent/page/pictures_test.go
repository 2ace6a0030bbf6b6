package page

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/kube-devops/kube-devops/agent/page/browsertest"
)

// widths has the widths of a phone, a small window and a desktop.
var widths = []int{390, 800, 1440}

// TestPictures writes pictures of all views to the folder in the environment variable PICTURES, or only of the view in VIEW. Look at them after a
// change of the style.
func TestPictures(t *testing.T) {
	folder := os.Getenv("PICTURES")
	if folder == "" {
		t.Skip("set PICTURES to a folder")
	}
	views := examples()
	views["large"], views["hostile"], views["hostile-namespace"] = overview(5000, PerPage, 3), hostileOverview(), hostileNamespace()
	server := named(t, views)
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
	// The pictures of the README show the first rows in a small window.
	for scheme, dark := range map[string]bool{"light": false, "dark": true} {
		tab.Screen(t, 1140, 600, dark)
		tab.Go(t, server.URL+"/overview")
		tab.Eval(t, `document.querySelector("h1").classList.add("hidden")`, nil)
		if err := os.WriteFile(filepath.Join(folder, "status-"+scheme+".png"), tab.Picture(t, false), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if errors := tab.Errors(); len(errors) > 0 {
		t.Error(errors)
	}
}
