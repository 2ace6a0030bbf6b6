package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/term"

	"github.com/kube-devops/kube-devops/agent/dump"
	"github.com/kube-devops/kube-devops/agent/report"
)

// The lengths of lists on a terminal, unless --top sets them.
const (
	terminalTop      = 20
	terminalFindings = 30
)

// A screen describes where text is read: width and height are 0 if it is not a terminal.
type screen struct{ width, height int }

func screenOf(w io.Writer) screen {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return screen{}
	}
	width, height, err := term.GetSize(int(file.Fd()))
	if err == nil && width > 0 {
		return screen{width, height}
	}
	if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
		return screen{columns, height}
	}
	return screen{80, height}
}

// fit adapts a report to a screen. top is --top.
func (s screen) fit(o report.Options, top int) report.Options {
	o.Width, o.Height = s.width, s.height
	if top == topUnset && s.width > 0 {
		o.Top, o.Findings = terminalTop, terminalFindings
	}
	return o
}

// useColor decides on color by --color, NO_COLOR, FORCE_COLOR and the terminal, in this order.
func useColor(flag string, s screen, getenv func(string) string) bool {
	force := getenv("FORCE_COLOR")
	switch {
	case flag == "always":
		return true
	case flag == "never", getenv("NO_COLOR") != "":
		return false
	case force != "":
		return force != "0" && force != "false"
	}
	return s.width > 0 && getenv("TERM") != "dumb"
}

// printLine prints one message on one line, or on a terminal on as many lines as it needs to break between words.
func printLine(to io.Writer, text string) {
	for _, line := range report.Wrap("kube-devops: "+dump.OneLine(text), screenOf(to).width, "    ") {
		_, _ = fmt.Fprintln(to, line) // there is nowhere to report an error of stderr
	}
}

// warn prints warnings, unless --quiet is set.
func (o *scanOptions) warn(stderr io.Writer, lines ...string) {
	if !o.quiet {
		for _, line := range lines {
			printLine(stderr, "warning: "+line)
		}
	}
}
