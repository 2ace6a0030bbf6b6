package main

import (
	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/policies"
)

func newPolicyShowCommand() *cobra.Command {
	var waivers string
	format := newFormatFlag("yaml", "markdown")
	command := &cobra.Command{
		Use:   "show [FILE|NAME]",
		Short: "Print a policy table with all its defaults",
		Long: `Print a policy table, a file or one that ships (default: the table default),
with all that it leaves to defaults: as YAML that loads again, or as Markdown.`,
		Args: needArgs(0, 1, "a table"),
		RunE: func(cmd *cobra.Command, args []string) error {
			table, err := policies.OpenWithWaivers(append(args, policies.Default)[0], waivers)
			if err != nil {
				return err
			}
			if format.value == "markdown" {
				return report.PolicyMarkdown(cmd.OutOrStdout(), table)
			}
			_, err = cmd.OutOrStdout().Write(table.YAML())
			return err
		},
	}
	command.Flags().StringVar(&waivers, "waivers", "", "file of waivers beside the table, to print with it")
	format.addTo(command)
	command.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return tables(), cobra.ShellCompDirectiveDefault
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	checkTogether(command)
	return command
}
