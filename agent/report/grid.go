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
	// least is the minimum width in characters; 0 for a column that keeps its width.
	least int
}

// A gridCell is a name, a sentence, or the counts of checks.
type gridCell struct {
	text  string
	words bool // the text is a sentence: it is wrapped between words and never elided
	items []string
	color string
}

// The maximum number of lines of a cell in a narrow column.
const (
	nameLines  = 3
	checkLines = 3
)

// whole returns the text of a cell on one line.
func (c gridCell) whole() string {
	if len(c.items) > 0 {
		return strings.Join(c.items, ", ")
	}
	return c.text
}

// wrap breaks a cell into lines of at most so many characters. A name is broken after its punctuation, and elided only if that takes too
// many lines. The last line counts the checks that do not fit.
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
		// A workload with its file: elide the file rather than the name of the workload.
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

// brokenName breaks a name after its punctuation. It returns nil if a part is wider than the column.
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

// packed joins words into lines of at most so many characters. A longer word gets a line of its own.
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

// gap is the number of spaces between two columns.
const gap = 2

// widestItem is the maximum width that a column keeps so that the count of a check is not elided.
const widestItem = 40

// grid writes an empty line, the heads and the rows. They fit the width of the options if the columns can be narrow enough.
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

// narrow reduces the widest columns until the rows fit, or until every column has its minimum width.
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

// row writes one row. It has as many lines as its tallest cell.
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
