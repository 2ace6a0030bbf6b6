package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	pageLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pageHeading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	// A path in backquotes that names a file or a folder of this repository.
	pagePath   = regexp.MustCompile("`((?:agent|cmd|deploy|policies|rules|testdata|\\.tools|\\.ci|\\.github)/[\\w./-]+)`")
	fencedText = regexp.MustCompile("(?s)```.*?```")
)

// TestPages follows the links and the paths of every page of the repository.
func TestPages(t *testing.T) {
	t.Chdir("../..")
	list, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md").Output()
	if err != nil {
		t.Skipf("git lists the pages: %v", err)
	}
	pages := strings.Fields(string(list))
	if len(pages) < 8 {
		t.Fatalf("only %d pages", len(pages))
	}
	anchors := make(map[string]map[string]bool)
	for _, page := range pages {
		anchors[page] = make(map[string]bool)
		for _, heading := range pageHeading.FindAllStringSubmatch(content(t, page), -1) {
			anchor := strings.ReplaceAll(strings.ToLower(notInAnchor.ReplaceAllString(heading[1], "")), " ", "-")
			anchors[page][anchor] = true
		}
	}
	for _, page := range pages {
		text := fencedText.ReplaceAllString(content(t, page), "")
		for _, link := range pageLink.FindAllStringSubmatch(text, -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(link[1], "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", page, link[1], err)
			} else if anchor != "" && !anchors[target][anchor] {
				t.Errorf("%s links to %s, which has no such heading", page, link[1])
			}
		}
		for _, path := range pagePath.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(path[1]); err != nil && page != "deploy/CHANGELOG.md" {
				t.Errorf("%s names %s: %v", page, path[1], err)
			}
		}
	}
}
