package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// A usageError is an error in the command line. Its message refers to --help.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// An exitError has an exit code of its own. It prints nothing if err is nil.
type exitError struct {
	code int
	err  error
}

func (e exitError) Unwrap() error { return e.err }

func (e exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

// exitCode returns the exit code of an error.
func exitCode(err error) int {
	if exit, ok := errors.AsType[exitError](err); ok {
		return exit.code
	}
	return exitFailed
}

// knownCommand refuses an unknown subcommand.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		hint = fmt.Sprintf(" (did you mean %q?)", similar[0])
	}
	return usageError{fmt.Errorf("unknown command %q%s", args[0], hint)}
}

// args accepts a number of arguments. what describes them in the message about a missing one.
func args(least, most int, what string) cobra.PositionalArgs {
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
