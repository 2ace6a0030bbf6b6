package main

import (
	"fmt"
	"io"
	"sync"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
)

// Warnings are the lines on what is odd and was read all the same, from any goroutine.
type warnings struct {
	mu    sync.Mutex
	lines []string
}

func (w *warnings) add(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, line)
}

func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := w.lines
	w.lines = nil
	return lines
}

// warn prints warnings, unless --quiet asks for none.
func (o *scanOptions) warn(stderr io.Writer, lines ...string) {
	if o.quiet {
		return
	}
	for _, line := range lines {
		printLine(stderr, screenOf(stderr, colorNever).width, "warning: "+line)
	}
}

// printLine prints one message: a line, or on a terminal as many as its columns need, so that no word is broken.
func printLine(to io.Writer, width int, text string) {
	for _, line := range report.Wrap("kube-devops: "+dump.OneLine(text), width, "    ") {
		_, _ = fmt.Fprintln(to, line) // an error here can be printed nowhere
	}
}

// progressBar is the bar of a scan; one that is never seen where --quiet asks for none.
func (o *scanOptions) progressBar(stderr io.Writer, files []dump.File, stdin io.Reader) *progressBar {
	if o.quiet {
		return &progressBar{}
	}
	if o.cluster.cluster {
		stdin = nil // its size is not known
	}
	return newProgressBar(stderr, files, stdin)
}
