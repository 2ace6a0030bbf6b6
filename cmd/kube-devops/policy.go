package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
)

func newPolicyCommand() *cobra.Command {
	return newGroup("policy", "Check, show, list, test and compare policy tables",
		newPolicyLintCommand(), newPolicyShowCommand(), newPolicyTestCommand(), newPolicyDiffCommand(), newPolicyListCommand())
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
