package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// A usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func isUsage(err error) bool {
	var usage usageError
	return errors.As(err, &usage)
}

// knownCommand refuses an unknown command, and suggests one that is spelled alike.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("unknown command %q", args[0])
	if alike := cmd.SuggestionsFor(args[0]); len(alike) > 0 {
		err = fmt.Errorf("%w; did you mean %q?", err, alike[0])
	}
	return usageError{err}
}

// noArgs refuses arguments, and says which.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}
