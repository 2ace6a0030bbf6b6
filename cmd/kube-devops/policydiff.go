package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

func newPolicyDiffCommand() *cobra.Command {
	var waivers, oldWaivers string
	var enforce bool
	action := choice{words: actionWords()}
	command := &cobra.Command{
		Use:   "diff OLD NEW DUMP",
		Short: "Print how another policy table would change the scores",
		Long: `Print how a change of the policy table from OLD to NEW would change the scores
of each namespace of the recorded pods in DUMP, a file or - for standard input.
Each table is a file, or the name of a built-in table, or several with commas
between them: each changes those before it. --waivers applies to both
tables; --old-waivers replaces it for OLD, and may be empty.

--enforce prints the workloads that the API server would refuse with the
policies that "policy export vap" generates from NEW. For each check it prints
how to fix the workloads, and when they would be refused:

  next restart   an operator creates the pods: the next pod is refused
  next roll-out  a controller other than a Deployment creates ReplicaSets: the
                 next ReplicaSet is refused
  creation       the object is refused if it is created again, for example
                 after a deletion or in another cluster; updates of the object
                 that add no violation are admitted

A recorded pod of a Deployment, StatefulSet or other built-in workload stands
for the template of the workload, which the API server evaluates; the pod itself
is admitted. Recorded pods include what admission webhooks and LimitRanges
added. To evaluate the templates instead, record the workloads too:

  kubectl get pods,deploy,sts,ds,jobs,cronjobs -A -o json`,
		Args: args(3, 3, "two policy tables and a recording"),
	}
	format := addOutputFlag(command, "text", "json")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		if action.value != "" && !enforce {
			return usageError{errors.New("--action needs --enforce")}
		}
		now, err := currentTime()
		if err != nil {
			return err
		}
		files := [2]string{waivers, waivers}
		if cmd.Flags().Changed("old-waivers") {
			files[0] = oldWaivers
		}
		var tables [2]*rules.Table
		for i := range tables {
			if tables[i], err = policies.OpenWithWaivers(splitPolicies(args[i]), files[i]); err != nil {
				return err
			}
		}
		if enforce {
			p := previewing{rules.Enforce(action.value), now, args[2], cmd}
			return p.print(tables[0], tables[1], format.value)
		}
		return printDifference(cmd, tables, now, args[2], format.value)
	}
	command.Flags().BoolVar(&enforce, "enforce", false, "print which workloads the API server would refuse, instead of the scores")
	command.Flags().Var(&action, "action", "with --enforce: use this `action` for every check that can be exported: "+strings.Join(action.words, ", ")+
		" (default: the checks with the field enforce, each with its own action)")
	complete(command, "action", fixed(action.words...))
	command.Flags().StringVar(&waivers, "waivers", "", "`file` with waivers for both tables")
	command.Flags().StringVar(&oldWaivers, "old-waivers", "", "`file` with waivers for OLD, instead of --waivers")
	command.ValidArgsFunction = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if len(args) < 2 {
			return completePolicies(cmd, args, toComplete)
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
	validateTogether(command)
	return command
}

// printDifference prints how the scores differ under two tables.
func printDifference(cmd *cobra.Command, tables [2]*rules.Table, now time.Time, recording, format string) error {
	var states [2]*state.ClusterState
	for i, table := range tables {
		states[i] = state.New(table.AsOf(now))
		states[i].ExpireWaivers(now)
	}
	err := readPods(cmd.Context(), recording, cmd.InOrStdin(), func(event dump.Event) error {
		pod := state.Pod{Namespace: event.Namespace, Name: event.Name, UID: event.UID}
		for _, s := range states {
			if event.Op == dump.Delete {
				s.Delete(pod)
			} else if _, err := s.Observe(pod, event.JSON); err != nil {
				return fmt.Errorf("policy %s: %w", s.Table().Name(), err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	difference := report.Compare(states[0].SnapshotWithViolations(), states[1].SnapshotWithViolations())
	if format == "json" {
		return report.DifferenceJSON(cmd.OutOrStdout(), difference)
	}
	return report.DifferenceText(cmd.OutOrStdout(), difference)
}
