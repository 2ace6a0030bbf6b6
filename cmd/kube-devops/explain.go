package main

import (
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/kube-devops/kube-devops/agent/report"
)

// validateExplain checks --explain and what goes with it.
func (o *scanOptions) validateExplain() error {
	var errs []error
	for _, pattern := range o.explain {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			errs = append(errs, fmt.Errorf("--explain %q is not a name or a pattern, such as shop or team-*", pattern))
		}
	}
	return errors.Join(errs...)
}

// explainsAsJSON reports whether -o json asks for the explanation, and not for a report beside it.
func (o *scanOptions) explainsAsJSON() bool {
	toStdout := 0
	for _, output := range o.outputs {
		if output.file == "" {
			if toStdout++; output.format.Name != "json" {
				return false
			}
		}
	}
	return len(o.explain) > 0 && toStdout == 1
}

// explainPrinter prints where the points of the namespaces went.
func (o *scanOptions) explainPrinter() printer {
	return func(to io.Writer, s *report.Scan, p report.Options) error {
		if o.explainsAsJSON() {
			return report.ExplainJSON(to, s, o.explain, p)
		}
		return report.Explain(to, s, o.explain, p)
	}
}
