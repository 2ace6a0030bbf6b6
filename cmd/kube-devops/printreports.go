package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/rules"
)

// print writes all reports: first the files, so that they exist even if the reader of standard output closes the pipe, then
// standard output, and last the baseline, which is only replaced after a scan that succeeded. Otherwise the next scan would
// no longer fail on the new violations.
func (o *scanOptions) print(cmd *cobra.Command, found *report.Scan, printing report.Options, verdict error) error {
	stderr := cmd.ErrOrStderr()
	brokenPipe := false
	// other reports are still written after one of them could not be written to a closed pipe
	ignoreBrokenPipe := func(err error) error {
		if errors.Is(err, syscall.EPIPE) {
			brokenPipe, err = true, nil
		}
		return err
	}
	var baselines outputFlags
	for _, output := range o.outputs {
		if output.file == "" {
			continue
		}
		if o.isBaseline(output) {
			baselines = append(baselines, output)
		} else if err := ignoreBrokenPipe(o.printFile(stderr, output, found, printing)); err != nil {
			return err
		}
	}
	if err := ignoreBrokenPipe(o.printStdout(cmd.OutOrStdout(), found, printing)); err != nil {
		return err
	}
	if brokenPipe {
		return exitError{exitBrokenPipe, nil}
	}
	for _, output := range baselines {
		if verdict != nil {
			o.warn(stderr, fmt.Sprintf("baseline %s is not updated, because the scan failed", dump.OneLine(output.file)))
		} else if err := o.printFile(stderr, output, found, printing); err != nil {
			return err
		}
	}
	return nil
}

// isBaseline reports whether a report replaces the baseline of the scan.
func (o *scanOptions) isBaseline(output outputFlag) bool {
	info := output.info()
	if o.baseline == "" || info == nil {
		return false
	}
	baseline, err := os.Stat(o.baseline)
	return err == nil && os.SameFile(baseline, info)
}

func (o *scanOptions) printFile(stderr io.Writer, output outputFlag, found *report.Scan, printing report.Options) error {
	inPlace, err := output.write(stderr, func(to io.Writer) error { return output.format.Print(to, found, printing) })
	if err != nil {
		return fmt.Errorf("write %s: %w", dump.OneLine(output.file), err)
	}
	if inPlace != nil {
		o.warn(stderr, fmt.Sprintf("%s was overwritten in place and not replaced: %s", output.file, inPlace))
	}
	return nil
}

// printStdout prints --explain or the report without a file; by default the table, if no report is written to a file.
func (o *scanOptions) printStdout(stdout io.Writer, found *report.Scan, printing report.Options) error {
	screen := screenOf(stdout)
	printing = screen.fit(printing, o.top)
	printing.Color = useColor(o.color.value, screen, os.Getenv)
	switch {
	case o.explainsAsJSON():
		return report.ExplainJSON(stdout, found, o.explain, printing)
	case len(o.explain) > 0:
		return report.Explain(stdout, found, o.explain, printing)
	case len(o.outputs) == 0:
		return report.Formats()[0].Print(stdout, found, printing)
	}
	for _, output := range o.outputs {
		if output.file == "" {
			return output.format.Print(stdout, found, printing)
		}
	}
	return nil
}

// explainsAsJSON reports whether -o json asks for the explanation, and not for a report in addition to it.
func (o *scanOptions) explainsAsJSON() bool {
	var printed []string
	for _, output := range o.outputs {
		if output.file == "" {
			printed = append(printed, output.format.Name)
		}
	}
	return len(o.explain) > 0 && len(printed) == 1 && printed[0] == "json"
}

func (o *scanOptions) validateExplain() error {
	var errs []error
	for _, pattern := range o.explain {
		if _, err := rules.ParseGlob(pattern); err != nil || pattern == "" {
			errs = append(errs, fmt.Errorf("--explain %q is not a name or a pattern such as shop or team-*", pattern))
		}
	}
	return errors.Join(errs...)
}

// target describes what was scanned.
func (o *scanOptions) target(args []string) string {
	if o.cluster.enabled {
		return o.cluster.name
	}
	names := make([]string, len(args))
	for i, arg := range args {
		if names[i] = arg; arg == "-" {
			names[i] = "standard input"
		}
	}
	return strings.Join(names, ", ")
}
