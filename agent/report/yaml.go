package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// YAML writes the document of ScanJSON as YAML, piece by piece as it comes. sigs.k8s.io/yaml takes six times as long, holds
// the whole document several times, and writes invisible marks as they are, which a terminal may obey.
func YAML(to io.Writer, scan *Scan, o Options) error {
	from, into := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		into.CloseWithError(ScanJSON(into, scan, o))
	}()
	w := &yamlWriter{json.NewDecoder(from), bufio.NewWriter(to)}
	w.UseNumber()
	err := w.value(0, true)
	if err == nil {
		err = w.Flush() // which has the first error of all writes
	}
	from.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // the other side ends, whatever happened here
	<-ended
	return err
}

// A yamlWriter writes in block style what it reads as JSON. The buffer keeps the error of a write.
type yamlWriter struct {
	*json.Decoder
	*bufio.Writer
}

// value writes the next value. Its lines have so much indentation. The first line is begun: where fresh, by nothing but the
// indentation or the dash of a list; else by a key.
func (w *yamlWriter) value(indent int, fresh bool) error {
	token, err := w.Token()
	if err != nil {
		return err
	}
	delim, ok := token.(json.Delim)
	if !ok || !w.More() {
		text := scalar(token)
		if ok {
			text = map[json.Delim]string{'{': "{}", '[': "[]"}[delim]
			_, err = w.Token()
		}
		if !fresh {
			text = " " + text
		}
		_, _ = w.WriteString(text + "\n")
		return err
	}
	if !fresh {
		_ = w.WriteByte('\n')
	}
	for first := true; w.More(); first = false {
		if !first || !fresh {
			_, _ = w.WriteString(strings.Repeat(" ", indent))
		}
		if err := w.item(delim, indent); err != nil {
			return err
		}
	}
	_, err = w.Token()
	return err
}

// longestKey is how many characters a key of YAML may have in a line with its value; a longer one has its own line.
const longestKey = 1000

// item writes one item of a list or a mapping.
func (w *yamlWriter) item(of json.Delim, indent int) error {
	if of == '[' {
		_, _ = w.WriteString("- ")
		return w.value(indent+2, true)
	}
	token, err := w.Token()
	if err != nil {
		return err
	}
	key := scalar(token)
	if len(key) > longestKey {
		key = "? " + key + "\n" + strings.Repeat(" ", indent)
	}
	if _, err := w.WriteString(key + ":"); err != nil {
		return err
	}
	return w.value(indent+2, false)
}

// scalar is a value without parts. strconv.Quote escapes what is not printable, by escapes that YAML has too.
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
	return strconv.Quote(text)
}

// isPlain reports whether a text needs no quotes: it begins with a letter, has only the letters of names, and is not a word
// with another meaning.
func isPlain(text string) bool {
	for i := range len(text) {
		c := text[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
		if !letter && (i == 0 || !('0' <= c && c <= '9') && c != '.' && c != '/' && c != '-') {
			return false
		}
	}
	return text != "" && !slices.Contains([]string{"true", "false", "yes", "no", "on", "off", "y", "n", "null"}, strings.ToLower(text))
}
