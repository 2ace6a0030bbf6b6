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

// nameWidth is how much of a name is shown to people, in characters. Kubernetes has none that is longer than 253; a
// hostile recording may have one of a megabyte.
const nameWidth = 120

// shown is a text as it may stand in a line for people: quoted where a terminal would not show it as it is, and cut in its
// middle where it is longer than so many characters.
func display(text string, width int) string {
	return elided(printable(head(text, 4*width)), width)
}

// name is the text of a name for people.
func name(text string) string { return display(text, nameWidth) }

// fileName is a path for people. It is cut only where it is longer than a path in a repository gets.
func fileName(path string) string { return display(path, 300) }

// prose is a sentence as it may stand in a line for people, cut where it is longer than so many characters.
func prose(text string, width int) string { return elided(sanitized(head(text, 4*width)), width) }

// head is the beginning of a text, in bytes, and a mark where it goes on.
func head(text string, size int) string {
	if len(text) <= size {
		return text
	}
	for size > 0 && !utf8.RuneStart(text[size]) {
		size--
	}
	return text[:size] + "…"
}

// clipped cuts out the middle of a text that is longer than so many characters: names differ at their ends.
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

// Wrap breaks a text between its words into lines of at most so many characters, of any length where that is 0. All lines
// but the first have an indentation. A word that is longer than a line, such as the name of a file, is not broken.
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

// plain is a text without what a viewer may obey: control characters and invisible marks become U+FFFD, and so does what
// is not UTF-8. Line breaks become spaces.
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

// percent is a compliance for people, with one decimal. It is cut off and not rounded: what reads as 80.0 % has the grade
// that begins at 80, and 100.0 % means that nothing was lost.
func percent(compliance float64) string {
	digits := strconv.FormatFloat(compliance, 'f', -1, 64)
	whole, part, _ := strings.Cut(digits, ".")
	return whole + "." + (part + "0")[:1] + " %"
}

// number is a count for people: 1,234,567.
func number(n int) string { return humanize.Comma(int64(n)) }

// moreText says how many others there are: "and 3 more pods"; empty where there are none.
func moreText(n int, what string) string {
	if n <= 0 {
		return ""
	}
	return "and " + english.Plural(n, "more "+what, "")
}

// byCount lists words with their counts, the most frequent first.
func byCount(counts map[string]int) []string {
	words := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, word := range words {
		words[i] = fmt.Sprintf("%s %s", display(word, 60), number(counts[word]))
	}
	return words
}

// nearest are the names that are spelled most like a word, so many at the most; none where none is near.
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
