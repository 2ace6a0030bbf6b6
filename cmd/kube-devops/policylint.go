package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/policies/policytest"
	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/lint"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

func newPolicyLintCommand() *cobra.Command {
	var l linting
	var strict bool
	command := &cobra.Command{
		Use:   "lint FILE|DIR|GLOB|-...",
		Short: "Print errors and warnings in policy tables",
		Long: `Print all errors in policy tables, files of waivers and policy tests, and
warnings about probable mistakes: for example a path that no Pod has, a check
that can never fail, or a waiver that has expired. A waiver expires at the first
moment of its date in UTC. A file of waivers is for the table of --policy;
without that flag for the one among the files that no other one extends, and if
there are several or none, for the table default. lint does not run policy
tests: it looks for their policies, the checks and waivers that they name, and
the files of their pods.

In a folder, lint reads the files of apiVersion ` + rules.APIVersion + ` and counts
the others; - is standard input.

The exit code is 2 if there is an error, or with --strict a warning, and 0
otherwise.`,
		Args: args(1, math.MaxInt, "the files to check"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if l.recording == "-" && slices.Contains(args, "-") {
				return usageError{errors.New("- is given twice: standard input can be read only once")}
			}
			now, err := currentTime()
			if err != nil {
				return err
			}
			l.readAll(args, cmd.InOrStdin())
			l.loadWaivers(cmd.Flags().Changed("policy"))
			if l.recording != "" {
				if err := readPods(cmd.Context(), l.recording, cmd.InOrStdin(), l.observe); err != nil {
					return err
				}
			}
			return l.report(cmd.OutOrStdout(), now, strict)
		},
	}
	command.Flags().StringSliceVar(&l.policies, "policy", []string{policies.Default}, "policy table that files of waivers are for: a `file`, or the name of a built-in table; may be repeated, as for scan")
	command.Flags().Lookup("policy").DefValue = strconv.Quote(policies.Default)
	command.Flags().StringVar(&l.recording, "dump", "", "`file` of recorded pods, or - for standard input: warn about waivers that match none of their violations")
	command.Flags().BoolVar(&strict, "strict", false, "fail on warnings, too")
	complete(command, "policy", completePolicies)
	validateTogether(command)
	return command
}

// A linting is a run of lint over some files.
type linting struct {
	policies  []string
	recording string
	files     []lintedFile
	errs      []error // of files that cannot be read
	folders   bool    // an argument was a folder or a pattern
	others    int     // files in folders that are not policy files
}

type lintedFile struct {
	name      string
	text      []byte
	kind      string
	below     []rules.Source // the tables that it extends
	table     *rules.Table   // nil if there are errors, and for policy tests
	mistakes  rules.LoadErrors
	accepting map[string]bool // the waivers that accept a violation in the recording
}

// load loads a text by its kind.
func (l *linting) load(name string, text []byte) {
	f := lintedFile{name: name, text: text, kind: rules.KindOf(text), accepting: make(map[string]bool)}
	var err error
	switch f.kind {
	case policytest.Kind:
		err = policytest.Check(name, text)
	case rules.WaiversKind: // see loadWaivers, when all tables are known
	default:
		err = f.loadTable()
	}
	if err != nil && !errors.As(err, &f.mistakes) {
		l.errs = append(l.errs, err)
		return
	}
	l.files = append(l.files, f)
}

// loadTable loads the table with all that it extends.
func (f *lintedFile) loadTable() error {
	file := f.name
	if file == "stdin" {
		file = ""
	}
	sources, err := policies.ResolveText(policies.Read, file, f.text)
	if err != nil {
		return err
	}
	f.below = sources[:len(sources)-1]
	f.table, err = rules.LoadAll(sources...)
	return err
}

// ofPart finds the errors of a table that does not load without those that it is meant to change.
var ofPart = regexp.MustCompile(`^missing field "(checks|weight|violation)" |^disable: the table extends no other table|^unknown check |: unknown list `)

// parts are the files that others extend.
func (l *linting) parts() map[string]bool {
	parts := make(map[string]bool)
	for _, f := range l.files {
		for _, source := range f.below {
			parts[filepath.Clean(source.File)] = true
		}
	}
	return parts
}

// leaveOutParts drops the errors of files that only make sense as a part of another one, which are checked as such.
func (l *linting) leaveOutParts() {
	parts := l.parts()
	for i := range l.files {
		if f := &l.files[i]; parts[filepath.Clean(f.name)] {
			f.mistakes = slices.DeleteFunc(f.mistakes, func(m strictyaml.Error) bool { return ofPart.MatchString(m.Msg) })
		}
	}
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
	printed := make(map[string]bool)
	print := func(line string) int { // once, though several tables may extend the same one
		if printed[line] {
			return 0
		}
		printed[line] = true
		lines.WriteString(line + "\n")
		return 1
	}
	l.leaveOutParts()
	mistakes, warnings := 0, 0
	unchecked := false // there are files that may have warnings, but have errors
	for _, f := range l.files {
		for _, m := range f.mistakes {
			mistakes += print(m.Error())
		}
		if f.table == nil {
			unchecked = unchecked || len(f.mistakes) > 0 && f.kind != policytest.Kind || f.kind == rules.WaiversKind
			continue
		}
		known := lint.Options{Pods: policies.PodSchema(), Below: f.below, LeftOut: leftOut(f.table), Now: now}
		if l.recording != "" {
			known.Recording, known.Accepting = l.recording, f.accepting
		}
		for _, d := range lint.Warnings(f.table, f.name, f.text, known) {
			warnings += print(d.String())
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
		var found []string
		if mistakes > 0 {
			found = append(found, english.Plural(mistakes, "error", ""))
		}
		if warnings > 0 {
			found = append(found, english.Plural(warnings, "warning", ""))
		}
		after := ""
		if unchecked {
			after = "; lint looks for warnings in a file when its errors are fixed"
		}
		errs = append(errs, fmt.Errorf("%s in %s%s", strings.Join(found, " and "), english.Plural(len(l.files), "file", ""), after))
	}
	return errors.Join(errs...)
}
