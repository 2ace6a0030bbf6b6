package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// licencesName is the file of the image that has the licences.
const licencesName = "LICENSES"

var (
	// legal are the names of files that a copy of a module's code must come with.
	legal = regexp.MustCompile(`(?i)^([a-z0-9]+[-_])?((un)?licen[cs]es?|copying|copyright|notice|patents)([-_.].*)?$`)
	// companion are those that add to a licence.
	companion = regexp.MustCompile(`(?i)^(copyright|notice|patents)([-_.].*)?$`)
	// code are the endings of source files: license.go is about licences and is not one.
	code = regexp.MustCompile(`(?i)\.(go|json|ya?ml|sh|py|js|tmpl)$`)
)

// permissive are the licences, by their SPDX identifiers, that a linked module may have. Any other is given by the name of
// its file, which fails a test.
var permissive = []string{
	"0BSD", "Apache-2.0", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "MIT-0", "PostgreSQL", "Unlicense", "Zlib",
}

// whole is the share of a file, in percent of its words, that must be of known licences: the rest is copyright lines.
const whole = 75

// A Text is a licence, a notice or a patent grant.
type Text struct {
	// Name is the file's path in its module.
	Name string
	// Content is the file.
	Content []byte
}

// readTexts reads the legal files of the folders and of all above them, up to the root. There must be a licence.
func readTexts(root string, folders []string) ([]Text, error) {
	seen := make(map[string]bool)
	var texts []Text
	licensed := false
	for _, dir := range folders {
		for ; !seen[dir]; dir = filepath.Dir(dir) {
			if outside, err := filepath.Rel(root, dir); err != nil || strings.HasPrefix(outside, "..") {
				return nil, fmt.Errorf("package folder %s is outside of %s", dir, root)
			}
			seen[dir] = true
			found, err := legalFiles(root, dir)
			if err != nil {
				return nil, err
			}
			texts = append(texts, found...)
			if dir == filepath.Clean(root) {
				licensed = slices.ContainsFunc(found, Text.licence)
				break
			}
		}
	}
	if !licensed {
		return nil, errors.New("its folder has no licence file: without one it may not be in an image")
	}
	slices.SortFunc(texts, func(a, b Text) int { return strings.Compare(a.Name, b.Name) })
	return texts, nil
}

// legalFiles are the legal files in one folder.
func legalFiles(root, dir string) ([]Text, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var texts []Text
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !legal.MatchString(entry.Name()) || code.MatchString(entry.Name()) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return nil, err
		}
		texts = append(texts, Text{Name: filepath.ToSlash(name), Content: content})
	}
	return texts, nil
}

// licence is false for a notice and a patent grant.
func (t Text) licence() bool { return !companion.MatchString(filepath.Base(t.Name)) }

// ids are the SPDX identifiers of the licences in the text. There are none if the text has more than permissive licences.
func (t Text) ids() []string {
	coverage := licensecheck.Scan(t.Content)
	if coverage.Percent < whole {
		return nil
	}
	var ids []string
	for _, match := range coverage.Match {
		if !slices.Contains(permissive, match.ID) {
			return nil
		}
		ids = append(ids, match.ID)
	}
	return ids
}

// Licences are the SPDX identifiers of all licences of the module's code in the binary, and the files whose licences are
// not known, both sorted.
func (m Module) Licences() (ids, unknown []string) {
	for _, text := range m.Texts {
		if !text.licence() {
			continue
		}
		known := text.ids()
		if len(known) == 0 {
			unknown = append(unknown, text.Name)
		}
		ids = append(ids, known...)
	}
	slices.Sort(ids)
	return slices.Compact(ids), unknown
}

// Licences is the file of the image: a list of the modules, each with its licences and the numbers of its texts, and then
// each text once.
func Licences(modules []Module) []byte {
	var index, texts bytes.Buffer
	_, _ = fmt.Fprintf(&index, "The modules in /%s, their licences, and the numbers of the texts that follow.\n\n", repository)
	numbers := make(map[string]int)
	for _, module := range modules {
		ids, unknown := module.Licences()
		_, _ = fmt.Fprintf(&index, "%s %s: %s\n", module.Path, module.Version, strings.Join(append(ids, unknown...), ", "))
		for _, text := range module.Texts {
			number, printed := numbers[string(text.Content)]
			if !printed {
				number = len(numbers) + 1
				numbers[string(text.Content)] = number
				_, _ = fmt.Fprintf(&texts, "\n%s\nText %d: %s of %s %s\n\n%s\n", strings.Repeat("=", 80), number, text.Name, module.Path, module.Version, text.Content)
			}
			_, _ = fmt.Fprintf(&index, "    %s: text %d\n", text.Name, number)
		}
	}
	return append(index.Bytes(), texts.Bytes()...)
}
