package rules

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is the maximum nesting of the JSON of a pod: far more than any Pod has, and far less than would exhaust the stack.
const MaxDepth = 200

// A SyntaxError is an error in the JSON of a pod.
type SyntaxError struct {
	// Offset counts bytes from the start of the pod's JSON.
	Offset int
	msg    string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.msg, e.Offset) }

// Reason is the error without its offset.
func (e *SyntaxError) Reason() string { return e.msg }

// A checker validates that a text is one JSON object of RFC 8259 in valid UTF-8, nested at most MaxDepth deep and without duplicate keys.
// gjson accepts anything as JSON, takes the first of two equal keys where encoding/json takes the last, and would score half of a
// truncated pod, so it only gets validated text.
type checker struct {
	data    []byte
	keys    [][]byte // of the open objects, outermost first
	unquote []byte   // holds the keys that are written with escapes; managedFields has many
	keyEnd  int      // the end of the last key
	escaped bool     // the last string has an escape
	open    [MaxDepth]container
}

type container struct {
	object bool
	first  int                 // index in keys of the object's first key
	seen   map[string]struct{} // the keys as a set, once there are many
}

// fewKeys is the number of keys of an object that are compared one by one before a map is built.
const fewKeys = 48

const truncated = "unexpected end of JSON"

func (c *checker) check(data []byte) error {
	i, err := c.begin(data)
	if err != nil {
		return err
	}
	if i, err = c.value(i, 0); err != nil {
		return err
	}
	return c.end(i)
}

// begin sets the text and returns the start of its object.
func (c *checker) begin(data []byte) (int, error) {
	c.data, c.keys, c.unquote = data, c.keys[:0], c.unquote[:0]
	if !utf8.Valid(data) {
		return 0, &SyntaxError{Offset: invalidUTF8(data), msg: "invalid UTF-8"}
	}
	i := c.skipSpace(0)
	if i == len(data) || data[i] != '{' {
		return 0, c.wrong(i, "a pod must be a JSON object")
	}
	return i, nil
}

// end validates that nothing follows the object, which ended at i.
func (c *checker) end(i int) error {
	if i = c.skipSpace(i); i != len(c.data) {
		return c.wrong(i, "text after the end of the pod")
	}
	return nil
}

func (c *checker) wrong(at int, msg string) error {
	if at >= len(c.data) {
		at, msg = len(c.data), truncated
	}
	return &SyntaxError{Offset: at, msg: msg}
}

// value validates the value at i, which is nested in outside containers, and returns its end.
func (c *checker) value(i, outside int) (int, error) {
	depth := outside // open containers
	var err error
	for {
		// A value must start at i.
		i = c.skipSpace(i)
		if i == len(c.data) {
			return 0, c.wrong(i, "")
		}
		switch b := c.data[i]; b {
		case '{', '[':
			level, err := c.enter(i, depth)
			if err != nil {
				return 0, err
			}
			depth++
			if i = c.skipSpace(i + 1); i < len(c.data) && c.data[i] == b+2 { // ']' and '}' are two code points after their openers
				break
			}
			if level.object {
				if i, err = c.key(i, level); err != nil {
					return 0, err
				}
			}
			continue
		case '"':
			i, err = c.text(i)
		case 't':
			i, err = c.word(i, "true")
		case 'f':
			i, err = c.word(i, "false")
		case 'n':
			i, err = c.word(i, "null")
		default:
			i, err = c.number(i)
		}
		if err != nil {
			return 0, err
		}
		// A value has ended, or an empty container ends at i: close what ends here.
		for {
			if depth == outside {
				return i, nil
			}
			level := &c.open[depth-1]
			var more bool
			if i, more, err = c.next(i, level); err != nil {
				return 0, err
			}
			if !more {
				depth--
				continue
			}
			if level.object {
				if i, err = c.key(c.skipSpace(i), level); err != nil {
					return 0, err
				}
			}
			break
		}
	}
}

// enter opens the container at i, which is nested in depth others.
func (c *checker) enter(i, depth int) (*container, error) {
	if depth == MaxDepth {
		return nil, c.wrong(i, fmt.Sprintf("JSON nested deeper than %d", MaxDepth))
	}
	level := &c.open[depth]
	level.object, level.first, level.seen = c.data[i] == '{', len(c.keys), nil
	return level, nil
}

// next continues after a value of a container, or after the opener of an empty one, that ended at i: past a comma, when more follows, or
// past the end of the container, which it closes.
func (c *checker) next(i int, of *container) (end int, more bool, err error) {
	if i = c.skipSpace(i); i == len(c.data) {
		return 0, false, c.wrong(i, "")
	}
	if c.data[i] == ',' {
		return i + 1, true, nil
	}
	closer := byte(']')
	if of.object {
		closer = '}'
	}
	if c.data[i] != closer {
		return 0, false, c.wrong(i, fmt.Sprintf("found %q instead of a comma or %q", c.data[i], closer))
	}
	c.keys = c.keys[:of.first]
	return i + 1, false, nil
}

// key validates the key at i and the colon after it, and returns the end of the colon.
func (c *checker) key(i int, of *container) (int, error) {
	if i == len(c.data) || c.data[i] != '"' {
		return 0, c.wrong(i, "expected a key")
	}
	c.escaped = false
	end, err := c.text(i)
	if err != nil {
		return 0, err
	}
	c.keyEnd = end
	key := c.data[i+1 : end-1]
	if c.escaped {
		start := len(c.unquote)
		c.unquote = appendUnescaped(c.unquote, key)
		key = c.unquote[start:]
	}
	if c.repeated(key, of) {
		return 0, c.wrong(i, fmt.Sprintf("duplicate key %.64q", key))
	}
	if end = c.skipSpace(end); end == len(c.data) || c.data[end] != ':' {
		return 0, c.wrong(end, "expected a colon after the key")
	}
	return end + 1, nil
}

