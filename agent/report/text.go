package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// nameWidth is the maximum length of a displayed name, in characters. Names in Kubernetes have at most 253; a recording may
// have one of a megabyte.
const nameWidth = 120

// display prepares a text for a line of output: it is quoted if it has unprintable characters, and elided if it is longer than
// width characters.
func display(text string, width int) string {
	return elided(printable(head(text, 4*width)), width)
}

// name prepares a name for output.
func name(text string) string { return display(text, nameWidth) }

// fileName prepares a path for output. The limit is longer than paths in a repository are.
func fileName(path string) string { return display(path, 300) }

// prose prepares a sentence for a line of output, elided if it is longer than width characters.
func prose(text string, width int) string { return elided(sanitized(head(text, 4*width)), width) }

// head is the beginning of a text, of at most size bytes and an ellipsis.
func head(text string, size int) string {
	if len(text) <= size {
		return text
	}
	for size > 0 && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size] + "…"
}

// elided replaces the middle of a text that is longer than width characters by an ellipsis, because names differ at their ends.
func elided(text string, width int) string {
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

// Wrap breaks a text between words into lines of at most width characters; 0 is for no limit. All lines but the first start
// with the indentation. A word that is longer than a line, such as a file name, is not broken.
func Wrap(text string, width int, indent string) []string {
	if width <= 0 || utf8.RuneCountInString(text) <= width {
		return []string{text}
	}
	var lines []string
	line := ""
	for rest := text; rest != ""; {
		spaces := len(rest) - len(strings.TrimLeft(rest, " "))
		end := strings.IndexByte(rest[spaces:], ' ')
		if end < 0 {
			end = len(rest) - spaces
		}
		gap, word := rest[:spaces], rest[spaces:spaces+end]
		rest = rest[spaces+end:]
		if line != "" && strings.TrimSpace(line) != "" && utf8.RuneCountInString(line+gap+word) > width {
			lines = append(lines, line)
			line, gap = indent, ""
		}
		line += gap + word
	}
	return append(lines, line)
}

// sanitized replaces what a viewer may interpret: control characters, invisible characters and invalid UTF-8 become U+FFFD, and
// line breaks become spaces.
func sanitized(text string) string {
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

// percent formats a compliance with one decimal. It rounds down: 80.0 % has the grade that starts at 80, and 100.0 % means that
// there are no penalty points.
func percent(compliance float64) string {
	digits := strconv.FormatFloat(compliance, 'f', -1, 64)
	whole, part, _ := strings.Cut(digits, ".")
	return whole + "." + (part + "0")[:1] + " %"
}

// number formats a count: 1,234,567.
func number(n int) string { return humanize.Comma(int64(n)) }

// moreText counts omitted items: "and 3 more pods". It is empty for none.
func moreText(n int, what string) string {
	if n <= 0 {
		return ""
	}
	return "and " + english.Plural(n, "more "+what, "")
}

// byCount lists words with their counts, most frequent first.
func byCount(counts map[string]int) []string {
	words := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, word := range words {
		words[i] = fmt.Sprintf("%s %s", display(word, 60), number(counts[word]))
	}
	return words
}

// nearest returns the names that are most similar to a word, at most so many; none if none is similar.
func nearest(word string, names []string, most int) []string {
	type candidate struct {
		name     string
		distance int
	}
	var near []candidate
	wanted := strings.ToLower(head(word, 300))
	for _, n := range names {
		have := strings.ToLower(head(n, 300))
		distance := suggest.Distance(wanted, have)
		if wanted != "" && have != "" && (strings.Contains(have, wanted) || strings.Contains(wanted, have)) {
			distance = min(distance, 2) // a part of the name, or more than it
		}
		if distance < 3 && 2*distance < max(len(have), len(wanted)) {
			near = append(near, candidate{n, distance})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.distance, b.distance) })
	found := make([]string, 0, most)
	for _, c := range near[:min(most, len(near))] {
		found = append(found, c.name)
	}
	return found
}
