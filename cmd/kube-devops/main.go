// Command kube-devops scores how well the namespaces of a Kubernetes cluster comply with a policy table.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker. A binary of go install has the version of its module.
var version string

func init() {
	if info, ok := debug.ReadBuildInfo(); version == "" && ok {
		version = strings.TrimPrefix(info.Main.Version, "(devel)")
	}
	version = cmp.Or(version, "dev")
}

// Exit codes. Scripts rely on them.
const (
	exitDone        = 0
	exitCrossed     = 1 // a scan succeeded and a threshold was crossed
	exitFailed      = 2
	exitInterrupted = 130
	exitBrokenPipe  = 141 // like a program that SIGPIPE ended
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
	root := newRootCommand()
	plugin, args := pluginArgs(os.Args[0], os.Args[1:])
	if plugin {
		root = newPluginCommand()
	}
	os.Exit(execute(ctx, root, args, os.Stdin, os.Stdout, os.Stderr))
}

// run executes a command of the program and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return execute(ctx, newRootCommand(), args, stdin, stdout, stderr) //nolint:contextcheck // cobra passes the context to the commands
}

// execute executes a command and returns its exit code. It prints each error on one line of stderr.
func execute(ctx context.Context, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	hint := ""
	if _, ok := errors.AsType[usageError](err); ok {
		hint = fmt.Sprintf(" (see %s --help)", command.CommandPath())
	}
	for line := range strings.Lines(err.Error()) {
		printLine(stderr, strings.TrimSuffix(line, "\n")+hint)
	}
	return exitCode(err)
}

func newRootCommand() *cobra.Command {
	versionText := fmt.Sprintf("kube-devops %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	root := newGroup("kube-devops", "Live governance scores for every namespace of a Kubernetes cluster", newAgentCommand(), newScanCommand(), newPolicyCommand(), newFleetCommand(), newGovernanceCommand(),
		&cobra.Command{
			Use:   "version",
			Short: "Print the version",
			Args:  args(0, 0, ""),
			RunE: func(cmd *cobra.Command, _ []string) error {
				_, err := io.WriteString(cmd.OutOrStdout(), versionText)
				return err
			},
		})
	return asRoot(root, versionText)
}

// newPluginCommand makes the plugin of kubectl.
func newPluginCommand() *cobra.Command {
	command := newGovernanceCommand()
	command.Use = pluginName // the completion scripts are named after it
	command.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl governance"}
	return asRoot(command, fmt.Sprintf("kubectl-governance %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH))
}

// asRoot sets what the command at the top sets for all commands.
func asRoot(root *cobra.Command, versionText string) *cobra.Command {
	root.SilenceUsage, root.SilenceErrors = true, true
	root.Version = version
	root.SetVersionTemplate(versionText)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "Flags.FlagUsages", "Flags.FlagUsagesWrapped 80"))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{flagError(cmd, err)} })
	return root
}

// newGroup makes a command that only has subcommands.
func newGroup(use, short string, subcommands ...*cobra.Command) *cobra.Command {
	command := &cobra.Command{
		Use: use, Short: short, Args: knownCommand, SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.AddCommand(subcommands...)
	return command
}
