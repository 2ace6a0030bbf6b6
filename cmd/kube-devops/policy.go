package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
)

func newPolicyCommand() *cobra.Command {
	command := &cobra.Command{
		Use:                        "policy",
		Short:                      "Check, show, list, test and compare policy tables",
		Args:                       knownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SuggestionsMinimumDistance: 2,
	}
	command.AddCommand(newPolicyLintCommand(), newPolicyShowCommand(), newPolicyTestCommand(), newPolicyDiffCommand(), newPolicyListCommand())
	return command
}

// A formatFlag is a flag that takes one of a few words.
type formatFlag struct {
	value  string
	values []string
}

// newFormatFlag makes a flag whose default is the first word.
func newFormatFlag(values ...string) *formatFlag { return &formatFlag{values[0], values} }

func (f *formatFlag) addTo(command *cobra.Command) {
	command.Flags().VarP(f, "output", "o", "format: "+strings.Join(f.values, " or "))
	complete(command, "output", fixed(f.values...))
}

func (f *formatFlag) String() string { return f.value }
func (f *formatFlag) Type() string   { return "format" }

func (f *formatFlag) Set(value string) error {
	if !slices.Contains(f.values, value) {
		return fmt.Errorf("%q is not one of %s", value, strings.Join(f.values, ", "))
	}
	f.value = value
	return nil
}

// needArgs refuses to go on with fewer arguments than there must be, or with more than there may be.
func needArgs(least, most int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least {
			return usageError{fmt.Errorf("missing argument: name %s", what)}
		}
		if len(args) > most {
			return usageError{fmt.Errorf("unexpected argument %q", args[most])}
		}
		return nil
	}
}

// readPods calls a function for each pod, or pod template, of a recording or of manifests, as a scan has them, and names the pod that it fails on.
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
