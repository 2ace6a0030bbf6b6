package base

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
)

// nameWidth is the maximum length of a displayed name, in characters. Names in Kubernetes have at most 253; a recording may
// have one of a megabyte.
const nameWidth = 120

// Display prepares a text for a line of output: it is quoted if it has unprintable characters, and elided if it is longer than
// width characters.
func Display(text string, width int) string {
	return Elided(Printable(Head(text, 4*width)), width)
}

// Name prepares a name for output.
func Name(text string) string { return Display(text, nameWidth) }

// Prose prepares a sentence for a line of output, elided if it is longer than width characters.
func Prose(text string, width int) string { return Elided(Sanitized(Head(text, 4*width)), width) }

// Printable quotes a text that is empty or has unprintable characters.
func Printable(text string) string {
	if text == "" || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// Head returns the beginning of a text: at most size bytes, and an ellipsis if the text is longer.
func Head(text string, size int) string {
	if len(text) <= size {
		return text
	}
	for size > 0 && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size] + "…"
}

// Elided replaces the middle of a text that is longer than width characters by an ellipsis, because names differ at their ends.
func Elided(text string, width int) string {
	runes := utf8.RuneCountInString(text)
	if runes <= width {
		return text
	}
	if width < 2 {
		return "…"[:min(width, 1)*len("…")]
	}
	before, after := width-1-(width-1)/2, (width-1)/2
	start, end := 0, len(text)
	for range before {
		_, size := utf8.DecodeRuneInString(text[start:])
		start += size
	}
	for range after {
		_, size := utf8.DecodeLastRuneInString(text[:end])
		end -= size
	}
	return text[:start] + "…" + text[end:]
}

// Sanitized replaces what a viewer may interpret: control characters, invisible characters and invalid UTF-8 become U+FFFD, and
// line breaks become spaces.
func Sanitized(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t' || r == '\u2028' || r == '\u2029':
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, text)
}

// Percent formats a compliance with one decimal. It rounds down: 80.0 % has the grade that starts at 80, and 100.0 % means that
// there are no penalty points.
func Percent(compliance float64) string {
	digits := strconv.FormatFloat(compliance, 'f', -1, 64)
	whole, part, _ := strings.Cut(digits, ".")
	return whole + "." + (part + "0")[:1] + " %"
}

// Number formats a count: 1,234,567.
func Number(n int) string { return humanize.Comma(int64(n)) }

// More counts omitted items: "and 3 more pods". It is empty for none.
func More(n int, what string) string {
	if n <= 0 {
		return ""
	}
	return "and " + english.Plural(n, "more "+what, "")
}
