package main

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/scan"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// topUnset is the value of --top if it is not set.
const topUnset = math.MinInt

type scanOptions struct {
	flags               *pflag.FlagSet
	flagErrors          *flagErrors
	policies            []string
	policyFiles         []string // all files that the policy consists of
	waivers             string
	outputs             outputFlags
	failOn, color       choice
	failUnder, maxScore float64
	baseline            string
	namespaces, checks  []string
	explain, exclude    []string
	top                 int
	config              string
	now                 time.Time // the date of the reports; waivers that expire by then accept nothing
	keepGoing           bool
	allowEmpty          bool
	showWaived, quiet   bool
	enforce             bool
	cluster             clusterFlags
}

func newScanCommand() *cobra.Command {
	o := scanOptions{
		failOn: choice{"", []string{string(rules.Critical), string(rules.High), string(rules.Medium), string(rules.Low), "any"}},
		color:  choice{"auto", []string{"auto", "always", "never"}},
	}
	command := &cobra.Command{
		Use:   "scan FILE|DIR|GLOB|-... | --cluster",
		Short: "Print the scores and violations of recorded pods and of manifests",
		Long: `Print the scores and violations of recorded pods, of manifests, or of the pods
of a cluster:

  kubectl get pods -A -o json | kube-devops scan -
  kube-devops scan manifests/ --fail-on high -o table -o sarif=out.sarif
  kube-devops scan --cluster --context prod -n shop

The input is JSON or YAML of kubectl, JSON lines, recorded watch events, or
manifests: files, folders with their subfolders, patterns, or standard input
(-), plain or compressed by gzip or zstd. The pod template of a Deployment, Job
or other workload counts as one pod. Input that cannot be read ends the scan
without a report; --keep-going skips it.

The exit code is 1 if a threshold is crossed (--fail-on, --fail-under,
--max-score, --baseline, --enforce), 2 after an error or if input was skipped, and 0
otherwise.

On a terminal, the table lists the 20 worst namespaces and workloads and 30
findings; --top 0 lists all. SOURCE_DATE_EPOCH sets the date of the reports and
the time at which waivers expire. NO_COLOR, FORCE_COLOR and TERM=dumb are
supported. The shell completes flags, formats, namespaces, checks and tables;
see "kube-devops completion --help".`,
		Args: cobra.ArbitraryArgs, // validated together with the flags
		RunE: o.run,
	}
	flags := command.Flags()
	flags.StringSliceVar(&o.policies, "policy", []string{policies.Default}, policyHelp)
	flags.StringVar(&o.waivers, "waivers", "", "`file` with waivers in addition to those of the policy table")
	flags.VarP(&o.outputs, "output", "o", "report `format`, optionally with a file (FORMAT=FILE): "+strings.Join(formatNames(), ", ")+"; may be repeated (default: table)")
	flags.Var(&o.failOn, "fail-on", "exit 1 if there is a violation of this `severity` or higher: "+strings.Join(o.failOn.words, ", "))
	flags.Float64Var(&o.failUnder, "fail-under", 0, "exit 1 if the compliance of the cluster, the mean of its namespaces, is below this `percentage`")
	flags.Float64Var(&o.maxScore, "max-score", 0, "exit 1 if the score of the cluster, the mean of its namespaces, is above this `number`")
	flags.StringVar(&o.baseline, "baseline", "", "older report, a `file` written by -o json: --fail-on applies to new violations only, and is any by default")
	flags.StringSliceVarP(&o.namespaces, "namespace", "n", nil, "`namespaces` to scan, names or patterns; may be repeated (default: those of the policy)")
	flags.StringSliceVar(&o.checks, "check", nil, "`ids` of the checks to run; may be repeated (default: those of the policy)")
	flags.BoolVar(&o.enforce, "enforce", false, "exit 1 if the API server would refuse an object because of a check with enforce: deny; with --cluster only pods are evaluated, and no templates, such as those of CronJobs")
	flags.IntVar(&o.top, "top", topUnset, "`number` of namespaces and workloads to list, worst first; 0 for all (default: 20 on a terminal, otherwise all)")
	flags.StringSliceVar(&o.explain, "explain", nil, "show where these `namespaces` (names or patterns) lost points, instead of the table; as JSON with -o json; may be repeated")
	flags.StringArrayVar(&o.exclude, "exclude", nil, "`pattern` of files and folders to skip in folders, such as charts or **/testdata; may be repeated")
	flags.StringVar(&o.config, "config", "", "`file` that sets flags, or none (default: .kube-devops.yaml here or in a parent, up to the folder with .git)")
	flags.BoolVar(&o.allowEmpty, "allow-empty", false, "exit 0 if the input has no pods and no workloads")
	flags.BoolVar(&o.keepGoing, "keep-going", false, "skip input that cannot be read, list it in the report, and exit 2")
	flags.BoolVar(&o.showWaived, "show-waived", false, "include waived violations in SARIF, as suppressed results")
	flags.Var(&o.color, "color", "`when` to color the table: auto (on a terminal), always or never")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print errors only, without warnings and progress")
	o.cluster.addTo(flags)
	flags.Lookup("top").DefValue = "" // the usage text explains it
	flags.Lookup("policy").DefValue = strconv.Quote(policies.Default)
	o.flags, o.flagErrors = flags, collectFlagErrors(command)
	completeScan(command, &o)
	return command
}

