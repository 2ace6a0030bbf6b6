package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/scan"
	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

// A previewing prints the workloads that the API server would refuse.
type previewing struct {
	action rules.Enforce // empty: the action of each check
	now    time.Time
	input  string
	cmd    *cobra.Command
}

func (p *previewing) print(before, after *rules.Table, format string) error {
	selections, err := vap.Select(after, vap.Options{Action: p.action, Partial: true})
	if err != nil {
		return err // names the field enforce and --action
	}
	preview := &report.Preview{Before: report.PreviewSide{Table: before}, After: report.PreviewSide{Table: after}, LeftOut: notJudged(after, selections)}
	file, done, err := p.file()
	if err != nil {
		return err
	}
	defer done()
	found, err := p.scan(file, after, selections)
	if err != nil {
		return err
	}
	preview.After.Refusals, preview.StaticPods = found.Refusals(nil), found.StaticPods()
	if old := p.enforcedBy(before); len(old) > 0 {
		if found, err = p.scan(file, before, old); err != nil {
			return err
		}
		preview.Before.Refusals = found.Refusals(nil)
	}
	stdout := p.cmd.OutOrStdout()
	if format == "json" {
		return report.PreviewJSON(stdout, preview)
	}
	screen := screenOf(stdout)
	return report.PreviewText(stdout, preview, report.Options{Width: screen.width, Color: useColor("", screen, os.Getenv)})
}

// enforcedBy returns the selections of the old table. It returns nil if that table enforces no check.
func (p *previewing) enforcedBy(table *rules.Table) []vap.Selection {
	selections, err := vap.Select(table, vap.Options{Action: p.action, Partial: true})
	if err != nil {
		return nil
	}
	return selections
}

// file returns the name of a file that can be read twice: the input, or a temporary copy of standard input. done removes the copy.
func (p *previewing) file() (name string, done func(), err error) {
	if p.input != "-" {
		return p.input, func() {}, nil
	}
	f, err := os.CreateTemp("", "kube-devops-*")
	if err != nil {
		return "", nil, fmt.Errorf("keep standard input: %w", err)
	}
	done = func() { _ = os.Remove(f.Name()) }
	_, err = io.Copy(f, p.cmd.InOrStdin())
	if err = errors.Join(err, f.Close()); err != nil {
		done()
		return "", nil, fmt.Errorf("keep standard input: %w", err)
	}
	return f.Name(), done, nil
}

func (p *previewing) scan(file string, table *rules.Table, selections []vap.Selection) (*report.Scan, error) {
	inputs := dump.Find([]string{file}, nil)
	if len(inputs.Errors) > 0 {
		return nil, errors.Join(inputs.Errors...)
	}
	options := scan.Options{Table: table, Now: p.now, Admission: selections, Workers: runtime.GOMAXPROCS(0)}
	if p.input == "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read standard input again: %w", err)
		}
		defer func() { _ = f.Close() }() // only read
		options.Stdin = f
		inputs.Files = []dump.File{{Path: "-"}}
	}
	options.Found = inputs
	found, err := scan.Run(p.cmd.Context(), options)
	if errors.Is(err, scan.ErrAllExcluded) {
		return &report.Scan{}, nil
	}
	return found, err
}
