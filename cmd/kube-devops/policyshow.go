package main

import (
	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

func newPolicyShowCommand() *cobra.Command {
	var waivers string
	command := &cobra.Command{
		Use:   "show [FILE|NAME]",
		Short: "Print a policy table with all its defaults",
		Long: `Print a policy table with all its defaults: a file or a built-in table (default:
the table default), as YAML that can be loaded again or as Markdown. Several
tables have commas between them: each changes those before it. What a table
extends is printed as a part of it.`,
		Args: args(0, 1, "a table"),
	}
	format := addOutputFlag(command, "yaml", "markdown")
	command.RunE = func(cmd *cobra.Command, args []string) error {
		sources, err := policies.Resolve(policies.Read, splitPolicies(append(args, policies.Default)[0])...)
		if err != nil {
			return err
		}
		table, err := policies.LoadWithWaivers(sources, waivers)
		if err != nil {
			return err
		}
		if format.value == "markdown" {
			return report.PolicyMarkdown(cmd.OutOrStdout(), table)
		}
		_, err = cmd.OutOrStdout().Write(append(origin(sources), table.YAML()...))
		return err
	}
	command.Flags().StringVar(&waivers, "waivers", "", "`file` with waivers to print in addition to those of the table")
	command.ValidArgsFunction = func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return completePolicies(cmd, args, toComplete)
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	validateTogether(command)
	return command
}

// origin is a comment that lists the tables that a table was merged from; empty for one that extends nothing.
func origin(sources []rules.Source) []byte {
	if len(sources) == 1 {
		return nil
	}
	text := "# Merged from these tables; each changes those before it:\n"
	for _, source := range sources {
		text += "#   " + dump.OneLine(source.File) + "\n"
	}
	return []byte(text)
}