func formatNames() []string {
	var names []string
	for _, f := range report.Formats() {
		names = append(names, f.Name)
	}
	return names
}

func (o *scanOptions) run(cmd *cobra.Command, args []string) error {
	flagErrors := o.flagErrors.take()
	if err := configure(cmd, o.config); err != nil {
		return errors.Join(flagErrors, err)
	}
	if err := errors.Join(flagErrors, o.validate(cmd, args)); err != nil {
		return usageError{err}
	}
	if err := o.outputs.checkFolders(); err != nil {
		return err
	}
	var err error
	if o.now, err = currentTime(); err != nil {
		return err
	}
	// A scan keeps only a few bytes per pod, without pointers, so frequent garbage collection is cheap and lowers the peak.
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	table, err := o.loadPolicy()
	if err != nil {
		return err
	}
	for _, warning := range table.Warnings() {
		o.warn(cmd.ErrOrStderr(), warning.Error())
	}
	baseline, err := o.loadBaseline()
	if err != nil {
		return err
	}
	inputs, err := o.findInputs(args, cmd.InOrStdin())
	if err != nil {
		return err
	}
	found, err := o.scan(cmd, table, inputs)
	if err != nil {
		return err
	}
	printing := report.Options{
		Top: max(0, o.top), Waived: o.showWaived, Version: version, Now: o.now, Target: o.target(args),
		Warn: func(line string) { o.warn(cmd.ErrOrStderr(), line) },
	}
	if baseline != nil {
		printing.Baseline = baseline.Compare(found)
	}
	if o.enforce {
		printing.Refusals = found.Refusals(baseline)
	}
	verdict := o.judge(found, printing)
	if err := o.print(cmd, found, printing, verdict); err != nil {
		return err
	}
	return verdict
}

// validate checks flags and arguments.
func (o *scanOptions) validate(cmd *cobra.Command, args []string) error {
	errs := []error{validatePolicies(o.policies), o.cluster.validate(args), scan.Validate(o.namespaces), dump.CheckGlobs(o.exclude), o.validateExplain()}
	for _, flag := range []struct{ name, what string }{
		{"policy", "a file or a built-in table"}, {"waivers", "a file"}, {"baseline", "a file"},
		{"check", "a check"}, {"namespace", "a namespace or a pattern"}, {"explain", "a namespace or a pattern"},
	} {
		if value := o.flags.Lookup(flag.name).Value.String(); o.isSet(flag.name) && (value == "" || value == "[]") {
			errs = append(errs, fmt.Errorf("--%s is empty: name %s", flag.name, flag.what))
		}
	}
	if o.top < 0 && o.top != topUnset {
		errs = append(errs, fmt.Errorf("--top must be 0 or greater, got %d", o.top))
	}
	if o.isSet("fail-under") && !(o.failUnder >= 0 && o.failUnder <= 100) {
		errs = append(errs, fmt.Errorf("--fail-under must be from 0 to 100, got %g", o.failUnder))
	}
	if o.isSet("max-score") && !(o.maxScore >= 0 && o.maxScore <= math.MaxFloat64) {
		errs = append(errs, fmt.Errorf("--max-score must be 0 or greater, got %g", o.maxScore))
	}
	if len(args) == 0 && !o.cluster.enabled {
		errs = append(errs, errors.New("missing argument: name files, folders or patterns to scan, - for standard input, or --cluster"))
	}
	if slices.Contains(args, "") {
		errs = append(errs, errors.New("an argument is empty: name what to scan"))
	}
	if first := slices.Index(args, "-"); first >= 0 && slices.Contains(args[first+1:], "-") {
		errs = append(errs, errors.New("- is given twice: standard input can be read only once"))
	}
	explanations := 0
	if len(o.explain) > 0 && !o.explainsAsJSON() {
		explanations = 1
	}
	return errors.Join(append(errs, o.outputs.checkDistinct(cmd.OutOrStdout(), explanations))...)
}

