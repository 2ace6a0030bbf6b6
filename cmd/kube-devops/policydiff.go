package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies"
)

func newPolicyDiffCommand() *cobra.Command {
	var waivers, oldWaivers string
	format := newFormatFlag("text", "json")
	command := &cobra.Command{
		Use:   "diff OLD NEW DUMP",
		Short: "Print what another policy table would do to the scores",
		Long: `Print what a change of the policy table, from OLD to NEW, would do to the score
of each namespace of the recorded pods in DUMP, a file or - for standard input.
Each table is a file, or the name of one that ships. The waivers of --waivers are
beside both; where those are to change too, --old-waivers names the ones beside
OLD, and is empty where there are none.`,
		Args: needArgs(3, 3, "two policy tables and a recording"),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			var states [2]*state.ClusterState
			beside := [2]string{waivers, waivers}
			if cmd.Flags().Changed("old-waivers") {
				beside[0] = oldWaivers
			}
			for i := range states {
				table, err := policies.OpenWithWaivers(args[i], beside[i])
				if err != nil {
					return err
				}
				states[i] = state.New(table)
				states[i].ExpireWaivers(now)
			}
			err := readPods(cmd.Context(), args[2], cmd.InOrStdin(), func(event dump.Event) error {
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
		},
	}
	command.Flags().StringVar(&waivers, "waivers", "", "file of waivers beside both tables")
	command.Flags().StringVar(&oldWaivers, "old-waivers", "", "file of waivers beside OLD, instead of --waivers")
	format.addTo(command)
	command.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) < 2 {
			return tables(), cobra.ShellCompDirectiveDefault
		}
		return nil, cobra.ShellCompDirectiveDefault
	}
	checkTogether(command)
	return command
}
