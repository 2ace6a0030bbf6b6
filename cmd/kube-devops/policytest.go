package main

import (
	"errors"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/policies/policytest"
)

func newPolicyTestCommand() *cobra.Command {
	format := newFormatFlag("text", "junit")
	command := &cobra.Command{
		Use:   "test DIR...",
		Short: "Compare the violations of pods with the expected ones",
		Long: `Run the cases of every ` + policytest.FileName + ` in the folders and below, and print in what
the violations of their pods differ from the expected ones:

  apiVersion: kube-devops.io/v1
  kind: PolicyTest
  policy: default              # a table that ships, or a file beside this one
  cases:
    - name: the tag is latest
      pod: latest.yaml         # YAML or JSON, beside this file
      violations: [{check: latest_tag, container: web}]

The exit code is 2 where a case fails, and 0 otherwise.`,
		Args: needArgs(1, math.MaxInt, "the folders of the tests"),
		RunE: func(cmd *cobra.Command, folders []string) error {
			outcome, err := policytest.Run(time.Now(), folders...)
			if err != nil {
				return err
			}
			write := policytest.Text
			if format.value == "junit" {
				write = policytest.JUnit
			}
			return errors.Join(write(cmd.OutOrStdout(), outcome), outcome.Err())
		},
	}
	format.addTo(command)
	checkTogether(command)
	return command
}
