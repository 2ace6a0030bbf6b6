package main

import (
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// yamlAPIVersion finds the apiVersion of a policy file in YAML: at the beginning of a line, or after an opening brace.
var yamlAPIVersion = regexp.MustCompile(`(?m)^(?:\x{FEFF})?(?:\{[ \t]*)?["']?apiVersion["']?[ \t]*:[ \t]*["']?` + regexp.QuoteMeta(rules.APIVersion) + `["']?[ \t\r]*(?:$|[,}#])`)

// isPolicyFile reports whether a text is a policy table, waivers or a policy test. A ScanConfig has the same apiVersion, but
// scan checks it.
func isPolicyFile(text []byte) bool {
	return rules.KindOf(text) != configKind && (yamlAPIVersion.Match(text) || gjson.GetBytes(text, "apiVersion").String() == rules.APIVersion)
}

// readAll loads files, the policy files in folders and among the matches of patterns, and standard input (-).
func (l *linting) readAll(args []string, stdin io.Reader) {
	loaded := make(map[string]bool) // by file; false: not a policy file
	for _, arg := range args {
		found := dump.Find([]string{arg}, nil)
		if len(found.Errors) > 0 && slices.Contains(policies.Names(), arg) {
			l.errs = append(l.errs, fmt.Errorf("%s is a built-in table, and lint takes files; kube-devops policy show %[1]s prints the table", arg))
		} else {
			l.errs = append(l.errs, found.Errors...)
		}
		some := len(found.Errors) > 0
		for _, file := range found.Files {
			name := filepath.Clean(file.Path)
			l.folders = l.folders || file.Found
			if _, seen := loaded[name]; !seen {
				loaded[name] = l.read(file, stdin)
			}
			some = some || loaded[name]
		}
		if !some {
			l.folders = true
			l.errs = append(l.errs, fmt.Errorf("read %s: there is no file of apiVersion %s", dump.OneLine(arg), rules.APIVersion))
		}
	}
}

// read loads a file. It skips and counts one that was found in a folder and is not a policy file.
func (l *linting) read(file dump.File, stdin io.Reader) bool {
	if file.Path == "-" {
		text, err := io.ReadAll(io.LimitReader(stdin, rules.MaxBytes+1))
		if err != nil {
			l.errs = append(l.errs, fmt.Errorf("read stdin: %w", err))
		} else {
			l.load("stdin", text)
		}
		return true
	}
	var text []byte
	var err error
	if !file.Found || slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(file.Path))) {
		text, err = policies.ReadFile(file.Path)
	}
	switch {
	case err != nil:
		l.errs = append(l.errs, fmt.Errorf("read %s: %w", dump.OneLine(file.Path), bare(err)))
	case !file.Found || isPolicyFile(text) && !strings.HasPrefix(filepath.Base(file.Path), "."):
		l.load(file.Path, text)
	default:
		l.others++
		return false
	}
	return true
}
