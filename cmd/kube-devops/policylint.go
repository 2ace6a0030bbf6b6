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
	"github.com/kube-devops/kube-devops/rules"
)

func newPolicyLintCommand() *cobra.Command {
	var policy, recording string
	var strict bool
	command := &cobra.Command{
		Use:   "lint FILE|DIR|GLOB|-...",
		Short: "Print every mistake and every warning in policy tables",
		Long: `Print every mistake in policy tables, files of waivers and policy tests, and
every warning: what is allowed and hardly meant, as a path that no Pod has, a
check that can never fail, or a waiver that has expired.

Of a folder it reads the files of apiVersion ` + apiVersion + ` and counts the
rest; - is standard input.

The exit code is 2 where there is a mistake, with --strict also where there is
a warning, and 0 otherwise.`,
		Args: needArgs(1, math.MaxInt, "the files to check"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if recording == "-" && slices.Contains(args, "-") {
				return usageError{errors.New("- is given twice: standard input can be read once")}
			}
			l := linting{recording: recording, policy: policy}
			l.readAll(args, cmd.InOrStdin())
			if recording != "" {
				if err := readPods(cmd.Context(), recording, cmd.InOrStdin(), l.observe); err != nil {
					return err
				}
			}
			return l.report(cmd.OutOrStdout(), time.Now(), strict)
		},
	}
	command.Flags().StringVar(&policy, "policy", policies.Default, "policy table that files of waivers are about: a file, or the name of one that ships")
	command.Flags().StringVar(&recording, "dump", "", "recorded pods, a file or - for standard input: a waiver that accepts nothing in them is a warning")
	command.Flags().BoolVar(&strict, "strict", false, "fail on warnings too")
	complete(command, "policy", completeTables)
	checkTogether(command)
	return command
}

// A linting is a run of lint over some files.
type linting struct {
	recording, policy string
	files             []lintedFile
	errs              []error // of files that cannot be read
	folders           bool    // there was a folder or a pattern
	others            int     // files of folders that are something else
	seen              map[string]bool
}

type lintedFile struct {
	name      string
	text      []byte
	table     *rules.Table // nil where there are mistakes, or the file is no policy
	mistakes  rules.Mistakes
	accepting map[string]bool // the waivers that accept a violation in the recording
}

// load loads a text as what it says it is.
func (l *linting) load(name string, text []byte) {
	f := lintedFile{name: name, text: text}
	var err error
	switch rules.KindOf(f.text) {
	case rules.PolicyTestKind:
		_, err = rules.LoadPolicyTest(name, f.text)
	case rules.WaiversKind:
		var table *rules.Table
		if table, err = policies.Open(l.policy); err != nil {
			l.errs = append(l.errs, fmt.Errorf("load the policy that %s is about: %w", name, err))
			return
		}
		f.table, err = table.WithWaivers(name, f.text)
	default:
		f.table, err = rules.Load(name, f.text)
	}
	if err != nil && !errors.As(err, &f.mistakes) {
		l.errs = append(l.errs, err)
		return
	}
	l.files = append(l.files, f)
}

// observe notes which waivers accept a violation of a recorded pod.
func (l *linting) observe(event dump.Event) error {
	for i := range l.files {
		f := &l.files[i]
		if f.table == nil || len(f.table.Waivers()) == 0 || event.Op == dump.Delete || !f.table.Includes(event.Namespace) {
			continue
		}
		verdict, err := f.table.Evaluate(event.JSON)
		if err != nil {
			return err
		}
		if f.accepting == nil {
			f.accepting = make(map[string]bool)
		}
		for _, w := range f.table.Accepting(event.JSON, verdict) {
			f.accepting[w.ID] = true
		}
	}
	return nil
}

// report prints what was found. The error says how much that is, where it is too much.
func (l *linting) report(to io.Writer, now time.Time, strict bool) error {
	mistakes, doubts := 0, 0
	for _, f := range l.files {
		mistakes += len(f.mistakes)
		for _, m := range f.mistakes {
			if _, err := fmt.Fprintln(to, m); err != nil {
				return err
			}
		}
		if f.table == nil {
			continue
		}
		known := rules.Knowledge{Pods: policies.PodSchema(), Now: now}
		if l.recording != "" {
			known.Recording, known.Accepting = l.recording, orEmpty(f.accepting)
		}
		for _, d := range f.table.Doubts(f.name, f.text, known) {
			doubts++
			if _, err := fmt.Fprintln(to, d); err != nil {
				return err
			}
		}
	}
	if l.folders {
		if _, err := fmt.Fprintf(to, "%s checked, %s left out.\n", english.Plural(len(l.files), "file", ""), english.Plural(l.others, "other file", "")); err != nil {
			return err
		}
	}
	errs := l.errs
	if mistakes > 0 || strict && doubts > 0 {
		found := []string{english.Plural(mistakes, "mistake", ""), english.Plural(doubts, "warning", "")}
		if mistakes == 0 {
			found = found[1:]
		}
		errs = append(errs, fmt.Errorf("%s in %s", strings.Join(found, " and "), english.Plural(len(l.files), "file", "")))
	}
	return errors.Join(errs...)
}

func orEmpty(set map[string]bool) map[string]bool {
	if set == nil {
		return map[string]bool{}
	}
	return set
}