func (o *scanOptions) isSet(flag string) bool { return o.flags.Changed(flag) }

// judge returns an error that lists the thresholds that are crossed and the input that was skipped.
func (o *scanOptions) judge(found *report.Scan, printing report.Options) error {
	crossed := append(o.judgeViolations(found, printing.Baseline), judgeAdmission(printing.Refusals)...)
	code := exitCrossed
	if scores, ok := found.Snapshot.Cluster(); ok {
		if o.isSet("fail-under") && scores.Compliance < o.failUnder {
			crossed = append(crossed, fmt.Errorf("--fail-under %g: the compliance of the cluster is %.4g %%", o.failUnder, scores.Compliance))
		}
		if o.isSet("max-score") && scores.Score > o.maxScore {
			crossed = append(crossed, fmt.Errorf("--max-score %g: the score of the cluster is %.4g", o.maxScore, scores.Score))
		}
	} else if set := o.thresholds(found); len(set) > 0 && !o.allowEmpty {
		code = exitFailed
		crossed = append(crossed, fmt.Errorf("no pod was evaluated: there is nothing to compare with %s", strings.Join(set, " and ")))
	}
	if skipped := found.Inputs.Unreadable; len(skipped) > 0 {
		code = exitFailed
		const listed = 10
		for _, text := range skipped[:min(len(skipped), listed)] {
			crossed = append(crossed, errors.New("left out: "+text))
		}
		crossed = append(crossed, fmt.Errorf("the report is incomplete: %s left out", english.Plural(len(skipped), "input", "")))
	}
	if len(crossed) == 0 {
		return nil
	}
	return exitError{code, errors.Join(crossed...)}
}

// thresholds lists the flags that need evaluated pods. What the API server would judge counts for --enforce, and for the baseline of it: a
// pod that the score skips can be refused.
func (o *scanOptions) thresholds(found *report.Scan) (set []string) {
	judged := slices.ContainsFunc(found.Admission, func(a report.Admission) bool {
		_, ok := a.Scan.Snapshot.Cluster()
		return ok
	})
	for _, flag := range []string{"fail-on", "fail-under", "max-score", "baseline"} {
		if o.isSet(flag) && !(flag == "baseline" && judged) {
			set = append(set, "--"+flag)
		}
	}
	if o.enforce && !judged {
		set = append(set, "--enforce")
	}
	return set
}

// judgeViolations compares the violations, or with a baseline the new ones, with --fail-on.
func (o *scanOptions) judgeViolations(found *report.Scan, against *report.BaselineDiff) []error {
	what, flag := "violation", "--fail-on "+o.failOn.value
	if against != nil {
		what = "new violation"
	}
	switch {
	case o.failOn.value == "" && against == nil:
		return nil
	case o.failOn.value == "":
		flag = "--baseline " + dump.OneLine(o.baseline)
	}
	fails := func(severity rules.Severity) bool {
		return o.failOn.value == "" || slices.Index(o.failOn.words, string(severity)) <= slices.Index(o.failOn.words, o.failOn.value)
	}
	n, unknown := 0, 0
	if against != nil {
		for _, finding := range against.New {
			if fails(finding.Check.Severity) {
				n += finding.Violations
			}
		}
	} else {
		checks := found.Snapshot.Table.Checks()
		for v := range found.Snapshot.Violations() {
			if fails(checks[v.Check].Severity) {
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
	text := flag + ": " + english.Plural(n, what, "")
	if unknown > 0 {
		text += fmt.Sprintf(", %d of them unknown", unknown)
	}
	return []error{errors.New(text)}
}
