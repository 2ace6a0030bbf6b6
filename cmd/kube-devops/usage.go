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

// noArgs refuses arguments, and says which.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

func asUsage(_ *cobra.Command, err error) error { return usageError{err} }
