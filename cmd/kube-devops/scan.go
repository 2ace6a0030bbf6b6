package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/scan"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

func newScanCommand() *cobra.Command {
	o := scanOptions{top: topUnset, color: colorAuto, failUnder: numberFlag{least: 0, most: 100}, maxScore: numberFlag{least: 0, most: math.Inf(1)}}
	command := &cobra.Command{
		Use:   "scan FILE|DIR|GLOB|-... | --cluster",
		Short: "Print the scores and violations of recorded pods and of manifests",
		Long: `Print the scores and violations of recorded pods, of manifests, and of the pods
of a cluster:

  kubectl get pods -A -o json | kube-devops scan -
  kube-devops scan manifests/ --fail-on high -o table -o sarif=out.sarif
  kube-devops scan --cluster --context prod -n shop

It reads what kubectl prints as JSON and YAML, JSON lines, recorded watch
events, and manifests; files, folders with all that lies in them, patterns and
standard input (-); plain, or packed by gzip or zstd. The pod template of a
Deployment, Job or other workload counts as one pod. What cannot be read ends
it without a report; with --keep-going the rest is reported on.

The exit code is 1 where a threshold is crossed (--fail-on, --fail-under,
--max-score, --baseline), 2 where anything went wrong or was left out, and 0
otherwise.

On a terminal the table lists the 20 worst namespaces and workloads, and 30
findings; --top 0 lists all, as in a pipe and in a file. SOURCE_DATE_EPOCH sets
the date of the reports, and NO_COLOR, FORCE_COLOR and TERM=dumb are respected.
"kube-devops completion --help" says how the shell completes flags, formats,
namespaces, checks and tables.`,
		Args: cobra.ArbitraryArgs, // validate checks them, with the flags
		RunE: o.run,
	}
	flags := command.Flags()
	flags.StringVar(&o.policy, "policy", policies.Default, "policy table: a file, or the name of one that ships")
	flags.StringVar(&o.waivers, "waivers", "", "file of waivers beside the policy table")
	flags.VarP(&o.outputs, "output", "o", "report to print, of "+formatNames()+"; FORMAT=FILE writes it to a file; may be given several times (default: table)")
	flags.Var(&o.failOn, "fail-on", "exit 1 on a violation of this severity or a worse one: critical, high, medium, low, or any")
	flags.Var(&o.failUnder, "fail-under", "exit 1 where the compliance of the cluster, the mean of its namespaces, is below this percentage")
	flags.Var(&o.maxScore, "max-score", "exit 1 where the score of the cluster, the mean of its namespaces, is above this")
	flags.StringVar(&o.baseline, "baseline", "", "older report, printed by -o json: --fail-on (default here: any) looks at new violations alone")
	flags.StringSliceVarP(&o.namespaces, "namespace", "n", nil, "namespaces to look at, a name or a pattern; may be given several times (default: those of the policy)")
	flags.StringSliceVar(&o.checks, "check", nil, "ids of the checks to make; may be given several times (default: those of the policy)")
	flags.Var(&o.top, "top", "how many namespaces and workloads the reports for people list, worst first; 0 for all (default: 20 on a terminal, else all)")
	flags.StringSliceVar(&o.explain, "explain", nil, "print where the points of these namespaces went, in place of the table: names or patterns; with -o json as JSON; may be given several times")
	flags.StringArrayVar(&o.exclude, "exclude", nil, "files and folders to leave out of a folder, a pattern of the path in it such as charts or **/testdata; may be given several times")
	flags.StringVar(&o.config, "config", "", "file that sets flags (default: .kube-devops.yaml here or above, up to the folder with .git), or none")
	flags.BoolVar(&o.allowEmpty, "allow-empty", false, "exit 0 where the input has no pods and no workloads")
	flags.BoolVar(&o.keepGoing, "keep-going", false, "leave out what cannot be read, say so in the report, and exit 2")
	flags.BoolVar(&o.showWaived, "show-waived", false, "add the waived violations to SARIF, as suppressed results")
	flags.Var(&o.color, "color", "colour the table: auto (on a terminal), always or never")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print no warnings and no progress, only errors")
	o.cluster.addTo(flags)
	o.mistakes = gatherMistakes(command)
	completeScan(command, &o)
	return command
}

