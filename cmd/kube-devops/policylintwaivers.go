package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/policies/policytest"
	"github.com/kube-devops/kube-devops/rules"
)

// loadWaivers loads the files of waivers with the table that they are for: that of --policy, or if the flag is not set the only one among
// the files.
func (l *linting) loadWaivers(flagIsSet bool) {
	open, hint := func() (*rules.Table, error) { return policies.Open(l.policies...) }, ""
	if only := l.onlyTable(); only >= 0 && !flagIsSet {
		table := l.files[only].table // nil if it has errors: the waivers are checked when these are fixed
		open = func() (*rules.Table, error) { return table, nil }
	} else if !flagIsSet {
		hint = "; if the waivers are for another table, name it with --policy"
	}
	files := l.files[:0]
	for _, f := range l.files {
		if f.kind == rules.WaiversKind {
			if err := f.loadWaivers(open, hint); err != nil {
				l.errs = append(l.errs, err)
				continue
			}
		}
		files = append(files, f)
	}
	l.files = files
}

// loadWaivers adds the waivers to the table that open returns. An unknown check in them has the hint.
func (f *lintedFile) loadWaivers(open func() (*rules.Table, error), hint string) error {
	table, err := open()
	if err != nil {
		return fmt.Errorf("load the policy for %s: %w", f.name, err)
	}
	if table == nil {
		return nil
	}
	f.table, err = table.WithWaivers(f.name, f.text)
	if err != nil && !errors.As(err, &f.mistakes) {
		return err
	}
	for i := range f.mistakes {
		if m := &f.mistakes[i]; strings.HasPrefix(m.Msg, "unknown check ") {
			m.Msg += hint
		}
	}
	return nil
}

// onlyTable returns the index of the table among the files that no other one extends; -1 if there are several or none.
func (l *linting) onlyTable() int {
	only := -1
	parts := l.parts()
	for i, f := range l.files {
		if f.kind == rules.WaiversKind || f.kind == policytest.Kind || parts[filepath.Clean(f.name)] {
			continue
		}
		if only >= 0 {
			return -1
		}
		only = i
	}
	return only
}
