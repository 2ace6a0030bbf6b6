package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/policies/policytest"
	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/lint"
)

func newPolicyLintCommand() *cobra.Command {
	var l linting
	var strict bool
	command := &cobra.Command{
		Use:   "lint FILE|DIR|GLOB|-...",
		Short: "Print errors and warnings in policy tables",
		Long: `Print all errors in policy tables, files of waivers and policy tests, and
warnings about probable mistakes: for example a path that no Pod has, a check
that can never fail, or a waiver that has expired.

In a folder, lint reads the files of apiVersion ` + rules.APIVersion + ` and counts
the others; - is standard input.

The exit code is 2 if there is an error, or with --strict a warning, and 0
otherwise.`,
		Args: args(1, math.MaxInt, "the files to check"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if l.recording == "-" && slices.Contains(args, "-") {
				return usageError{errors.New("- is given twice: standard input can be read only once")}
			}
			l.readAll(args, cmd.InOrStdin())
			if l.recording != "" {
				if err := readPods(cmd.Context(), l.recording, cmd.InOrStdin(), l.observe); err != nil {
					return err
				}
			}
			return l.report(cmd.OutOrStdout(), time.Now(), strict)
		},
	}
	command.Flags().StringVar(&l.policy, "policy", policies.Default, "policy table that the waivers apply to: a `file`, or the name of a built-in table")
	command.Flags().StringVar(&l.recording, "dump", "", "`file` of recorded pods, or - for standard input: warn about waivers that match none of their violations")
	command.Flags().BoolVar(&strict, "strict", false, "fail on warnings, too")
	complete(command, "policy", completeTables)
	validateTogether(command)
	return command
}

// A linting is a run of lint over some files.
type linting struct {
	policy, recording string
	files             []lintedFile
	errs              []error // of files that cannot be read
	folders           bool    // an argument was a folder or a pattern
	others            int     // files in folders that are not policy files
}

type lintedFile struct {
	name      string
	text      []byte
	table     *rules.Table // nil if there are errors, and for policy tests
	mistakes  rules.LoadErrors
	accepting map[string]bool // the waivers that accept a violation in the recording
}

// load loads a text by its kind.
func (l *linting) load(name string, text []byte) {
	f := lintedFile{name: name, text: text, accepting: make(map[string]bool)}
	var err error
	switch rules.KindOf(text) {
	case policytest.Kind:
		_, err = policytest.Load(name, text)
	case rules.WaiversKind:
		var table *rules.Table
		if table, err = policies.Open(l.policy); err != nil {
			l.errs = append(l.errs, fmt.Errorf("load the policy for %s: %w", name, err))
			return
		}
		f.table, err = table.WithWaivers(name, text)
	default:
		f.table, err = rules.Load(name, text)
	}
	if err != nil && !errors.As(err, &f.mistakes) {
		l.errs = append(l.errs, err)
		return
	}
	l.files = append(l.files, f)
}

// observe records which waivers accept a violation of a pod.
func (l *linting) observe(event dump.Event) error {
	for _, f := range l.files {
		if f.table == nil || len(f.table.Waivers()) == 0 || event.Op == dump.Delete || !f.table.Includes(event.Namespace) {
			continue
		}
		verdict, err := f.table.Evaluate(event.JSON)
		if err != nil {
			return err
		}
		for _, w := range f.table.Accepting(event.JSON, verdict) {
			f.accepting[w.ID] = true
		}
	}
	return nil
}

// report prints all errors and warnings. It returns an error if lint fails.
func (l *linting) report(to io.Writer, now time.Time, strict bool) error {
	var lines strings.Builder
	mistakes, warnings := 0, 0
	for _, f := range l.files {
		mistakes += len(f.mistakes)
		for _, m := range f.mistakes {
			fmt.Fprintln(&lines, m)
		}
		if f.table == nil {
			continue
		}
		known := lint.Options{Pods: policies.PodSchema(), Now: now}
		if l.recording != "" {
			known.Recording, known.Accepting = l.recording, f.accepting
		}
		for _, d := range lint.Warnings(f.table, f.name, f.text, known) {
			warnings++
			fmt.Fprintln(&lines, d)
		}
	}
	if l.folders {
		fmt.Fprintf(&lines, "%s checked, %s skipped.\n", english.Plural(len(l.files), "file", ""), english.Plural(l.others, "other file", ""))
	}
	if _, err := io.WriteString(to, lines.String()); err != nil {
		return err
	}
	errs := l.errs
	if mistakes > 0 || strict && warnings > 0 {
		found := english.Plural(warnings, "warning", "")
		if mistakes > 0 {
			found = english.Plural(mistakes, "error", "") + " and " + found
		}
		errs = append(errs, fmt.Errorf("%s in %s", found, english.Plural(len(l.files), "file", "")))
	}
	return errors.Join(errs...)
}
