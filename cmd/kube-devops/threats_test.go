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
	// Rows of the fault matrix on the page, and in the source.
	rowNames = regexp.MustCompile(`\brows? (\d+[a-z]?(?:(?:, | and )\d+[a-z]?)*)`)
	rowName  = regexp.MustCompile(`\d+[a-z]?`)
	rowLine  = regexp.MustCompile(`(?m)^.*\{number: (\d+), (?:variant: "([a-z])", )?.*$`)
)

// TestThreatsAreTested: each threat names tests that exist, and rows of the fault matrix that run.
func TestThreatsAreTested(t *testing.T) {
	page, err := os.ReadFile("../../deploy/THREATS.md")
	if err != nil {
		t.Fatal(err)
	}
	there, rows := make(map[string]bool), make(map[string]bool)
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
		if strings.Contains(filepath.ToSlash(path), "/agent/e2e/faults/") {
			for _, match := range rowLine.FindAllSubmatch(text, -1) {
				runs := !strings.Contains(string(match[0]), "cannot: ")
				rows[string(match[1])+string(match[2])] = runs
				rows[string(match[1])] = rows[string(match[1])] || runs
			}
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
			t.Errorf("threat %q names no test", cells[0])
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
	if len(rows) < 41 {
		t.Errorf("the fault matrix has %d rows", len(rows))
	}
	for _, match := range rowNames.FindAllStringSubmatch(string(page), -1) {
		for _, name := range rowName.FindAllString(match[1], -1) {
			if runs, found := rows[name]; !runs {
				t.Errorf("row %s of the fault matrix does not run (exists: %t)", name, found)
			}
		}
	}
}
