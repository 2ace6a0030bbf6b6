package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/term"

	"github.com/kube-devops/kube-devops/agent/report"
)

// What a report on a terminal lists, where --top does not say otherwise.
const (
	terminalTop      = 20
	terminalFindings = 30
	// defaultWidth is for a terminal that does not know its columns.
	defaultWidth = 80
)

// A screen is where a report is read: a terminal, or anything else that takes text.
type screen struct {
	terminal      bool
	color         bool
	width, height int // of a terminal
}

// screenOf looks at a writer and at the environment.
func screenOf(w io.Writer, color colorFlag) screen {
	var s screen
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		s.terminal = true
		width, height, err := term.GetSize(int(file.Fd()))
		if err == nil {
			s.width, s.height = width, height
		}
		if s.width <= 0 {
			s.width = defaultWidth
			if columns, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && columns > 0 {
				s.width = columns
			}
		}
	}
	s.color = color.allows(s.terminal, os.Getenv)
	return s
}

// fit makes a report fit a screen. top is --top; negative where it is not given.
func (s screen) fit(o report.Options, top int) report.Options {
	o.Color = s.color
	if s.terminal {
		o.Width, o.Height = s.width, s.height
		if top < 0 {
			o.Top, o.Findings = terminalTop, terminalFindings
		}
	}
	return o
}

// A colorFlag says when a report is coloured.
type colorFlag string

const (
	colorAuto   colorFlag = "auto"
	colorAlways colorFlag = "always"
	colorNever  colorFlag = "never"
)

var colors = []string{string(colorAuto), string(colorAlways), string(colorNever)}

func (f *colorFlag) Type() string   { return "when" }
func (f *colorFlag) String() string { return string(*f) }

func (f *colorFlag) Set(value string) error {
	if !slices.Contains(colors, value) {
		return fmt.Errorf("%q is not one of %s", value, strings.Join(colors, ", "))
	}
	*f = colorFlag(value)
	return nil
}

// allows reports whether there is colour: by the flag, else by NO_COLOR, else by FORCE_COLOR, else on a terminal that has
// it.
func (f colorFlag) allows(terminal bool, getenv func(string) string) bool {
	switch force := getenv("FORCE_COLOR"); {
	case f == colorAlways:
		return true
	case f == colorNever, getenv("NO_COLOR") != "":
		return false
	case force != "":
		return force != "0" && force != "false"
	}
	return terminal && getenv("TERM") != "dumb"
}
