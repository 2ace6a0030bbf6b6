package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// apiVersion is that of policy tables, waivers and policy tests.
const apiVersion = "kube-devops.io/v1"

// oursInYAML finds the apiVersion of a file of ours that is YAML: at the beginning of a line, or behind the first brace.
var oursInYAML = regexp.MustCompile(`(?m)^(?:\x{FEFF})?(?:\{[ \t]*)?["']?apiVersion["']?[ \t]*:[ \t]*["']?` + regexp.QuoteMeta(apiVersion) + `["']?[ \t\r]*(?:$|[,}#])`)

// isOurs reports whether a text is a policy table, waivers or a policy test, by its apiVersion.
func isOurs(text []byte) bool {
	if rules.KindOf(text) == "ScanConfig" {
		return false // scan reads and checks it
	}
	return oursInYAML.Match(text) || gjson.GetBytes(text, "apiVersion").String() == apiVersion
}

// readAll loads what the arguments of lint stand for: files, folders with the files of ours in them, patterns, and -.
func (l *linting) readAll(args []string, stdin io.Reader) {
	l.seen = make(map[string]bool)
	for _, arg := range args {
		switch info, err := os.Stat(arg); {
		case arg == "-" && l.first("-"):
			text, err := io.ReadAll(io.LimitReader(stdin, rules.MaxBytes+1))
			if err != nil {
				l.errs = append(l.errs, fmt.Errorf("read stdin: %w", err))
				break
			}
			l.load("stdin", text)
		case err == nil && info.IsDir():
			l.readFolder(arg)
		case errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(arg, "*?["):
			l.readLike(arg)
		case l.first(arg):
			l.readFile(arg)
		}
	}
}

// first reports whether a file comes for the first time: several arguments may lead to it.
func (l *linting) first(name string) bool {
	name = filepath.Clean(name)
	before := l.seen[name]
	l.seen[name] = true
	return !before
}

// readFile loads a file that was named: it is taken for one of ours.
func (l *linting) readFile(name string) {
	text, err := policies.ReadFile(name)
	if err != nil {
		l.errs = append(l.errs, err)
		return
	}
	l.load(name, text)
}

// readLike loads what matches a pattern.
func (l *linting) readLike(pattern string) {
	matches, err := filepath.Glob(pattern)
	if err == nil && len(matches) == 0 {
		err = errors.New("no file matches the pattern")
	}
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("read %s: %w", dump.OneLine(pattern), err))
		return
	}
	for _, match := range matches {
		if strings.HasPrefix(filepath.Base(match), ".") && !strings.HasPrefix(filepath.Base(pattern), ".") {
			continue // as in a shell
		}
		if info, err := os.Stat(match); err == nil && info.IsDir() {
			l.readFolder(match)
			continue
		}
		l.folders = true
		l.readFound(match)
	}
}

// readFolder loads the files of ours in a folder and in the folders in it, other than hidden ones.
func (l *linting) readFolder(folder string) {
	l.folders = true
	root, before := folder, len(l.seen)-l.others+len(l.errs)
	if info, err := os.Lstat(folder); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		root += string(filepath.Separator) // a link that is walked is what it leads to
	}
	// The function returns no error other than to leave out a hidden folder: what cannot be read does not hide the rest.
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		hidden := path != root && strings.HasPrefix(entry.Name(), ".")
		switch {
		case err != nil:
			l.errs = append(l.errs, err)
		case hidden && entry.IsDir():
			return fs.SkipDir
		case !hidden && !entry.IsDir():
			l.readFound(path)
		}
		return nil
	})
	if len(l.seen)-l.others+len(l.errs) == before {
		l.errs = append(l.errs, fmt.Errorf("read %s: the folder has no file of apiVersion %s", dump.OneLine(folder), apiVersion))
	}
}

// readFound loads a file that was found, where it is one of ours.
func (l *linting) readFound(name string) {
	ending := strings.ToLower(filepath.Ext(name))
	info, err := os.Stat(name)
	if !l.first(name) {
		return
	}
	if !slices.Contains([]string{".yaml", ".yml", ".json"}, ending) || err != nil || !info.Mode().IsRegular() {
		l.others++ // a link that leads nowhere too
		return
	}
	text, err := policies.ReadFile(name)
	switch {
	case err != nil:
		l.errs = append(l.errs, err)
	case !isOurs(text):
		l.others++
	default:
		l.load(name, text)
	}
}
