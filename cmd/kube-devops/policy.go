package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
)

func newPolicyCommand() *cobra.Command {
	return newGroup("policy", "Check, show, list, test, compare and export policy tables",
		newPolicyLintCommand(), newPolicyShowCommand(), newPolicyTestCommand(), newPolicyDiffCommand(), newPolicyListCommand(),
		newPolicyExportCommand())
}

// policyHelp is the usage of --policy.
const policyHelp = "policy table: a `file`, or the name of a built-in table; of several, each changes those before it, as with extends"

// validatePolicies checks the values of --policy.
func validatePolicies(names []string) error {
	if len(names) > 0 && slices.Contains(names, "") {
		return errors.New("--policy has an empty entry: name a file or a built-in table")
	}
	return nil
}

// splitPolicies returns the tables that an argument names: several with commas between them, unless there is a file of that name.
func splitPolicies(arg string) []string {
	if _, err := os.Stat(arg); err == nil {
		return []string{arg}
	}
	return strings.Split(arg, ",")
}

// readPods calls a function for each pod and pod template of a recording or of manifests. An error names the pod.
func readPods(ctx context.Context, path string, stdin io.Reader, observe func(dump.Event) error) error {
	stats, err := dump.ReadPath(ctx, path, stdin, func(event dump.Event) error {
		if err := observe(event); err != nil {
			return fmt.Errorf("pod %s/%s: %w", event.Namespace, event.Name, err)
		}
		return nil
	}, dump.Manifests)
	if err == nil && stats.Continues != nil {
		return stats.Continues.Missing(path)
	}
	return err
}