func formatNames() string {
	var names []string
	for _, f := range report.Formats() {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

type scanOptions struct {
	policy, waivers     string
	outputs             outputFlags
	failOn              severityFlag
	failUnder, maxScore numberFlag
	baseline            string
	namespaces, checks  []string
	top                 countFlag
	explain             []string
	keepGoing           bool
	showWaived, quiet   bool
	color               colorFlag
	cluster             clusterFlags
	mistakes            *mistakes // of the flags, until they are taken
	flagMistakes        error
	exclude             []string
	config              string
	allowEmpty          bool
}

func (o *scanOptions) run(cmd *cobra.Command, args []string) error {
	o.flagMistakes = o.mistakes.take()
	if err := configure(cmd, o.config); err != nil {
		return errors.Join(o.flagMistakes, err)
	}
	if err := o.validate(cmd, args); err != nil {
		return usageError{err}
	}
	if err := o.outputs.checkFolders(); err != nil {
		return err
	}
	date, err := reportDate(os.Getenv("SOURCE_DATE_EPOCH"), time.Now())
	if err != nil {
		return err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(gcPercent))
	table, err := o.table()
	if err != nil {
		return err
	}
	var baseline *report.Baseline
	if o.baseline != "" {
		if baseline, err = loadBaseline(o.baseline); err != nil {
			return err
		}
	}
	inputs := dump.Find(args, o.exclude)
	if o.cluster.cluster {
		inputs.Files = []dump.File{{Path: "-"}}
	}
	if !o.allowEmpty {
		inputs.RefuseEmptyFolders()
	}
	if len(inputs.Errors) > 0 && (!o.keepGoing || len(inputs.Files) == 0) {
		return errors.Join(inputs.Errors...)
	}
	if err := o.spareInputs(inputs.Files, cmd.InOrStdin()); err != nil {
		return err
	}
	found, err := o.scan(cmd, table, inputs)
	if err != nil {
		return err
	}
	printing := report.Options{
		Top: max(0, int(o.top)), Waived: o.showWaived, Version: version, Now: date, Target: o.target(args),
		Warn: func(line string) { o.warn(cmd.ErrOrStderr(), line) },
	}
	if baseline != nil {
		printing.Baseline = baseline.Compare(found)
	}
	verdict := o.judge(found, printing.Baseline)
	if err := o.print(cmd, found, printing, verdict); err != nil {
		return err
	}
	return verdict
}

// validate tells all that is wrong with the flags, before anything is read.
func (o *scanOptions) validate(cmd *cobra.Command, args []string) error {
	errs := []error{o.flagMistakes, o.cluster.validate(args), scan.Validate(o.namespaces), dump.CheckGlobs(o.exclude)}
	if len(args) == 0 && !o.cluster.cluster {
		errs = append(errs, errors.New("missing argument: name what to scan: files, folders, patterns, - for standard input, or --cluster"))
	}
	if cmd.Flags().Changed("explain") && len(o.explain) == 0 {
		errs = append(errs, errors.New("--explain is empty: name a namespace or a pattern"))
	}
	for _, name := range []string{"baseline", "waivers", "policy"} {
		if flag := cmd.Flags().Lookup(name); flag.Changed && flag.Value.String() == "" {
			errs = append(errs, fmt.Errorf("--%s is empty: name a file", name))
		}
	}
	if cmd.Flags().Changed("check") && len(o.checks) == 0 {
		errs = append(errs, errors.New("--check is empty: name a check"))
	}
	if cmd.Flags().Changed("namespace") && len(o.namespaces) == 0 {
		errs = append(errs, errors.New("--namespace is empty: name a namespace or a pattern"))
	}
	stdin := 0
	for _, arg := range args {
		if arg == "" {
			errs = append(errs, errors.New("empty file name: name what to scan"))
		}
		if arg == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		errs = append(errs, errors.New("- is given twice: standard input can be read once"))
	}
	errs = append(errs, o.validateExplain(), o.outputs.checkDistinct(cmd.OutOrStdout(), len(o.explain) > 0 && !o.explainsAsJSON()))
	return errors.Join(errs...)
}

// table loads the policy.
func (o *scanOptions) table() (*rules.Table, error) {
	table, err := policies.OpenWithWaivers(o.policy, o.waivers)
	if err != nil {
		return nil, loading("policy", err)
	}
	if len(o.checks) > 0 {
		if table, err = table.Only(o.checks...); err != nil {
			return nil, fmt.Errorf("--check: %w", err)
		}
	}
	return table, nil
}

// loading says what could not be loaded, but of mistakes, each of which says so itself.
func loading(what string, err error) error {
	var mistakes rules.Mistakes
	if errors.As(err, &mistakes) {
		return err
	}
	return fmt.Errorf("load %s: %w", what, err)
}

func loadBaseline(name string) (*report.Baseline, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("load baseline: open %s: %w", dump.OneLine(name), bare(err))
	}
	defer func() { _ = f.Close() }() // it is only read
	text, err := dump.Decompress(f)
	if err != nil {
		return nil, fmt.Errorf("load baseline: %s: %w", dump.OneLine(name), err)
	}
	return report.LoadBaseline(name, text)
}

// spareInputs refuses to write a report over what it is made of.
func (o *scanOptions) spareInputs(files []dump.File, stdin io.Reader) error {
	type input struct {
		name string
		info os.FileInfo
	}
	var inputs []input
	add := func(name string) {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			inputs = append(inputs, input{name, info})
		}
	}
	var outputs []os.FileInfo
	for _, output := range o.outputs {
		info, err := os.Stat(output.file)
		if err != nil || output.file == "" {
			info = nil
		}
		outputs = append(outputs, info)
	}
	if !slices.ContainsFunc(outputs, func(info os.FileInfo) bool { return info != nil }) {
		return nil
	}
	for _, name := range []string{o.policy, o.waivers} {
		add(name)
	}
	for _, file := range files {
		if file.Path != "-" {
			add(file.Path)
		} else if f, ok := stdin.(*os.File); ok {
			if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
				inputs = append(inputs, input{"standard input", info})
			}
		}
	}
	var errs []error
	for i, output := range outputs {
		for _, in := range inputs {
			if output != nil && os.SameFile(output, in.info) {
				errs = append(errs, fmt.Errorf("write %s: it is what is read (%s): write the report to another file", dump.OneLine(o.outputs[i].file), dump.OneLine(in.name)))
				break
			}
		}
	}
	return errors.Join(errs...)
}

