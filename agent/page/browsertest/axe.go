package browsertest

import (
	"os"
	"testing"
)

// Axe returns axe-core. It is not part of the repository: `npm install axe-core` in any folder, and AXE names its axe.min.js. Without
// that the test is skipped.
func Axe(t *testing.T) string {
	t.Helper()
	file := os.Getenv("AXE")
	if file == "" {
		t.Skip("AXE names no axe.min.js; npm install axe-core")
	}
	axe, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(axe)
}

// Accessible runs axe-core on pages, by their URLs, in both color schemes and at the widths of a phone and a desktop.
func Accessible(t *testing.T, axe string, pages map[string]string) {
	t.Helper()
	tab := Start(t).Tab(t)
	passed := 0
	for name, at := range pages {
		for _, width := range []int{390, 1440} {
			for _, dark := range []bool{false, true} {
				tab.Screen(t, width, 900, dark)
				tab.Go(t, at)
				tab.Eval(t, `for (const details of document.querySelectorAll("details")) details.open = true`, nil)
				tab.Eval(t, axe+"\n;0", nil)
				var got struct {
					Passes     int
					Violations []string
				}
				tab.Eval(t, `axe.run().then((result) => ({
  Passes: result.passes.length,
  Violations: result.violations.map((v) => v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map((node) => node.html.slice(0, 160) + " (" + node.failureSummary + ")").join("; ")),
}))`, &got)
				passed += got.Passes
				for _, v := range got.Violations {
					t.Errorf("%s, width %d, dark %v: %s", name, width, dark, v)
				}
				if got.Passes < 10 {
					t.Errorf("%s: only %d rules were applied", name, got.Passes)
				}
			}
		}
	}
	t.Logf("%d pages, 2 widths, 2 schemes: %d rules passed", len(pages), passed)
}
