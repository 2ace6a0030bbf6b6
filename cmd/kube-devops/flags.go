package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// A choice is the value of a flag that takes one of a few words.
type choice struct {
	value string // empty: not set
	words []string
}

// newChoice makes a choice whose default is the first word.
func newChoice(words ...string) *choice { return &choice{words[0], words} }

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "choice" }

func (c *choice) Set(value string) error {
	if !slices.Contains(c.words, value) {
		return fmt.Errorf("%q is not one of %s", value, strings.Join(c.words, ", "))
	}
	c.value = value
	return nil
}

// addOutputFlag adds the flag -o, whose default is the first format.
func addOutputFlag(command *cobra.Command, formats ...string) *choice {
	format := newChoice(formats...)
	command.Flags().VarP(format, "output", "o", "output `format`: "+strings.Join(formats, " or "))
	complete(command, "output", fixed(formats...))
	return format
}

// flagErrors collects the invalid values of the flags of a command. Parsing continues after one, so that the user sees all of
// them at once.
type flagErrors struct {
	errs []error
	done bool // values that are set later, by a configuration file, return their error
}

// collectFlagErrors collects the errors of the flags that a command has by now.
func collectFlagErrors(command *cobra.Command) *flagErrors {
	e := &flagErrors{}
	command.Flags().VisitAll(func(flag *pflag.Flag) {
		if flag.DefValue == "[]" {
			flag.DefValue = "" // pflag hides this default only for its own types
		}
		flag.Value = &collectingValue{Value: flag.Value, flag: flag, errors: e}
	})
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usageError{errors.Join(append(e.errs, flagError(command, err))...)}
	})
	return e
}

func (e *flagErrors) take() error {
	err := errors.Join(e.errs...)
	e.errs, e.done = nil, true
	return err
}

// validateTogether makes a command report errors of its flags, of its arguments and of other checks at once.
func validateTogether(command *cobra.Command, checks ...func() error) {
	flags, checkArgs := collectFlagErrors(command), command.Args
	command.Args = func(cmd *cobra.Command, args []string) error {
		errs := []error{flags.take(), checkArgs(cmd, args)}
		for _, check := range checks {
			errs = append(errs, check())
		}
		if err := errors.Join(errs...); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// A collectingValue is a value that adds its errors to flagErrors.
type collectingValue struct {
	pflag.Value
	flag   *pflag.Flag
	errors *flagErrors
	set    bool
}

// unwrapped returns the value that collectFlagErrors has wrapped.
func unwrapped(value pflag.Value) pflag.Value {
	if collecting, ok := value.(*collectingValue); ok {
		return collecting.Value
	}
	return value
}

// setOnce are flags that take one value, with what it names. Without this check a second value would replace the first.
var setOnce = map[string]string{"baseline": "report"}

func (v *collectingValue) Set(text string) error {
	before := v.String()
	err := v.Value.Set(text)
	if v.errors.done {
		return err
	}
	if err != nil {
		err = valueError(v.flag, text, err)
		if _, list := v.Value.(pflag.SliceValue); !list {
			_ = v.Value.Set(before) // pflag sets numbers to 0, which the validation would report as another error
		}
	} else if what, once := setOnce[v.flag.Name]; once && v.set {
		err = fmt.Errorf("--%s is set twice: name one %s", v.flag.Name, what)
	}
	v.set = true
	if err != nil {
		v.errors.errs = append(v.errors.errs, err)
	}
	return nil
}

// valueError describes an invalid value of a flag.
func valueError(flag *pflag.Flag, text string, err error) error {
	switch flag.Value.Type() {
	case "bool":
		return fmt.Errorf("--%s must be true or false, got %q", flag.Name, text)
	case "duration":
		return fmt.Errorf("--%s must be a duration such as 15s or 10m, got %q", flag.Name, text)
	case "int":
		return fmt.Errorf("--%s: %q is not an integer", flag.Name, text)
	case "float64":
		return fmt.Errorf("--%s: %q is not a number", flag.Name, text)
	}
	return fmt.Errorf("--%s: %w", flag.Name, err)
}

// flagError describes a flag that cannot be parsed.
func flagError(command *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return fmt.Errorf("unknown flag: -%s", unknown.GetSpecifiedName())
	case errors.As(err, &unknown):
		var names []string
		command.Flags().VisitAll(func(flag *pflag.Flag) { names = append(names, "--"+flag.Name) })
		name := "--" + unknown.GetSpecifiedName()
		return fmt.Errorf("unknown flag: %s%s", name, suggest.DidYouMean(name, names))
	case errors.As(err, &missing):
		return fmt.Errorf("missing value after --%s", missing.GetFlag().Name)
	}
	return err
}
