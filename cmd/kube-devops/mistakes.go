package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// Mistakes are those of the flags of one command. Parsing goes on behind a bad value, so that all of them are reported
// at once.
type mistakes struct {
	errs  []error
	ended bool // a value that is set later, such as by a configuration, returns its error as it is
}

// gatherMistakes makes the flags of a command that are there by now keep their errors until they are taken.
func gatherMistakes(command *cobra.Command) *mistakes {
	m := &mistakes{}
	command.Flags().VisitAll(func(flag *pflag.Flag) {
		if flag.DefValue == "[]" {
			flag.DefValue = "" // help shows it, as the type of the value is hidden below
		}
		flag.Value = &gatheredValue{Value: flag.Value, flag: flag, mistakes: m}
	})
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usageError{errors.Join(append(m.errs, plainFlagError(command, err))...)}
	})
	return m
}

// take returns the mistakes, as one error.
func (m *mistakes) take() error {
	err := errors.Join(m.errs...)
	m.errs, m.ended = nil, true
	return err
}

// checkTogether makes a command report mistakes of its flags and of its arguments, and what else is wrong, at once.
func checkTogether(command *cobra.Command, others ...func() error) {
	m, checkArgs := gatherMistakes(command), command.Args
	command.Args = func(cmd *cobra.Command, args []string) error {
		errs := []error{m.take(), checkArgs(cmd, args)}
		for _, check := range others {
			errs = append(errs, check())
		}
		if err := errors.Join(errs...); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// A gatheredValue is the value of a flag whose mistakes are gathered.
type gatheredValue struct {
	pflag.Value
	flag     *pflag.Flag
	mistakes *mistakes
	given    bool
}

// ungathered is the value itself.
func ungathered(value pflag.Value) pflag.Value {
	if gathered, ok := value.(*gatheredValue); ok {
		return gathered.Value
	}
	return value
}

// singleFlags are the flags that name one thing, of which a second one would silently replace the first.
var singleFlags = map[string]string{"policy": "name one table", "baseline": "name one report"}

func (v *gatheredValue) Set(text string) error {
	before := v.Value.String()
	err := v.Value.Set(text)
	if v.mistakes.ended {
		return err
	}
	if err != nil {
		err = plainValueError(v.flag, text, err)
		if v.Type() == "duration" {
			_ = v.Value.Set(before) // pflag sets it to 0, and that would be the next mistake
		}
	} else if what, single := singleFlags[v.flag.Name]; single && v.given {
		err = fmt.Errorf("--%s is given twice: %s", v.flag.Name, what)
	}
	v.given = true
	if err != nil {
		v.mistakes.errs = append(v.mistakes.errs, err)
	}
	return nil
}

// plainValueError says what is wrong with the value of a flag.
func plainValueError(flag *pflag.Flag, text string, err error) error {
	switch flag.Value.Type() {
	case "bool":
		return fmt.Errorf("--%s must be true or false, got %q", flag.Name, text)
	case "duration":
		return fmt.Errorf("--%s must be a duration such as 15s or 10m, got %q", flag.Name, text)
	case "int":
		return fmt.Errorf("--%s: %q is not an integer", flag.Name, text)
	}
	if strings.HasPrefix(err.Error(), "must be ") {
		return fmt.Errorf("--%s %w", flag.Name, err)
	}
	return fmt.Errorf("--%s: %w", flag.Name, err)
}

// plainFlagError says what is wrong with a flag that cannot be parsed.
func plainFlagError(command *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var empty *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return fmt.Errorf("unknown flag: -%s", unknown.GetSpecifiedName())
	case errors.As(err, &unknown):
		if near := nearestFlag(command, unknown.GetSpecifiedName()); near != "" {
			return fmt.Errorf("unknown flag: --%s; did you mean --%s?", unknown.GetSpecifiedName(), near)
		}
	case errors.As(err, &empty):
		return fmt.Errorf("missing value after --%s", empty.GetFlag().Name)
	case errors.As(err, &invalid):
		return plainValueError(invalid.GetFlag(), invalid.GetValue(), invalid.Unwrap())
	}
	return err
}

// nearestFlag is the flag that is spelled most like a name; empty where none is near.
func nearestFlag(command *cobra.Command, name string) (near string) {
	least := 3
	command.Flags().VisitAll(func(flag *pflag.Flag) {
		distance := suggest.Distance(strings.ToLower(name), flag.Name)
		if distance < least && 2*distance < len(name) {
			near, least = flag.Name, distance
		}
	})
	return near
}
