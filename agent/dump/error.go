package dump

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrNoPods says that an input was read to its end and has no pods, neither applied nor deleted ones.
var ErrNoPods = errors.New("no pods")

// ErrTemplate says that an input is a template, such as one of a Helm chart, which must be rendered first.
var ErrTemplate = errors.New("this is a template: render it first, for example with `helm template`")

// Error is an error at a place of an input. Its text is one line.
type Error struct {
	Name   string // the input: a path, or stdin
	Item   int    // 1-based; 0 if the error is not in an item
	Offset int64  // in bytes of the decompressed input; -1 if the error has no place
	Err    error

	placed bool // Offset refers to the YAML, not to the JSON made from it
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("read " + OneLine(e.Name) + ": ")
	if e.Item > 0 {
		fmt.Fprintf(&b, "item %d, ", e.Item)
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, "byte %d: ", e.Offset)
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns the cause, such as ErrNoPods or the error of the caller's function.
func (e *Error) Unwrap() error { return e.Err }

// record is the advice at the end of most messages.
const record = "record pods with `kubectl get pods -A -o json`"

var (
	errTruncated = errors.New("unexpected end of JSON: the dump is truncated; record it again")
	errManyKeys  = errors.New("the document has too many keys for a List or a Pod: " + record)
	errTooLarge  = fmt.Errorf("the item is larger than %d MiB, more than a pod can be", maxItem>>20)
	errTooDeep   = fmt.Errorf("nested more than %d levels deep", maxDepth)
)

// errorAt returns an error at an offset. The reader adds the name of the input and the item.
func errorAt(offset int64, format string, args ...any) error {
	return &Error{Offset: offset, Err: fmt.Errorf(format, args...)}
}

// OneLine makes untrusted text, such as a name or a whole message, safe to print on one line of a terminal or a CI log: it
// escapes characters that are not printable, and cuts text that is longer than any path.
func OneLine(text string) string {
	const most = 4096
	rest := ""
	if len(text) > most {
		text, rest = text[:most], "..."
	}
	if utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return text + rest
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if unicode.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			b.WriteRune(r)
		} else {
			quoted := strconv.Quote(text[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		text = text[size:]
	}
	return b.String() + rest
}

// clip quotes and shortens untrusted text.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "..."
	}
	return fmt.Sprintf("%q", s)
}
