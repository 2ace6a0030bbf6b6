package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
)

// TestLicences has the file of the agent's image name each module that Go finds in the binary, with its version, and hold
// the licence that its author ships: also that of code which a module took over from elsewhere, and notices.
func TestLicences(t *testing.T) {
	binary, err := ReadStatic(agent)
	if err != nil {
		t.Fatal(err)
	}
	modules, err := ReadModules(binary, version, "../..")
	if err != nil {
		t.Fatal(err)
	}
	text := string(Licences(modules))
	lines := map[string]string{
		"github.com/kube-devops/kube-devops": "github.com/kube-devops/kube-devops " + version + ": Apache-2.0\n",
		"std":                                "std " + strings.TrimPrefix(binary.Info.GoVersion, "go") + ": BSD-3-Clause\n",
	}
	for _, module := range binary.Info.Deps {
		lines[module.Path] = module.Path + " " + module.Version + ": "
	}
	for module, line := range lines {
		if !strings.Contains(text, "\n"+line) {
			t.Errorf("the licences lack the line %q", line)
		}
		if module == "std" {
			continue
		}
		dir, err := goCommand("../..", os.Environ(), "list", "-m", "-f", "{{.Dir}}", module)
		if err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "LICENSE*"))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s has no licence in %s (%v)", module, dir, err)
		}
		for _, file := range found {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(text, string(content)) {
				t.Errorf("the licences lack the text %s", file)
			}
		}
	}
	for _, want := range []string{
		"\n    third_party/forked/golang/LICENSE: text ",
		"\n    NOTICE: text ",
		"Prometheus instrumentation library for Go applications", // from its notice
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the licences lack %q", want)
		}
	}
	if twice := strings.Count(text, "Apache License\n                           Version 2.0, January 2004\n                        http://www.apache.org/licenses/\n"); twice > 20 {
		t.Errorf("the Apache License is there %d times: the same text must be there once", twice)
	}
}

// TestUnknownLicence packs a program with a licence of its own. The SBOM names the file, and keeps to its schema.
func TestUnknownLicence(t *testing.T) {
	source := smallSource(t)
	write(t, filepath.Join(source, "LICENSE"), "All rights reserved.\n")
	dir, _ := pack(t, source, small(t, source, runtime.GOARCH))
	text, err := os.ReadFile(filepath.Join(dir, "kube-devops-linux-"+runtime.GOARCH+".cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	validate(t, text)
	bom := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(bom); err != nil {
		t.Fatal(err)
	}
	want := &cdx.Licenses{{License: &cdx.License{Name: "LICENSE of small " + version, Acknowledgement: cdx.LicenseAcknowledgementConcluded}}}
	if diff := cmp.Diff(want, bom.Metadata.Component.Licenses); diff != "" {
		t.Errorf("licences (-want +got):\n%s", diff)
	}
}

// TestIDs finds the identifiers of permissive licences, and none in a text that has more than these.
func TestIDs(t *testing.T) {
	const gpl = "This program is free software; you can redistribute it and/or modify it under the terms of the GNU General " +
		"Public License as published by the Free Software Foundation; either version 2 of the License, or (at your option) " +
		"any later version.\n"
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"known", isc, []string{"ISC"}},
		{"two", isc + "\n" + isc, []string{"ISC", "ISC"}},
		{"empty", "", nil},
		{"unknown", "All rights reserved.\n", nil},
		{"a known one and one that is not permissive", isc + "\n" + gpl, nil},
		{"a known one in a longer text", isc + strings.Repeat("The software must not be used in production.\n", 20), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, Text{Name: "LICENSE", Content: []byte(test.text)}.ids()); diff != "" {
				t.Errorf("identifiers (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReadTexts reads the legal files from the folders of packages up to the root, and no others.
func TestReadTexts(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{
		"LICENSE", "NOTICE.txt", "license.go", "license.yaml", "README.md", "a/COPYING", "a/b/LICENSE-MIT", "a/b/c/PATENTS", "unlinked/LICENSE",
	} {
		path := filepath.Join(root, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, isc)
	}
	texts, err := readTexts(root, []string{filepath.Join(root, "a", "b"), filepath.Join(root, "a")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, text := range texts {
		got = append(got, text.Name)
	}
	if diff := cmp.Diff([]string{"LICENSE", "NOTICE.txt", "a/COPYING", "a/b/LICENSE-MIT"}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if _, err := readTexts(filepath.Join(root, "a", "b", "c"), []string{filepath.Join(root, "a", "b", "c")}); err == nil {
		t.Error("a patent grant counts as a licence")
	}
	if _, err := readTexts(filepath.Join(root, "a"), []string{filepath.Join(root, "unlinked")}); err == nil {
		t.Error("a folder outside of the module counts as one of it")
	}
}