// repeated records a key and reports whether the object had it before.
func (c *checker) repeated(key []byte, of *container) bool {
	siblings := c.keys[of.first:]
	c.keys = append(c.keys, key)
	if of.seen != nil {
		_, repeated := of.seen[string(key)]
		of.seen[string(key)] = struct{}{}
		return repeated
	}
	for _, sibling := range siblings {
		if string(sibling) == string(key) {
			return true
		}
	}
	if len(siblings) == fewKeys {
		of.seen = make(map[string]struct{}, 4*fewKeys)
		for _, k := range c.keys[of.first:] {
			of.seen[string(k)] = struct{}{}
		}
	}
	return false
}

// text validates the string whose opening quote is at i and returns the end of its closing quote.
func (c *checker) text(i int) (int, error) {
	data := c.data
	for i++; ; {
		i += plainPrefix(data[i:])
		if i >= len(data) {
			return 0, c.wrong(i, "")
		}
		switch b := data[i]; {
		case b == '"':
			return i + 1, nil
		case b == '\\':
			n := escapeLen(data[i:])
			if n == 0 {
				return 0, c.wrong(i, "invalid escape in a string")
			}
			i += n
			c.escaped = true
		default:
			return 0, c.wrong(i, "control character in a string")
		}
		if i > len(data) {
			return 0, c.wrong(i, "")
		}
	}
}

const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainPrefix is the number of bytes before the first quote, backslash or control character. It looks at eight bytes at a time (see
// "Determine if a word has a byte less than n", Bit Twiddling Hacks).
func plainPrefix(data []byte) int {
	i := 0
	for ; i+8 <= len(data); i += 8 {
		word := binary.LittleEndian.Uint64(data[i:])
		quote, slash := word^(lows*'"'), word^(lows*'\\')
		found := ((quote - lows) &^ quote) | ((slash - lows) &^ slash) | ((word - lows*0x20) &^ word)
		if found &= highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(data); i++ {
		if b := data[i]; b == '"' || b == '\\' || b < 0x20 {
			break
		}
	}
	return i
}

// escapeLen is the length of the escape at the start of data; 0 for an invalid one.
func escapeLen(data []byte) int {
	if len(data) < 2 {
		return 2 // beyond the end: the text is truncated
	}
	switch data[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		for i := 2; i < min(6, len(data)); i++ {
			if !isHex(data[i]) {
				return 0
			}
		}
		return 6
	}
	return 0
}

// appendUnescaped appends the value of a valid string. As in encoding/json, half of a surrogate pair becomes U+FFFD.
func appendUnescaped(to, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			to = append(to, text[i])
			continue
		}
		i++
		if short := strings.IndexByte("bfnrt", text[i]); short >= 0 {
			to = append(to, "\b\f\n\r\t"[short])
			continue
		}
		if text[i] != 'u' {
			to = append(to, text[i])
			continue
		}
		r := codeUnit(text[i+1:])
		i += 4
		if rest := text[i+1:]; utf16.IsSurrogate(r) && bytes.HasPrefix(rest, []byte(`\u`)) {
			if pair := utf16.DecodeRune(r, codeUnit(rest[2:])); pair != utf8.RuneError {
				r = pair
				i += 6
			}
		}
		to = utf8.AppendRune(to, r)
	}
	return to
}

// codeUnit parses four hexadecimal digits.
func codeUnit(digits []byte) rune {
	n, _ := strconv.ParseUint(string(digits[:4]), 16, 16)
	return rune(n)
}

func isHex(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'f' || 'A' <= b && b <= 'F'
}

func (c *checker) word(i int, word string) (int, error) {
	if !bytes.HasPrefix(c.data[i:], []byte(word)) {
		if bytes.HasPrefix([]byte(word), c.data[i:]) {
			return 0, c.wrong(len(c.data), "")
		}
		return 0, c.wrong(i, "invalid value")
	}
	return i + len(word), nil
}

// number validates -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?
func (c *checker) number(i int) (int, error) {
	start, data := i, c.data
	digits := func() bool {
		from := i
		for i < len(data) && '0' <= data[i] && data[i] <= '9' {
			i++
		}
		return i > from
	}
	if data[i] == '-' {
		i++
	}
	if i < len(data) && data[i] == '0' {
		i++
	} else if !digits() {
		if i == len(data) {
			return 0, c.wrong(i, "")
		}
		return 0, c.wrong(start, "invalid value")
	}
	if i < len(data) && data[i] == '.' {
		if i++; !digits() {
			return 0, c.wrong(i, "invalid number")
		}
	}
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		if i++; i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		if !digits() {
			return 0, c.wrong(i, "invalid number")
		}
	}
	return i, nil
}

// skipSpace skips white space: mostly none, one space, or a line break and an indentation, which it skips eight spaces at a time.
func (c *checker) skipSpace(i int) int {
	data := c.data
	if i >= len(data) || data[i] > ' ' {
		return i
	}
	if data[i] == '\n' {
		i++
	}
	for ; i+8 <= len(data); i += 8 {
		if others := binary.LittleEndian.Uint64(data[i:]) ^ lows*' '; others != 0 {
			i += bits.TrailingZeros64(others) / 8
			break
		}
	}
	for i < len(data) {
		switch data[i] {
		case ' ', '\n', '\t', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(data)
}
