package rules

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// A Mistake is one thing that is wrong with a table's text.
type Mistake struct {
	File string
	Line int    // 1-based; 0 where the mistake is in the file as a whole
	At   string // the row it stands in, "check latest_tag"; empty outside the checks
	Msg  string
}

func (m Mistake) Error() string {
	var b strings.Builder
	b.WriteString(m.File)
	if m.Line > 0 {
		fmt.Fprintf(&b, ":%d", m.Line)
	}
	b.WriteString(": ")
	if m.At != "" {
		b.WriteString(m.At + ": ")
	}
	b.WriteString(m.Msg)
	return b.String()
}

// Mistakes are all that is wrong with a table's text, in the order of its lines.
type Mistakes []Mistake

func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// maxMistakes is how many mistakes are told of. Nobody reads more, and a hostile file could make them fill the memory.
const maxMistakes = 100

// A reporter collects mistakes while a table is read.
type reporter struct {
	file     string
	mistakes Mistakes
	more     int // mistakes beyond those that are told of
}

// full tells whether no further mistake will be told of.
func (r *reporter) full() bool { return len(r.mistakes) >= maxMistakes }

func (r *reporter) count() int { return len(r.mistakes) + r.more }

func (r *reporter) add(node *yaml.Node, at, format string, args ...any) {
	if r.full() {
		r.more++
		return
	}
	line := 0
	if node != nil {
		line = node.Line
	}
	r.mistakes = append(r.mistakes, Mistake{File: r.file, Line: line, At: at, Msg: fmt.Sprintf(format, args...)})
}

// err is nil where nothing is wrong.
func (r *reporter) err() error {
	if len(r.mistakes) == 0 {
		return nil
	}
	slices.SortStableFunc(r.mistakes, func(a, b Mistake) int { return a.Line - b.Line })
	if r.more > 0 {
		last := r.mistakes[len(r.mistakes)-1]
		return append(r.mistakes, Mistake{File: r.file, Line: last.Line, Msg: fmt.Sprintf("mistakes that are not shown: %d", r.more)})
	}
	return r.mistakes
}
