package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies"
)

func newPolicyDiffCommand() *cobra.Command {
	var waivers, oldWaivers string
	command := &cobra.Command{
		Use:   "diff OLD NEW DUMP",
		Short: "Print how another policy table would change the scores",
		Long: `Print how a change of the policy table from OLD to NEW would change the scores
of each namespace of the recorded pods in DUMP, a file or - for standard input.
Each table is a file, or the name of a built-in table, or several with commas
between them: each changes those before it. --waivers applies to both
tables; --old-waivers replaces it for OLD, and may be empty.`,
		Args: args(3, 3, "two policy tables and a recording"),
	}
	format := addOutputFlag(command, "text", "json")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		now, err := currentTime()
		if err != nil {
			return err
		}
		var states [2]*state.ClusterState
		files := [2]string{waivers, waivers}
		if cmd.Flags().Changed("old-waivers") {
			files[0] = oldWaivers
		}
		for i := range states {
			table, err := policies.OpenWithWaivers(splitPolicies(args[i]), files[i])
			if err != nil {
				return err
			}
			states[i] = state.New(table.AsOf(now))
			states[i].ExpireWaivers(now)
		}
		err = readPods(cmd.Context(), args[2], cmd.InOrStdin(), func(event dump.Event) error {
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
		if format.value == "json" {
			return report.DifferenceJSON(cmd.OutOrStdout(), difference)
		}
		return report.DifferenceText(cmd.OutOrStdout(), difference)
	}
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