// The memory of a scan is the few bytes that it keeps of each pod, in which there is nothing for a collector to follow: one
// that runs far more often than by default costs next to nothing, and the peak stays where it is for a few pods.
const gcPercent = 10

func (o *scanOptions) scan(cmd *cobra.Command, table *rules.Table, inputs dump.Found) (*report.Scan, error) {
	ctx, stderr := cmd.Context(), cmd.ErrOrStderr()
	var warnings warnings
	options := scan.Options{
		Table: table, Now: time.Now(), Found: inputs, Stdin: cmd.InOrStdin(), Namespaces: o.namespaces, KeepGoing: o.keepGoing, AllowEmpty: o.allowEmpty,
		Workers: runtime.GOMAXPROCS(0), Warn: warnings.add,
	}
	run := scan.Run
	if o.cluster.cluster {
		pods, err := o.cluster.open(ctx, o.namespaces, warnings.add)
		if err != nil {
			return nil, err
		}
		run = pods.scan
	}
	bar := o.progressBar(stderr, inputs.Files, options.Stdin)
	options.Progress = &bar.read
	found, err := run(ctx, options)
	bar.stop()
	if err == nil {
		o.warn(stderr, warnings.take()...)
	}
	if err != nil && ctx.Err() != nil {
		return nil, exitError{exitInterrupted, nil}
	}
	return found, err
}

