package dump

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrNoPods says that an input was read to its end and had no pod: neither one to apply nor one to delete.
var ErrNoPods = errors.New("no pods")

// ErrTemplate says that an input is a template, such as one of a Helm chart, and not what comes of it.
var ErrTemplate = errors.New("a template: render it first, as with `helm template`")

// Error says where an input cannot be read, and why. Its text is one line.
type Error struct {
	Name   string // the input: a path, or stdin
	Item   int    // 1-based; 0 where the fault is in no item
	Offset int64  // of the fault, in bytes of the decompressed input; -1 where it has no place
	Err    error

	placed bool // Offset is one in the input, though the JSON was made of YAML
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

// record is how a recording is made; most faults end with the advice to make it again.
const record = "record it with `kubectl get pods -A -o json`"

var (
	errTruncated = errors.New("unexpected end of JSON: the dump is truncated; record it again")
	errManyKeys  = errors.New("too many keys in one document, which no List or pod has: " + record)
	errTooLarge  = fmt.Errorf("the item is larger than %d MiB, which no pod is", maxItem>>20)
)

// fault is an error at a place of the input. Whoever knows the input's name and the item fills them in.
func errorAt(offset int64, format string, args ...any) *Error {
	return &Error{Offset: offset, Err: fmt.Errorf(format, args...)}
}

// OneLine is what somebody else wrote, a name or a whole message, as a part of one line that cannot drive a terminal or a
// CI system: what does not print is written as Go writes it, a line break as \n. What is longer than any path is cut.
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
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		text = text[size:]
	}
	return b.String() + rest
}

// clip shortens and quotes what somebody else wrote, so that it fits one line of a terminal and cannot drive it.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		s = s[:most] + "..."
	}
	return fmt.Sprintf("%q", s)
}
