package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

// TestREADMERecipes: each recipe of policies/README.md is short, has no lint warning, and has a pod that passes and one that fails.
func TestREADMERecipes(t *testing.T) {
	t.Chdir("../..")
	const folder = "testdata/recipes"
	file := filepath.Join(folder, "recipes.yaml")
	text := content(t, file)
	table, err := rules.Load(file, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(table.Checks()); n < 40 {
		t.Errorf("%d recipes, want at least 40", n)
	}
	if got := transcript(t, "policy lint --strict "+file); strings.Count(got, "\n") != 1 {
		t.Error(got)
	}

	// A comment begins each group of checks.
	heading := regexp.MustCompile(`(?m)^  # (\w+)\n`)
	at := heading.FindAllStringSubmatchIndex(text, -1)
	for i, match := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		group := strings.TrimSpace(text[match[1]:end]) + "\n"
		for _, recipe := range strings.Split(group, "- id: ")[1:] {
			if lines := strings.Count(strings.TrimSpace(recipe), "\n") + 1; lines > 10 {
				t.Errorf("a recipe has %d lines, want at most 10:\n%s", lines, recipe)
			}
		}
		section(t, "recipes "+text[match[2]:match[3]], fenced("yaml", strings.ReplaceAll("  "+group, "\n  ", "\n")[2:]))
	}

	for _, check := range table.Checks() {
		cases := content(t, filepath.Join(folder, check.ID, "tests.yaml"))
		for _, want := range []string{"{name: fail, pod: fail.yaml, violations: [{check: " + check.ID, "{name: pass, pod: pass.yaml, violations: []}"} {
			if !strings.Contains(cases, want) {
				t.Errorf("the tests of the recipe %s have no case %s", check.ID, want)
			}
		}
	}
	passed := fmt.Sprintf("%d cases: %[1]d passed, 0 failed\n", 2*len(table.Checks()))
	if got := transcript(t, "policy test "+folder); !strings.HasSuffix(got, passed) {
		t.Error(got)
	}
}
