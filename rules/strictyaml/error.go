package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// An Error is one error in a file.
type Error struct {
	File string
	Line int    // 1-based; 0 for an error of the whole file
	At   string // the entry that the error is in, such as "check latest_tag"; may be empty
	Msg  string
}

func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.At != "" {
		b.WriteString(e.At + ": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Errors are all errors of a file in the order of its lines, or of several files in the order in which they are read.
type Errors []Error

func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// maxErrors bounds the errors that are kept: a hostile file could otherwise fill the memory with them.
const maxErrors = 100

// A Reader collects the errors of one file.
type Reader struct {
	// At is the entry that is being read; Errorf puts it in front of messages.
	At string
	// FieldHint continues the message about an unknown field; nil to suggest the nearest known one.
	FieldHint func(field string, known []string) string

	file    string
	files   []string              // all files that are read, in the order of their errors; empty for one
	others  map[*yaml.Node]string // the files of the nodes that are not of file
	removed map[*yaml.Node]bool   // null values that remove a field
	errs    Errors
	dropped int // errors beyond maxErrors
	again   int // errors that were added before
}

// NewReader returns a Reader for a file. The name is used in messages only.
func NewReader(file string) *Reader { return &Reader{file: file} }

// Count is the number of errors so far.
func (r *Reader) Count() int { return len(r.errs) + r.dropped + r.again }

// IsFull reports whether further errors are counted only.
func (r *Reader) IsFull() bool { return len(r.errs) >= maxErrors }

// Errorf adds an error about a node of r.At. The node may be nil.
func (r *Reader) Errorf(node *yaml.Node, format string, args ...any) {
	r.ErrorAt(node, r.At, format, args...)
}

// ErrorAt adds an error about a node of an entry. The node may be nil.
func (r *Reader) ErrorAt(node *yaml.Node, at, format string, args ...any) {
	if r.IsFull() { // do not make the message
		r.dropped++
		return
	}
	r.Add(r.About(node, at, format, args...))
}

// Add adds an error that was made by About. What several files are together is read after each of them, so an error may come again.
func (r *Reader) Add(e Error) {
	if r.IsFull() {
		r.dropped++
		return
	}
	if len(r.files) > 1 && slices.Contains(r.errs, e) {
		r.again++
		return
	}
	r.errs = append(r.errs, e)
}

// About returns an error about a node of an entry, without adding it. The node may be nil.
func (r *Reader) About(node *yaml.Node, at, format string, args ...any) Error {
	e := Error{File: r.fileOf(node), At: at, Msg: fmt.Sprintf(format, args...)}
	if node != nil {
		e.Line = node.Line
	}
	return e
}

// Err returns Errors, or nil when there are none.
func (r *Reader) Err() error {
	if len(r.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errs, func(a, b Error) int {
		return cmp.Or(slices.Index(r.files, a.File)-slices.Index(r.files, b.File), a.Line-b.Line)
	})
	if r.dropped > 0 {
		last := r.errs[len(r.errs)-1]
		return append(r.errs, Error{File: last.File, Line: last.Line, Msg: fmt.Sprintf("%d more errors are not shown", r.dropped)})
	}
	return r.errs
}
