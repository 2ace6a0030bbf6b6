package report

import (
	"strings"
	"unicode/utf8"

	"github.com/dustin/go-humanize/english"
)

// A grid is the columns of a table.
type grid []column

type column struct {
	head  string
	right bool
	// least is how narrow the column may get, in characters; 0 for one that keeps its width.
	least int
}

// A gridCell is a name, a sentence, or the counts of checks.
type gridCell struct {
	text  string
	words bool // the text is a sentence, which is broken between words and never cut
	items []string
	color string
}

// How many lines a cell gets where its column is narrow.
const (
	nameLines  = 3
	checkLines = 3
)

// whole is the text of a cell in one line.
func (c gridCell) whole() string {
	if len(c.items) > 0 {
		return strings.Join(c.items, ", ")
	}
	return c.text
}

// within are the lines of a cell in so many characters. A name is broken where its parts meet, and cut in its middle only
// where that takes too many lines. Of checks that do not fit, the number is in the last line.
func (c gridCell) wrap(width int) []string {
	if whole := c.whole(); utf8.RuneCountInString(whole) <= width {
		return []string{whole}
	}
	if c.words {
		return packed(strings.Fields(c.text), " ", width)
	}
	if len(c.items) == 0 {
		if lines := brokenName(c.text, width); lines != nil && len(lines) <= nameLines {
			return lines
		}
		// Of a workload and its file, the name of the workload is never cut for the file.
		if workload, file, ok := strings.Cut(c.text, " ("); ok {
			if lines := brokenName(workload, width); lines != nil && len(lines) < nameLines {
				return append(lines, elided("("+file, width))
			}
		}
		return []string{elided(c.text, width)}
	}
	for shown := len(c.items); shown > 0; shown-- {
		words := make([]string, 0, shown+1)
		for i, item := range c.items[:shown] {
			if i < len(c.items)-1 {
				item += ","
			}
			words = append(words, elided(item, width))
		}
		if hidden := len(c.items) - shown; hidden > 0 {
			words = append(words, elided("and "+english.Plural(hidden, "more check", ""), width))
		}
		if lines := packed(words, " ", width); len(lines) <= checkLines {
			return lines
		}
	}
	return []string{elided(english.Plural(len(c.items), "check", ""), width)}
}

// brokenName breaks a name behind its punctuation; nil where a part is wider than that.
func brokenName(text string, width int) []string {
	var parts []string
	start := 0
	for i, r := range text {
		if strings.ContainsRune("/-._:@ ", r) {
			parts = append(parts, text[start:i+1])
			start = i + 1
		}
	}
	if start < len(text) {
		parts = append(parts, text[start:])
	}
	for _, part := range parts {
		if utf8.RuneCountInString(part) > width {
			return nil
		}
	}
	return packed(parts, "", width)
}

// packed joins words to lines of at most so many characters; a word that is longer has a line of its own.
func packed(words []string, separator string, width int) []string {
	var lines []string
	line, length := "", 0
	for _, word := range words {
		n := utf8.RuneCountInString(word)
		switch {
		case line == "":
			line, length = word, n
		case length+len(separator)+n <= width:
			line += separator + word
			length += len(separator) + n
		default:
			lines = append(lines, line)
			line, length = word, n
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// gap is how far columns stand apart.
const gap = 2

// widestItem is how wide a column gets so that no count of a check is broken.
const widestItem = 40

// grid writes an empty line, the heads and the rows, as wide as the options say where that can be.
func (w *tableWriter) grid(g grid, rows [][]gridCell) {
	widths := make([]int, len(g))
	for i, c := range g {
		widths[i] = len(c.head)
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].whole()))
			for _, item := range row[i].items {
				g[i].least = max(g[i].least, min(utf8.RuneCountInString(item)+1, widestItem))
			}
		}
	}
	if w.o.Width > 0 {
		g.narrow(widths, w.o.Width)
	}
	w.line("")
	heads := make([]gridCell, len(g))
	for i, c := range g {
		heads[i] = gridCell{text: c.head, color: bold}
	}
	w.row(g, widths, heads)
	for _, row := range rows {
		w.row(g, widths, row)
	}
}

// narrow takes characters from the widest columns that may lose some, until the lines fit or none may.
func (g grid) narrow(widths []int, width int) {
	over := gap*(len(g)-1) - width
	for _, columnWidth := range widths {
		over += columnWidth
	}
	for ; over > 0; over-- {
		widest := -1
		for i, c := range g {
			if c.least > 0 && widths[i] > max(c.least, len(c.head)) && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// row writes one row, in as many lines as the longest of its cells has.
func (w *tableWriter) row(g grid, widths []int, cells []gridCell) {
	lines := make([][]string, len(cells))
	height := 1
	for i, c := range cells {
		lines[i] = c.wrap(widths[i])
		height = max(height, len(lines[i]))
	}
	for at := range height {
		var line strings.Builder
		for i, c := range cells {
			text := ""
			if at < len(lines[i]) {
				text = strings.TrimRight(lines[i][at], " ")
			}
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			color := c.color
			if text == "" {
				color = ""
			}
			if g[i].right {
				line.WriteString(space + w.in(color, text))
			} else {
				line.WriteString(w.in(color, text) + space)
			}
			line.WriteString(strings.Repeat(" ", gap))
		}
		w.line("%s", strings.TrimRight(line.String(), " "))
	}
}
