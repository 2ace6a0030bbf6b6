package rules_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

// shippedTexts returns the tables that ship, each whole: one that extends others is merged with them.
func shippedTexts(t testing.TB) (texts [][]byte) {
	t.Helper()
	files, err := filepath.Glob("../policies/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("found %v: %v", files, err)
	}
	for _, file := range files {
		sources := withExtended(t, nil, file)
		table, err := rules.LoadAll(sources...)
		if err != nil {
			t.Fatal(err)
		}
		text := sources[0].Text
		if len(sources) > 1 {
			text = table.YAML()
		}
		texts = append(texts, text)
	}
	return texts
}

// withExtended adds a table that ships, and before it those that it extends.
func withExtended(t testing.TB, sources []rules.Source, file string) []rules.Source {
	t.Helper()
	if slices.ContainsFunc(sources, func(s rules.Source) bool { return s.File == file }) {
		return sources
	}
	text := readFile(t, file)
	references, err := rules.Extends(file, text)
	if err != nil {
		t.Fatal(err)
	}
	for _, reference := range references {
		sources = withExtended(t, sources, "../policies/"+reference.Name+".yaml")
	}
	return append(sources, rules.Source{File: file, Text: text})
}

func shippedTables(t testing.TB) (tables []*rules.Table) {
	for _, text := range shippedTexts(t) {
		tables = append(tables, load(t, string(text)))
	}
	return tables
}
