package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
)

// A printer writes a report.
type printer func(to io.Writer, s *report.Scan, o report.Options) error

// print writes the reports, the one for stdout last: if that is a pipe whose reader has gone, the files are there. Only the
// one that replaces the baseline comes behind it, and only where the scan has succeeded: a scan that fails on new
// violations must fail on them again.
func (o *scanOptions) print(cmd *cobra.Command, found *report.Scan, printing report.Options, verdict error) error {
	var baselines outputFlags
	broken := false // a pipe whose reader has gone; the others may still read
	for _, output := range o.outputs {
		if output.file == "" {
			continue
		}
		if o.isBaseline(output) {
			baselines = append(baselines, output)
			continue
		}
		err := o.printFile(cmd, output, found, printing)
		if errors.Is(err, syscall.EPIPE) {
			broken = true
		} else if err != nil {
			return err
		}
	}
	if last := o.stdoutPrinter(); last != nil {
		stdout := cmd.OutOrStdout()
		err := last(stdout, found, screenOf(stdout, o.color).fit(printing, int(o.top)))
		if errors.Is(err, syscall.EPIPE) {
			broken = true
		} else if err != nil {
			return err
		}
	}
	if broken {
		return exitError{exitBrokenPipe, nil}
	}
	for _, output := range baselines {
		if verdict != nil {
			o.warn(cmd.ErrOrStderr(), fmt.Sprintf("the baseline %s is kept as it was, because the scan failed", output.file))
			continue
		}
		if err := o.printFile(cmd, output, found, printing); err != nil {
			return err
		}
	}
	return nil
}

// isBaseline reports whether a report replaces the one that it is compared with.
func (o *scanOptions) isBaseline(output outputFlag) bool {
	if o.baseline == "" {
		return false
	}
	baseline, err := os.Stat(o.baseline)
	there := output.info()
	return err == nil && there != nil && os.SameFile(baseline, there)
}

// printFile writes a report to its file, and says where that could not be done as a whole.
func (o *scanOptions) printFile(cmd *cobra.Command, output outputFlag, found *report.Scan, printing report.Options) error {
	stderr := cmd.ErrOrStderr()
	inPlace, err := output.write(stderr, func(to io.Writer) error { return output.format.Print(to, found, printing) })
	if err != nil {
		return fmt.Errorf("write %s: %w", dump.OneLine(output.file), err)
	}
	if inPlace != nil {
		o.warn(stderr, fmt.Sprintf("%s was overwritten in place and not replaced as a whole: %s", output.file, inPlace))
	}
	return nil
}

// stdoutPrinter is what goes to standard output; nil for nothing.
func (o *scanOptions) stdoutPrinter() printer {
	if len(o.explain) > 0 {
		return o.explainPrinter()
	}
	for _, output := range o.outputs {
		if output.file == "" {
			return output.format.Print
		}
	}
	if len(o.outputs) == 0 {
		return report.Formats()[0].Print
	}
	return nil
}

// target names what is scanned, for readers.
func (o *scanOptions) target(args []string) string {
	if o.cluster.cluster {
		return o.cluster.name
	}
	names := make([]string, 0, len(args))
	for _, arg := range args {
		if arg == "-" {
			arg = "standard input"
		}
		names = append(names, arg)
	}
	return strings.Join(names, ", ")
}

// reportDate is the date that reports carry: that of SOURCE_DATE_EPOCH, where it is set, so that they can be made again.
func reportDate(epoch string, now time.Time) (time.Time, error) {
	if epoch == "" {
		return now, nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || seconds < 0 || time.Unix(seconds, 0).UTC().Year() > 9999 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH must be seconds since 1970, got %q", epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
