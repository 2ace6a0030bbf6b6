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
	errors          []error // of the arguments
}

func newFleetCommand() *cobra.Command {
	o := &fleetOptions{}
	command := &cobra.Command{
		Use:   "fleet [NAME=FILE|URL...]",
		Short: "Print the reports of the agents of many clusters",
		Long: `Print the reports of many clusters as one table: each is a file that
"kube-devops scan -o json" has written, the address of an agent, or the address
of a stored report that ends with .json. --config reads the clusters from a file:

  apiVersion: kube-devops.io/v1
  kind: Fleet
  timeout: 10s                 # for each report
  maxAge: 24h                  # an older report is stale; 0s: never
  clusters:
    - name: prod-eu
      url: https://kube-devops.prod-eu.example.com
      tokenFile: prod-eu.token # for http.auth
      caFile: prod-eu.pem      # default: the CAs of the system
    - {name: dev, file: dev.json, maxAge: 48h}

No redirects are followed. A cluster whose report cannot be read is away, one
whose address leads to a replica that does not lead is standby, and one whose
report is too old is stale; none of them counts in the numbers of the fleet.

The exit code is 2 after an error or if a cluster is not current, 1 if a
threshold is crossed (--fail-under, --same-policy), and 0 otherwise.`,
		Args: cobra.ArbitraryArgs,
	}
	flags := command.Flags()
	flags.StringVar(&o.config, "config", "", "`file` with clusters, in addition to the arguments")
	flags.StringArrayVar(&o.tokens, "token-file", nil, "`NAME=FILE` with the bearer token for a cluster of the arguments; may be repeated")
	flags.StringArrayVar(&o.cas, "ca-file", nil, "`NAME=FILE` with the CA of the server of a cluster of the arguments; may be repeated")
	flags.DurationVar(&o.timeout, "timeout", fleet.DefaultTimeout, "`time` for the report of each cluster of the arguments")
	flags.DurationVar(&o.maxAge, "max-age", fleet.DefaultMaxAge, "`age` from which a report of the arguments is stale; 0 for never")
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

// withArguments reads the clusters before the other checks, so that all mistakes are reported together.
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

// assign sets a file of the members that NAME=FILE names.
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
			m.Report = nil // a part of it
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

// judge returns an error with the clusters that are not current, and the thresholds that are crossed.
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
