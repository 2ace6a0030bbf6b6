package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kube-devops/kube-devops/agent/page/base"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

// These prepare texts as the status page does.
func display(text string, width int) string { return base.Display(text, width) }
func name(text string) string               { return base.Name(text) }
func prose(text string, width int) string   { return base.Prose(text, width) }
func printable(text string) string          { return base.Printable(text) }
func head(text string, size int) string     { return base.Head(text, size) }
func elided(text string, width int) string  { return base.Elided(text, width) }
func sanitized(text string) string          { return base.Sanitized(text) }
func percent(compliance float64) string     { return base.Percent(compliance) }
func number(n int) string                   { return base.Number(n) }
func moreText(n int, what string) string    { return base.More(n, what) }

// fileName prepares a path for output. The limit is longer than paths in a repository are.
func fileName(path string) string { return display(path, 300) }

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
