package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/agent/scan"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

func (o *scanOptions) loadPolicy() (*rules.Table, error) {
	table, err := o.openPolicy()
	if _, ok := errors.AsType[rules.LoadErrors](err); ok {
		return nil, err // each of them names the file
	}
	if err != nil {
		return nil, fmt.Errorf("load policy: %w", err)
	}
	if len(o.checks) > 0 {
		if table, err = table.Subset(o.checks...); err != nil {
			return nil, fmt.Errorf("--check: %w", err)
		}
	}
	return table, nil
}

// openPolicy loads the policy and its waivers.
func (o *scanOptions) openPolicy() (*rules.Table, error) {
	sources, err := policies.Resolve(policies.Read, o.policies...)
	if err != nil {
		return nil, err
	}
	for _, source := range sources {
		if text, ships := policies.Shipped(strings.TrimSuffix(source.File, ".yaml")); !ships || !bytes.Equal(text, source.Text) {
			o.policyFiles = append(o.policyFiles, source.File)
		}
	}
	return policies.LoadWithWaivers(sources, o.waivers)
}

// loadBaseline loads the report that --baseline names; nil if there is none.
func (o *scanOptions) loadBaseline() (*report.Baseline, error) {
	if o.baseline == "" {
		return nil, nil
	}
	f, err := os.Open(o.baseline)
	if err != nil {
		return nil, fmt.Errorf("load baseline: open %s: %w", dump.OneLine(o.baseline), bare(err))
	}
	defer func() { _ = f.Close() }() // only read
	text, err := dump.Decompress(f)
	if err != nil {
		return nil, fmt.Errorf("load baseline: %s: %w", dump.OneLine(o.baseline), err)
	}
	return report.LoadBaseline(o.baseline, text)
}

// findInputs finds the files to scan. Standard input stands for the cluster.
func (o *scanOptions) findInputs(args []string, stdin io.Reader) (dump.Found, error) {
	if o.cluster.enabled {
		return dump.Found{Files: []dump.File{{Path: "-"}}}, nil
	}
	inputs := dump.Find(args, o.exclude)
	if !o.allowEmpty {
		inputs.RefuseEmptyFolders()
	}
	if len(inputs.Errors) > 0 && (!o.keepGoing || len(inputs.Files) == 0) {
		return inputs, errors.Join(inputs.Errors...)
	}
	if len(o.outputs) == 0 {
		return inputs, nil
	}
	names, fromStdin := append(slices.Clone(o.policyFiles), o.waivers), io.Reader(nil)
	for _, file := range inputs.Files {
		if file.Path == "-" {
			fromStdin = stdin
		} else {
			names = append(names, file.Path)
		}
	}
	return inputs, o.outputs.checkInputs(names, fromStdin)
}

func (o *scanOptions) scan(cmd *cobra.Command, table *rules.Table, inputs dump.Found) (*report.Scan, error) {
	ctx, stderr := cmd.Context(), cmd.ErrOrStderr()
	var mu sync.Mutex
	var warnings []string
	warn := func(line string) { // from several goroutines
		mu.Lock()
		defer mu.Unlock()
		warnings = append(warnings, line)
	}
	admission, err := o.admission(table, stderr)
	if err != nil {
		return nil, err
	}
	options := scan.Options{
		Table: table, Admission: admission, Now: o.now, Found: inputs, Stdin: cmd.InOrStdin(), Namespaces: o.namespaces, KeepGoing: o.keepGoing, AllowEmpty: o.allowEmpty,
		Workers: runtime.GOMAXPROCS(0), Warn: warn,
	}
	run := scan.Run
	if o.cluster.enabled {
		pods, err := o.cluster.open(ctx, o.namespaces, warn)
		if err != nil {
			return nil, err
		}
		run = pods.scan
	}
	bar := o.progressBar(stderr, inputs.Files, options.Stdin)
	options.Progress = &bar.read
	found, err := run(ctx, options)
	bar.stop()
	if err != nil && ctx.Err() != nil {
		return nil, exitError{exitInterrupted, nil}
	}
	if err == nil {
		mu.Lock()
		defer mu.Unlock()
		o.warn(stderr, warnings...)
	}
	return found, err
}
