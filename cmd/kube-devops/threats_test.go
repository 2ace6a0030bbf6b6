package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`)
)

// TestThreatsAreTested: each line of the threat model names tests, and they are there.
func TestThreatsAreTested(t *testing.T) {
	page, err := os.ReadFile("../../deploy/THREATS.md")
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	err = filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			if entry != nil && entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2 {
				return fs.SkipDir
			}
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range testFunc.FindAllSubmatch(text, -1) {
			there[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	threats := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) != 3 || cells[0] == "threat" || strings.HasPrefix(cells[0], "---") {
			continue
		}
		threats++
		if !testName.MatchString(cells[2]) {
			t.Errorf("no test holds %q", cells[0])
		}
	}
	if threats < 15 {
		t.Errorf("the page has %d threats", threats)
	}
	for _, match := range testName.FindAllStringSubmatch(string(page), -1) {
		if !there[match[1]] {
			t.Errorf("there is no %s", match[1])
		}
	}
}
