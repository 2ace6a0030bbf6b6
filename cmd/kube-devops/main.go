// Command kube-devops tells how well every namespace of a Kubernetes cluster keeps its governance rules.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

// The exit codes, on which other people's scripts rely.
const (
	exitDone        = 0
	exitCrossed     = 1 // a scan worked, and a threshold was crossed
	exitFailed      = 2
	exitInterrupted = 130
	exitBrokenPipe  = 141 // as of a program that SIGPIPE ended
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitInterrupted)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program: it returns the exit code, and says on stderr in one line what went wrong.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:                        "kube-devops",
		Short:                      "Live governance scores for every namespace of a Kubernetes cluster",
		Args:                       knownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SuggestionsMinimumDistance: 2,
		SilenceUsage:               true,
		SilenceErrors:              true,
		Version:                    version,
	}
	root.SetVersionTemplate(versionText())
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "Flags.FlagUsages", "Flags.FlagUsagesWrapped 80"))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{plainFlagError(cmd, err)} })
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(newAgentCommand(), newScanCommand(), newPolicyCommand(), newVersionCommand())
	command, err := root.ExecuteContextC(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitInterrupted // who interrupted it knows
	}
	if err != nil {
		hint := ""
		if isUsage(err) {
			hint = fmt.Sprintf(" (see %s --help)", command.CommandPath())
		}
		for line := range strings.Lines(err.Error()) {
			printLine(stderr, screenOf(stderr, colorNever).width, strings.TrimSuffix(line, "\n")+hint)
		}
		return exitCode(err)
	}
	return exitDone
}

// exitCode is the one that an error asks for.
func exitCode(err error) int {
	var exit exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitFailed
}