// judge says, as the error, which thresholds are crossed and what was left out.
func (o *scanOptions) judge(found *report.Scan, against *report.BaselineDiff) error {
	var crossed []error
	if o.failOn.set || against != nil {
		if err := o.judgeViolations(found, against); err != nil {
			crossed = append(crossed, err)
		}
	}
	scores, ok := found.Snapshot.Cluster()
	code := exitCrossed
	if flags := o.thresholds(); !ok && !o.allowEmpty && len(flags) > 0 {
		code = exitFailed
		crossed = append(crossed, fmt.Errorf("no pod was evaluated: there is nothing to compare with %s", strings.Join(flags, " and ")))
	}
	if ok && o.failUnder.set && scores.Compliance < o.failUnder.value {
		crossed = append(crossed, fmt.Errorf("--fail-under %s: the compliance of the cluster is %.4g %%", o.failUnder.String(), scores.Compliance))
	}
	if ok && o.maxScore.set && scores.Score > o.maxScore.value {
		crossed = append(crossed, fmt.Errorf("--max-score %s: the score of the cluster is %.4g", o.maxScore.String(), scores.Score))
	}
	if left := found.Inputs.Unreadable; len(left) > 0 {
		for i := range left[:min(len(left), maxNamed)] {
			crossed = append(crossed, errors.New("left out: "+left[i]))
		}
		return exitError{exitFailed, errors.Join(append(crossed, fmt.Errorf("the report is on a part of the data: %s left out", english.Plural(len(left), "fault", "")))...)}
	}
	if len(crossed) > 0 {
		return exitError{code, errors.Join(crossed...)}
	}
	return nil
}

// maxNamed is how many faults are told, of many.
const maxNamed = 10

// judgeViolations holds the violations, where there is a baseline the new ones, against --fail-on.
func (o *scanOptions) judgeViolations(found *report.Scan, against *report.BaselineDiff) error {
	checks := found.Snapshot.Table.Checks()
	n, unknown := 0, 0
	if against != nil {
		for _, finding := range against.New {
			if o.failOn.includes(finding.Check.Severity) {
				n += finding.Violations
			}
		}
	} else {
		for v := range found.Snapshot.Violations() {
			if o.failOn.includes(checks[v.Check].Severity) {
				n++
				if v.Unknown {
					unknown++
				}
			}
		}
	}
	if n == 0 {
		return nil
	}
	what := "violation"
	if against != nil {
		what = "new violation"
	}
	flag := "--baseline " + dump.OneLine(o.baseline)
	if o.failOn.set {
		flag = "--fail-on " + o.failOn.String()
	}
	text := english.Plural(n, what, "")
	if unknown > 0 {
		text += fmt.Sprintf(", %d of them unknown", unknown)
	}
	return fmt.Errorf("%s: %s", flag, text)
}

// A severityFlag is a least severity.
type severityFlag struct {
	set   bool
	least rules.Severity // empty: any
}

func (f *severityFlag) Type() string { return "severity" }

func (f *severityFlag) String() string {
	if f.set && f.least == "" {
		return "any"
	}
	return string(f.least)
}

func (f *severityFlag) Set(value string) error {
	if value != "any" && rules.Severity(value).Rank() < 0 {
		return fmt.Errorf("%q is not one of critical, high, medium, low, any", value)
	}
	f.set, f.least = true, ""
	if value != "any" {
		f.least = rules.Severity(value)
	}
	return nil
}

// includes says whether a severity is as bad, or worse.
func (f *severityFlag) includes(severity rules.Severity) bool {
	return f.least == "" || severity.Rank() <= f.least.Rank()
}

// A countFlag is a whole number, from 0 on.
type countFlag int

func (f *countFlag) Type() string { return "count" }

func (f *countFlag) String() string {
	if *f == topUnset {
		return ""
	}
	return strconv.Itoa(int(*f))
}

// topUnset is the value of --top where it is not given.
const topUnset countFlag = -1

func (f *countFlag) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%q is not an integer", text)
	}
	if n < 0 {
		return fmt.Errorf("must be 0 or greater, got %d", n)
	}
	*f = countFlag(n)
	return nil
}

// A numberFlag is a number between two others.
type numberFlag struct {
	set         bool
	value       float64
	least, most float64
}

func (f *numberFlag) Type() string { return "number" }

func (f *numberFlag) String() string {
	if !f.set {
		return ""
	}
	return strconv.FormatFloat(f.value, 'g', -1, 64)
}

func (f *numberFlag) Set(text string) error {
	value, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.IsNaN(value) || math.IsInf(value, 0):
		return fmt.Errorf("%q is not a number", text)
	case value >= f.least && value <= f.most:
	case math.IsInf(f.most, 1):
		return fmt.Errorf("must be %g or greater, got %s", f.least, text)
	default:
		return fmt.Errorf("must be from %g to %g, got %s", f.least, f.most, text)
	}
	f.set, f.value = true, value
	return nil
}

// An exitError has an exit code of its own, and may have nothing to say.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }
