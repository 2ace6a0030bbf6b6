package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/fleet"
	"github.com/kube-devops/kube-devops/agent/report"
)

type fleetOptions struct {
	flags           *pflag.FlagSet
	config          string
	tokens, cas     []string
	timeout, maxAge time.Duration
	failUnder       float64
	samePolicy      bool
	output          *choice
	members         []fleet.Member
	errors          []error // from parsing the arguments
}

func newFleetCommand() *cobra.Command {
	o := &fleetOptions{}
	command := &cobra.Command{
		Use:   "fleet [NAME=FILE|URL...]",
		Short: "Print the reports of the agents of many clusters",
		Long: `Print the reports of many clusters as one table. A report is a file written by
"kube-devops scan -o json", the address of an agent, or the address of a stored
report that ends with .json. --config reads the clusters from a file:

  apiVersion: kube-devops.io/v1
  kind: Fleet
  timeout: 10s                 # to read one report
  maxAge: 24h                  # an older report is stale; 0s: no limit
  clusters:
    - name: prod-eu
      url: https://kube-devops.prod-eu.example.com
      tokenFile: prod-eu.token # for http.auth
      caFile: prod-eu.pem      # default: the system's CAs
    - {name: dev, file: dev.json, maxAge: 48h}

The command does not follow redirects. A cluster is away if its report cannot be
read, standby if its address belongs to a replica that is not the leader, and
stale if its report is too old. These clusters are not included in the numbers
of the fleet.

The exit code is 2 after an error or if a cluster is not current, 1 if a
threshold is crossed (--fail-under, --same-policy), and 0 otherwise.`,
		Args: cobra.ArbitraryArgs,
	}
	flags := command.Flags()
	flags.StringVar(&o.config, "config", "", "`file` with clusters, in addition to the arguments")
	flags.StringArrayVar(&o.tokens, "token-file", nil, "`NAME=FILE`: file with the bearer token for the cluster NAME of the arguments; may be repeated")
	flags.StringArrayVar(&o.cas, "ca-file", nil, "`NAME=FILE`: file with the CA of the server for the cluster NAME of the arguments; may be repeated")
	flags.DurationVar(&o.timeout, "timeout", fleet.DefaultTimeout, "maximum `time` to read the report of a cluster of the arguments")
	flags.DurationVar(&o.maxAge, "max-age", fleet.DefaultMaxAge, "`age` above which the report of a cluster of the arguments is stale; 0 for no limit")
	flags.Float64Var(&o.failUnder, "fail-under", 0, "exit 1 if the compliance of a cluster is below this `percentage`")
	flags.BoolVar(&o.samePolicy, "same-policy", false, "exit 1 if the policies of the clusters differ")
	o.output = addOutputFlag(command, "table", "json", "html")
	o.flags = flags
	validateTogether(command, o.validate)
	command.Args = o.withArguments(command.Args)
	command.RunE = o.run
	command.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault | cobra.ShellCompDirectiveNoSpace
	}
	return command
}

// withArguments parses the clusters before it calls then, so that the errors of arguments and flags are reported together.
func (o *fleetOptions) withArguments(then cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		o.members, o.errors = nil, nil
		for _, arg := range args {
			m, err := fleet.ParseMember(arg)
			if err != nil {
				o.errors = append(o.errors, err)
				continue
			}
			m.Timeout, m.MaxAge = o.timeout, o.maxAge
			o.members = append(o.members, m)
		}
		return then(cmd, args)
	}
}

func (o *fleetOptions) validate() error {
	errs := slices.Clone(o.errors)
	if o.timeout <= 0 {
		errs = append(errs, fmt.Errorf("--timeout must be greater than 0, got %s", o.timeout))
	}
	if o.maxAge < 0 {
		errs = append(errs, fmt.Errorf("--max-age must be 0 or greater, got %s", o.maxAge))
	}
	if o.flags.Changed("fail-under") && !(o.failUnder >= 0 && o.failUnder <= 100) {
		errs = append(errs, fmt.Errorf("--fail-under must be from 0 to 100, got %g", o.failUnder))
	}
	errs = append(errs, o.assign("--token-file", o.tokens, func(m *fleet.Member) *string { return &m.TokenFile }),
		o.assign("--ca-file", o.cas, func(m *fleet.Member) *string { return &m.CAFile }))
	for i := range o.members {
		errs = append(errs, o.members[i].Complete())
	}
	if len(o.members) == 0 && o.config == "" && errors.Join(errs...) == nil {
		errs = append(errs, errors.New("missing argument: name clusters as NAME=FILE or NAME=URL, or a file with --config"))
	}
	return errors.Join(errs...)
}

// assign parses NAME=FILE values, and sets the file in the field of the member NAME.
func (o *fleetOptions) assign(flag string, values []string, of func(*fleet.Member) *string) error {
	var errs []error
	for _, value := range values {
		name, file, ok := strings.Cut(value, "=")
		at := slices.IndexFunc(o.members, func(m fleet.Member) bool { return m.Name == name })
		switch {
		case !ok || file == "":
			errs = append(errs, fmt.Errorf("%s %q must be NAME=FILE", flag, value))
		case at < 0:
			errs = append(errs, fmt.Errorf("%s %q: no argument names the cluster %s", flag, value, name))
		default:
			*of(&o.members[at]) = file
		}
	}
	return errors.Join(errs...)
}

func (o *fleetOptions) run(cmd *cobra.Command, _ []string) error {
	now, err := currentTime()
	if err != nil {
		return err
	}
	if o.config != "" {
		text, err := os.ReadFile(o.config)
		if err != nil {
			return fmt.Errorf("read %s: %w", dump.OneLine(o.config), bare(err))
		}
		configured, err := fleet.Load(o.config, text)
		if err != nil {
			return err
		}
		o.members = append(configured, o.members...)
	}
	if err := fleet.Check(o.members); err != nil {
		return err
	}
	found := report.Fleet{Now: now, Members: make([]report.FleetMember, len(o.members))}
	reader := fleet.Fleet{Members: o.members, Now: now, UserAgent: "kube-devops/" + version}
	answers, err := reader.Read(cmd.Context(), func(i int, from io.Reader) error {
		worst := report.NewWorstNamespaces()
		doc, err := report.ReadDocument(from, report.ReadOptions{Namespace: worst.Add})
		if err == nil {
			doc.Namespaces = worst.List()
			found.Members[i].Report = doc
		}
		return err
	})
	if err != nil {
		return exitError{exitInterrupted, nil}
	}
	for i, answer := range answers {
		m := &found.Members[i]
		m.Name, m.State, m.Reason, m.Page, m.Time = o.members[i].Name, string(answer.State), answer.Reason, o.members[i].Page, answer.Time
		if answer.State == fleet.Away {
			m.Report = nil // it may be incomplete
		}
	}
	found.Settle()
	if err := o.print(cmd.OutOrStdout(), &found); err != nil {
		return err
	}
	return o.judge(&found)
}

func (o *fleetOptions) print(to io.Writer, found *report.Fleet) error {
	screen := screenOf(to)
	printing := report.Options{Width: screen.width, Color: useColor("", screen, os.Getenv)}
	return map[string]func(io.Writer, *report.Fleet, report.Options) error{
		"table": report.FleetTable, "json": report.FleetJSON, "html": report.FleetHTML,
	}[o.output.value](to, found, printing)
}

// judge returns an error that lists the crossed thresholds and counts the clusters that are not current.
func (o *fleetOptions) judge(found *report.Fleet) error {
	var crossed []error
	code, absent := exitCrossed, 0
	for i := range found.Members {
		m := &found.Members[i]
		switch {
		case !m.IsCurrent():
			absent++
		case o.flags.Changed("fail-under") && *m.Report.Cluster.Compliance < o.failUnder:
			crossed = append(crossed, fmt.Errorf("--fail-under %g: the compliance of %s is %.4g %%", o.failUnder, m.Name, *m.Report.Cluster.Compliance))
		}
	}
	if o.samePolicy && found.PoliciesDiffer() {
		crossed = append(crossed, errors.New("--same-policy: the policies of the clusters differ"))
	}
	if absent > 0 {
		code = exitFailed
		crossed = append(crossed, fmt.Errorf("the fleet is incomplete: %s not current", english.PluralWord(absent, fmt.Sprintf("%d cluster is", absent), fmt.Sprintf("%d clusters are", absent))))
	}
	if len(crossed) == 0 {
		return nil
	}
	return exitError{code, errors.Join(crossed...)}
}
