package vap

import (
	"strings"
	"unicode/utf8"
)

// lineWidth is the width at which long expressions are broken into lines. Parts that cannot be broken may be longer.
const lineWidth = 100

// format breaks a CEL expression into readable lines. The expression must have spaces around its operators.
func format(expression string) string {
	if !strings.Contains(expression, "\n") && utf8.RuneCountInString(expression) <= lineWidth {
		return expression
	}
	items, _ := parseItems(expression)
	var b strings.Builder
	layout(&b, items, 0)
	return b.String()
}

// An item is a text without brackets, or a group: a pair of brackets with its content.
type item struct {
	text        string // the text, or the opening bracket of a group
	inner       []item
	closing     string // the closing bracket of a group; empty for a text
	isSeparator bool
	width       int // on one line
}

func newItem(text string, inner []item, closing string, isSeparator bool) item {
	return item{text, inner, closing, isSeparator, utf8.RuneCountInString(text) + width(inner) + len(closing)}
}

func width(items []item) int {
	sum := 0
	for i := range items {
		sum += items[i].width
	}
	return sum
}

// separators are the texts at which an expression may be broken, from the loosest binding to the tightest.
var separators = [][]string{{", "}, {" ? ", " : "}, {" || "}, {" && "}, {" + "}}

// parseItems parses items up to the end of the text, or up to a closing bracket without an opening one. rest is the unparsed text.
func parseItems(text string) (items []item, rest string) {
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			items = append(items, newItem(plain.String(), nil, "", false))
			plain.Reset()
		}
	}
	for len(text) > 0 {
		switch c := text[0]; {
		case c == '"':
			end := endOfString(text)
			plain.WriteString(text[:end])
			text = text[end:]
			continue
		case strings.IndexByte("([{", c) >= 0:
			flush()
			inner, after := parseItems(text[1:])
			items = append(items, newItem(text[:1], inner, after[:1], false))
			text = after[1:]
			continue
		case strings.IndexByte(")]}", c) >= 0:
			flush()
			return items, text
		}
		if s := separatorAt(text); s != "" {
			flush()
			items = append(items, newItem(s, nil, "", true))
			text = text[len(s):]
			continue
		}
		plain.WriteByte(text[0])
		text = text[1:]
	}
	flush()
	return items, ""
}

func endOfString(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}

func separatorAt(text string) string {
	for _, level := range separators {
		for _, s := range level {
			if strings.HasPrefix(text, s) {
				return s
			}
		}
	}
	return ""
}

// writeFlat writes items on one line.
func writeFlat(b *strings.Builder, items []item) {
	for i := range items {
		b.WriteString(items[i].text)
		writeFlat(b, items[i].inner)
		b.WriteString(items[i].closing)
	}
}

// layout writes items with an indentation, on one line if they fit.
func layout(b *strings.Builder, items []item, indent int) {
	if indent+width(items) <= lineWidth {
		writeFlat(b, items)
		return
	}
	for _, level := range separators {
		parts, between := split(items, level)
		if len(parts) == 1 {
			continue
		}
		for i, part := range parts {
			if i > 0 {
				lineBreak(b, between[i-1], indent)
			}
			layout(b, part, indent)
		}
		return
	}
	for i := range items {
		if items[i].width <= lineWidth/2 || items[i].closing == "" {
			writeFlat(b, items[i:i+1])
		} else {
			layoutGroup(b, &items[i], indent)
		}
	}
}

// layoutGroup writes the content of a group on its own lines. The variable of a macro stays on the line of the opening bracket.
func layoutGroup(b *strings.Builder, group *item, indent int) {
	const step = 2
	b.WriteString(group.text)
	inner := group.inner
	if group.text == "(" && len(inner) > 2 && inner[0].closing == "" && inner[1].text == ", " && !strings.ContainsAny(inner[0].text, " \".") {
		b.WriteString(inner[0].text + ",")
		inner = inner[2:]
	}
	newLine(b, indent+step)
	layout(b, inner, indent+step)
	newLine(b, indent)
	b.WriteString(group.closing)
}

// split splits items at the separators of a level.
func split(items []item, level []string) (parts [][]item, between []string) {
	start := 0
	for i, it := range items {
		for _, s := range level {
			if it.isSeparator && it.text == s {
				parts, between = append(parts, items[start:i]), append(between, s)
				start = i + 1
			}
		}
	}
	return append(parts, items[start:]), between
}

// lineBreak breaks a line at a separator: after a comma, before an operator.
func lineBreak(b *strings.Builder, separator string, indent int) {
	if separator == ", " {
		b.WriteString(",")
		newLine(b, indent)
		return
	}
	newLine(b, indent)
	b.WriteString(strings.TrimPrefix(separator, " "))
}

func newLine(b *strings.Builder, indent int) { b.WriteString("\n" + strings.Repeat(" ", indent)) }
