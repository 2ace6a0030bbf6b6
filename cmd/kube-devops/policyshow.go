package main

import (
	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/policies"
)

func newPolicyShowCommand() *cobra.Command {
	var waivers string
	command := &cobra.Command{
		Use:   "show [FILE|NAME]",
		Short: "Print a policy table with all its defaults",
		Long: `Print a policy table with all its defaults: a file or a built-in table (default:
the table default), as YAML that can be loaded again or as Markdown.`,
		Args: args(0, 1, "a table"),
	}
	format := addOutputFlag(command, "yaml", "markdown")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		table, err := policies.OpenWithWaivers(append(args, policies.Default)[:1], waivers)
		if err != nil {
			return err
		}
		if format.value == "markdown" {
			return report.PolicyMarkdown(cmd.OutOrStdout(), table)
		}
		_, err = cmd.OutOrStdout().Write(table.YAML())
		return err
	}
	command.Flags().StringVar(&waivers, "waivers", "", "`file` with waivers to print in addition to those of the table")
	command.ValidArgsFunction = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return completeTables(cmd, args, toComplete)
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	validateTogether(command)
	return command
}
