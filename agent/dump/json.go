package dump

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The functions in this file read one element from the next byte on. They check it for RFC 8259 and valid UTF-8, except for the
// contents of objects and arrays that skip skips, which the caller checks.

// object reads an object. After each key and its colon it calls member, which must read the value; the key is valid until then.
func (in *input) object(member func(key []byte) error) error {
	in.pos++
	in.depth++
	err := in.elements('}', func() error {
		if in.buf[in.pos] != '"' {
			return in.unexpected("a key")
		}
		if err := in.readKey(); err != nil {
			return err
		}
		return member(in.key)
	})
	in.depth--
	return err
}

// elements reads up to a closing bracket. It calls element at the first byte of each element.
func (in *input) elements(closing byte, element func() error) error {
	c, err := in.inside()
	if err != nil {
		return err
	}
	for c != closing {
		if err := element(); err != nil {
			return err
		}
		if c, err = in.inside(); err != nil {
			return err
		}
		if c == closing {
			break
		}
		if c != ',' {
			return in.unexpected(fmt.Sprintf("a comma or %q", closing))
		}
		in.take()
		if c, err = in.inside(); err != nil {
			return err
		}
		if c == closing {
			return in.unexpected("another element")
		}
	}
	in.take()
	return nil
}

// readKey reads a key and its colon, up to the value.
func (in *input) readKey() error {
	raw, plain, err := in.quoted()
	if err != nil {
		return err
	}
	if in.key = append(in.key[:0], raw...); !plain {
		in.key = append(in.key[:0], unquote(raw)...)
	}
	c, err := in.inside()
	if err != nil {
		return err
	}
	if c != ':' {
		return in.unexpected("a colon")
	}
	in.pos++
	_, err = in.inside()
	return err
}

// quoted reads a string, and returns the text between its quotes, valid until the next read. If it is plain, that is its value.
func (in *input) quoted() (raw []byte, plain bool, err error) {
	start, from := in.pos-in.keep, in.pos+1
	for {
		i := bytes.IndexByte(in.buf[from:in.end], '"')
		if i < 0 {
			from = in.end - in.keep
			if err := in.need(); err != nil {
				return nil, false, in.explain(in.keep+start, err)
			}
			from += in.keep
			continue
		}
		from += i + 1
		if !endsEscaped(in.buf[in.keep+start+1 : from-1]) {
			break
		}
	}
	begin := in.keep + start
	in.pos = from
	raw = in.buf[begin+1 : from-1]
	if plain = isPlain(raw); plain {
		return raw, true, nil
	}
	return raw, false, in.check(begin, from)
}

// endsEscaped reports whether an odd number of backslashes escapes the byte after b.
func endsEscaped(b []byte) bool {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// isPlain reports whether a string has only ASCII without escapes and control characters.
func isPlain(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c >= utf8.RuneSelf || c == '\\' {
			return false
		}
	}
	return true
}

// unquote returns the value of a valid string.
func unquote(raw []byte) string {
	var s string
	// It was checked, and cannot fail.
	_ = json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &s)
	return s
}

// maxStrings bounds the memory that a hostile recording can take.
const maxStrings = 4096

// text reads a string and returns its value.
func (in *input) text() (string, error) {
	raw, plain, err := in.quoted()
	if err != nil || plain {
		return string(raw), err
	}
	return unquote(raw), nil
}

// common is text for values that many items share, which are stored once.
func (in *input) common() (string, error) {
	raw, plain, err := in.quoted()
	if err != nil {
		return "", err
	}
	if s, ok := in.strings[string(raw)]; ok {
		return s, nil
	}
	if !plain {
		return unquote(raw), nil
	}
	s := string(raw)
	if len(s) < 256 && len(in.strings) < maxStrings {
		in.strings[s] = s
	}
	return s, nil
}

// skip skips a value. The contents of an object or array are not checked.
func (in *input) skip() error {
	switch in.buf[in.pos] {
	case '{', '[':
		return in.nested()
	case '"':
		_, _, err := in.quoted()
		return err
	default:
		return in.scalar()
	}
}

// nested skips an object or array, looking at its brackets only.
func (in *input) nested() error {
	start := in.pos - in.keep
	n := bracketScanner{outside: in.depth}
	for {
		end, bad := n.scan(in.buf[in.pos:in.end])
		if bad != nil {
			return in.explain(in.keep+start, errorAt(in.offset(in.pos+bad.at), "%s", bad.why))
		}
		if end >= 0 {
			in.pos += end
			return nil
		}
		in.pos = in.end
		if err := in.need(); err != nil {
			return in.explain(in.keep+start, err)
		}
	}
}

// explain looks for the first error of a value that starts at an index of the window: after a missing quote, the place where the
// reading failed is far behind the mistake.
func (in *input) explain(start int, err error) error {
	end := in.end
	var e *Error
	if errors.As(err, &e) && !errors.Is(e, errTooLarge) {
		if end = int(e.Offset - in.base); end < start || end > in.end {
			return err // of the reader
		}
	}
	if first := in.syntax(start, end); first != nil {
		return first
	}
	return err
}

// scalar reads a number, true, false or null.
func (in *input) scalar() error {
	start := in.pos - in.keep
	for in.pos == in.end || isScalar(in.buf[in.pos]) {
		if in.pos < in.end {
			in.pos++
			continue
		}
		if err := in.need(); err != nil {
			return err
		}
	}
	from := in.keep + start
	if in.pos == from {
		return in.unexpected("a value")
	}
	if !json.Valid(in.buf[from:in.pos]) {
		return errorAt(in.offset(from), "invalid JSON: expected a value, got %s", clip(string(in.buf[from:in.pos])))
	}
	return nil
}

func isScalar(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '+' || c == '.'
}

// check returns the first error of a whole value in the window.
func (in *input) check(start, end int) error {
	b := in.buf[start:end]
	if !json.Valid(b) {
		if err := in.syntax(start, end); err != nil {
			return err
		}
		return &Error{Offset: in.offset(end), Err: errTruncated}
	}
	if utf8.Valid(b) {
		return nil
	}
	for i := 0; ; {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return errorAt(in.offset(start+i), "invalid UTF-8: byte 0x%02x", b[i])
		}
		i += size
	}
}

// syntax returns the first error of the beginning of a value in the window, or nil if the value may be valid so far.
func (in *input) syntax(start, end int) error {
	b := in.buf[start:end]
	var all json.RawMessage
	var bad *json.SyntaxError
	if err := json.Unmarshal(b, &all); !errors.As(err, &bad) || bad.Error() == "unexpected end of JSON input" {
		return nil
	}
	// encoding/json treats the end as a space, and reports that inside a literal or an escape.
	if strings.HasPrefix(bad.Error(), "invalid character ' '") && b[bad.Offset-1] != ' ' {
		return nil
	}
	// Offset counts the offending byte too.
	return errorAt(in.offset(start)+bad.Offset-1, "invalid JSON: %s", bad)
}

// unexpected returns the error of the next byte.
func (in *input) unexpected(wanted string) error {
	return errorAt(in.offset(in.pos), "invalid JSON: expected %s, got %s", wanted, char(in.buf[in.pos]))
}

// char describes a byte.
func char(c byte) string {
	if c >= utf8.RuneSelf {
		return fmt.Sprintf("byte 0x%02x", c)
	}
	return fmt.Sprintf("%q", c)
}

// describe describes the value that starts with a byte.
func describe(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return "a number"
	}
	return char(c)
}
