package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

func newPolicyExportCommand() *cobra.Command {
	return newGroup("export", "Print a policy table as Kubernetes objects", newExportVAPCommand())
}

// vapOptions holds the flags of the command export vap.
type vapOptions struct {
	policies      []string
	waivers       string
	action        choice
	kinds         []string
	failurePolicy *choice
	vap.Options
}

func newExportVAPCommand() *cobra.Command {
	o := &vapOptions{action: choice{words: actionWords()}, failurePolicy: newChoice("Fail", "Ignore")}
	command := &cobra.Command{
		Use:   "vap",
		Short: "Print ValidatingAdmissionPolicies that enforce a policy table",
		Long: `Print the checks of a policy table as ValidatingAdmissionPolicies with their
bindings. The API server of Kubernetes 1.30 and later enforces them without a
webhook:

  kube-devops policy export vap --policy team.yaml > enforce.yaml
  kubectl apply --server-side -f enforce.yaml

Each check is exported with the action in its field enforce; --action exports
every check with one action. For an update, only violations that the old object
did not have count. Deny exempts the objects that controllers and exempt groups
create; an additional audit policy covers them. Applying an export does not
delete the policies of an earlier export for another action: the comment at the
top of the export has the command that deletes them.

A check that cannot be enforced, such as a check on status, is an error;
--partial leaves it out with a warning. Skips and waivers that depend on fields
that any user may write (owner references, labels, annotations) are left out of
deny with a warning.`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := command.Flags()
	flags.StringSliceVar(&o.policies, "policy", []string{policies.Default}, policyHelp)
	flags.StringVar(&o.waivers, "waivers", "", "`file` with waivers in addition to those of the table")
	flags.Var(&o.action, "action", "export every check with this `action`: "+strings.Join(o.action.words, ", ")+" (default: the checks with the field enforce, each with its own action)")
	flags.StringSliceVar(&o.kinds, "kinds", kindWords, "objects to evaluate: pods, workloads (their pod templates), or both")
	flags.Var(o.failurePolicy, "failure-policy", "`what` the API server does when it cannot evaluate a policy: Fail or Ignore")
	flags.StringArrayVar(&o.ControllerUsers, "controller-user", vap.DefaultControllerUsers(),
		"shell `glob` of users whose objects are audited and not denied, because the API server has evaluated their template; may be repeated, and replaces the default")
	flags.StringArrayVar(&o.ExemptGroups, "exempt-group", nil, "`group` of users whose objects are audited and not denied, for emergencies; may be repeated")
	flags.BoolVar(&o.NamespaceOptOut, "namespace-opt-out", false, "exempt namespaces with the label "+vap.OptOutLabel+`: "off"`)
	flags.BoolVar(&o.Partial, "partial", false, "leave out checks that cannot be enforced, with a warning")
	complete(command, "policy", completePolicies)
	complete(command, "action", fixed(o.action.words...))
	complete(command, "failure-policy", fixed(o.failurePolicy.words...))
	complete(command, "kinds", func(_ *cobra.Command, _ []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		return completeLast(toComplete, kindWords)
	})
	validateTogether(command, func() error { return validatePolicies(o.policies) }, o.validate)
	return command
}

var kindWords = []string{"pods", "workloads"}

func actionWords() []string {
	var words []string
	for _, e := range rules.Enforcements() {
		words = append(words, string(e))
	}
	return words
}

// validate checks the flags and converts them.
func (o *vapOptions) validate() error {
	var errs []error
	for _, kind := range o.kinds {
		if !slices.Contains(kindWords, kind) {
			errs = append(errs, fmt.Errorf("--kinds: %q is not one of %s", kind, strings.Join(kindWords, ", ")))
		}
	}
	if len(o.kinds) == 0 {
		errs = append(errs, errors.New("--kinds must not be empty: name pods, workloads or both"))
	}
	for i, glob := range o.ControllerUsers {
		parsed, err := rules.ParseGlob(glob)
		if err != nil || glob == "" {
			errs = append(errs, fmt.Errorf("--controller-user: %q is not a valid shell glob of a user", glob))
		}
		o.ControllerUsers[i] = parsed
	}
	for _, group := range o.ExemptGroups {
		if group == "" {
			errs = append(errs, errors.New("--exempt-group must not be empty: name a group of users"))
		}
	}
	o.WithoutPods, o.WithoutWorkloads = !slices.Contains(o.kinds, "pods"), !slices.Contains(o.kinds, "workloads")
	o.Action, o.Ignore = rules.Enforce(o.action.value), o.failurePolicy.value == "Ignore"
	return errors.Join(errs...)
}

func (o *vapOptions) run(cmd *cobra.Command) error {
	table, err := policies.OpenWithWaivers(o.policies, o.waivers)
	if err != nil {
		return err
	}
	for _, warning := range table.Warnings() {
		printLine(cmd.ErrOrStderr(), "warning: "+warning.Error())
	}
	now, err := currentTime()
	if err != nil {
		return err
	}
	for _, w := range table.Waivers() {
		if !w.Active(now) {
			printLine(cmd.ErrOrStderr(), "warning: waiver "+w.ID+": the waiver expired at "+w.Expires.UTC().Format("2006-01-02 15:04 MST")+": its violations count")
		}
	}
	o.Command, o.Pods = commandLine(cmd), policies.PodSchema()
	exported, err := vap.Export(table, o.Options)
	if err != nil {
		return err
	}
	denies := false
	for _, s := range exported.Selections {
		denies = denies || s.Action == rules.Deny
		for _, l := range s.LeftOut {
			if !l.Expected {
				printLine(cmd.ErrOrStderr(), fmt.Sprintf("warning: %s is left out of %s: %s", l.What, s.Action, l.Reason))
			}
		}
	}
	for _, flag := range []string{"controller-user", "exempt-group"} {
		if !denies && cmd.Flags().Changed(flag) {
			printLine(cmd.ErrOrStderr(), "warning: --"+flag+" has no effect: the export has no deny policy")
		}
	}
	if denies && table.Includes("kube-system") {
		printLine(cmd.ErrOrStderr(), "warning: deny applies to the namespace kube-system; add it to namespaces.exclude, unless its workloads comply")
	}
	for _, warning := range exported.Warnings {
		printLine(cmd.ErrOrStderr(), "warning: "+warning)
	}
	_, err = cmd.OutOrStdout().Write(exported.Text)
	return err
}

// commandLine returns the command with the flags that are set, sorted by name.
func commandLine(cmd *cobra.Command) string {
	words := []string{cmd.CommandPath()}
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		value := unwrapped(flag.Value)
		if list, ok := value.(pflag.SliceValue); ok {
			for _, entry := range list.GetSlice() {
				words = append(words, "--"+flag.Name, shellQuoted(entry))
			}
		} else if value.Type() == "bool" {
			words = append(words, "--"+flag.Name)
		} else {
			words = append(words, "--"+flag.Name, shellQuoted(value.String()))
		}
	})
	return strings.Join(words, " ")
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:,@%+=-]+$`)

// shellQuoted quotes a word for a POSIX shell if necessary.
func shellQuoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
