package main

import (
	"errors"
	"math"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/policies/policytest"
)

func newPolicyTestCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "test DIR|FILE...",
		Short: "Compare the violations of pods with the expected ones",
		Long: `Run the cases of files, and of each file of kind ` + policytest.Kind + ` in folders and their
subfolders, and print how the violations of their pods differ from the expected
ones:

  apiVersion: kube-devops.io/v1
  kind: PolicyTest
  policy: default              # a built-in table, or a file next to this one
  cases:
    - name: the tag is latest
      pod: latest.yaml         # YAML or JSON, next to this file
      violations: [{check: latest_tag, container: web}]

The exit code is 2 if a case fails, and 0 otherwise.`,
		Args: args(1, math.MaxInt, "the folders or files of the tests"),
	}
	format := addOutputFlag(command, "text", "junit")
	command.RunE = func(cmd *cobra.Command, folders []string) error {
		now, err := currentTime()
		if err != nil {
			return err
		}
		outcome, err := policytest.Run(now, folders...)
		if err != nil {
			return err
		}
		write := policytest.Text
		if format.value == "junit" {
			write = policytest.JUnit
		}
		return errors.Join(write(cmd.OutOrStdout(), outcome), outcome.Err())
	}
	validateTogether(command)
	return command
}
