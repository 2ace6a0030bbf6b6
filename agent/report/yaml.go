package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// YAML writes the document of ScanJSON as YAML, piece by piece as it comes.
func YAML(to io.Writer, scan *Scan, o Options) error {
	from, into := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		into.CloseWithError(ScanJSON(into, scan, o))
	}()
	decoder := json.NewDecoder(from)
	decoder.UseNumber()
	w := &yamlWriter{from: decoder, to: bufio.NewWriter(to)}
	err := w.document()
	from.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // the other side ends, whatever happened here
	<-ended
	return err
}

// A yamlWriter writes in block style what it reads as JSON.
type yamlWriter struct {
	from *json.Decoder
	to   *bufio.Writer
}

func (w *yamlWriter) document() error {
	token, err := w.from.Token()
	if err != nil {
		return err
	}
	if err := w.value(token, 0, true); err != nil {
		return err
	}
	return w.to.Flush()
}

// value writes a value that begins with a token. A line has been begun with so much indentation: where fresh, nothing
// else stands in it, or only the dash of a list; else a key.
func (w *yamlWriter) value(token json.Token, indent int, fresh bool) error {
	delim, ok := token.(json.Delim)
	if !ok {
		return w.line(fresh, scalar(token))
	}
	if !w.from.More() {
		if _, err := w.from.Token(); err != nil {
			return err
		}
		return w.line(fresh, map[json.Delim]string{'{': "{}", '[': "[]"}[delim])
	}
	if !fresh {
		if err := w.to.WriteByte('\n'); err != nil {
			return err
		}
	}
	for first := true; w.from.More(); first = false {
		if !first || !fresh {
			if _, err := w.to.WriteString(strings.Repeat(" ", indent)); err != nil {
				return err
			}
		}
		if err := w.item(delim, indent); err != nil {
			return err
		}
	}
	_, err := w.from.Token()
	return err
}

// longestKey is how many characters a key of YAML may have in a line with its value; a longer one has its own line.
const longestKey = 1000

// item writes one item of a list or a mapping.
func (w *yamlWriter) item(of json.Delim, indent int) error {
	token, err := w.from.Token()
	if err != nil {
		return err
	}
	if of == '[' {
		if _, err := w.to.WriteString("- "); err != nil {
			return err
		}
		return w.value(token, indent+2, true)
	}
	key := scalar(token)
	if len(key) > longestKey {
		key = "? " + key + "\n" + strings.Repeat(" ", indent)
	}
	if _, err := w.to.WriteString(key + ":"); err != nil {
		return err
	}
	if token, err = w.from.Token(); err != nil {
		return err
	}
	return w.value(token, indent+2, false)
}

func (w *yamlWriter) line(fresh bool, text string) error {
	if !fresh {
		text = " " + text
	}
	_, err := w.to.WriteString(text + "\n")
	return err
}

// isPlain tells whether a text needs no quotes: it begins with a letter, has nothing but the letters of names, and is no
// word that means something else.
func isPlain(text string) bool {
	for i := range len(text) {
		c := text[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || !('0' <= c && c <= '9') && c != '.' && c != '/' && c != '-') {
			return false
		}
	}
	return text != "" && (len(text) > len("false") || !slices.Contains(wordsYAML, strings.ToLower(text)))
}

var wordsYAML = []string{"true", "false", "yes", "no", "on", "off", "y", "n", "null"}

func scalar(token json.Token) string {
	text, ok := token.(string)
	switch {
	case token == nil:
		return "null"
	case !ok:
		return fmt.Sprint(token) // a number as it was written, true or false
	case isPlain(text):
		return text
	}
	return quotedYAML(text)
}

// quotedYAML is a text in double quotes, with an escape for all that is not printable.
func quotedYAML(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r) || r == utf8.RuneError:
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02X`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
