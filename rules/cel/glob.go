package cel

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// Matches returns an expression of type bool that is true if a shell glob matches a text. expr is the expression for the text, of type string.
func Matches(expr, pattern string) string { return glob(expr, pattern, true) }

// glob returns an expression that matches a whole text with a glob. slashes must be true if the text may contain slashes, which wildcards do
// not match.
func glob(expr, pattern string, slashes bool) string {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return expr + " == " + Quote(pattern)
	}
	rest := strings.Trim(pattern, "*")
	if plain := !slashes && !strings.ContainsAny(rest, `*?[\`); plain {
		switch pattern {
		case rest + "*":
			return expr + ".startsWith(" + Quote(rest) + ")"
		case "*" + rest:
			return expr + ".endsWith(" + Quote(rest) + ")"
		case "*":
			return "true"
		}
	}
	return expr + ".matches(" + Quote(globExpression(pattern, "[^/]")) + ")"
}

// A globPart is one part of a glob: a wildcard, a character class, or a literal character.
type globPart struct {
	wildcard rune // '*' or '?'; 0 for none
	class    []globRange
	negated  bool
	literal  rune
}

type globRange struct{ low, high rune }

// globParts parses a glob that path.Match accepts.
func globParts(pattern string) []globPart {
	var parts []globPart
	runes := []rune(pattern)
	next := func(i int) (rune, int) {
		if runes[i] == '\\' {
			i++
		}
		return runes[i], i + 1
	}
	for i := 0; i < len(runes); {
		switch runes[i] {
		case '*', '?':
			parts = append(parts, globPart{wildcard: runes[i]})
			i++
		case '[':
			var part globPart
			i++
			if part.negated = runes[i] == '^'; part.negated {
				i++
			}
			for first := true; first || runes[i] != ']'; first = false {
				var r globRange
				r.low, i = next(i)
				if r.high = r.low; runes[i] == '-' {
					r.high, i = next(i + 1)
				}
				part.class = append(part.class, r)
			}
			parts = append(parts, part)
			i++
		default:
			var part globPart
			part.literal, i = next(i)
			parts = append(parts, part)
		}
	}
	return parts
}

// globExpression returns a glob as a regular expression. wildcard is the expression for a character that a wildcard matches.
func globExpression(pattern, wildcard string) string {
	var b strings.Builder
	b.WriteByte('^')
	for _, part := range globParts(pattern) {
		switch {
		case part.wildcard == '*':
			b.WriteString(wildcard + "*")
		case part.wildcard == '?':
			b.WriteString(wildcard)
		case part.class != nil:
			b.WriteByte('[')
			if part.negated {
				b.WriteByte('^')
			}
			for _, r := range part.class {
				fmt.Fprintf(&b, `\x{%x}`, r.low)
				if r.high != r.low {
					fmt.Fprintf(&b, `-\x{%x}`, r.high)
				}
			}
			b.WriteByte(']')
		default:
			b.WriteString(regexp.QuoteMeta(string(part.literal)))
		}
	}
	b.WriteByte('$')
	return b.String()
}

// Namespaces returns an expression of type bool that is true if the table evaluates the pods of a namespace. expr is the expression for the
// namespace, of type string.
func Namespaces(t *rules.Table, expr string) string {
	namespaces := strictyaml.Field(parse(t), "namespaces")
	anyOf := func(field string) string {
		var names, parts []string
		for _, node := range entries(namespaces, field) {
			if strings.ContainsAny(node.Value, `*?[\`) {
				parts = append(parts, glob(expr, node.Value, false))
			} else {
				names = append(names, Quote(node.Value))
			}
		}
		if len(names) > 0 {
			parts = append([]string{expr + " in [" + strings.Join(names, ", ") + "]"}, parts...)
		}
		return joined(parts, or)
	}
	excluded := not(bare(anyOf("exclude")))
	if len(entries(namespaces, "include")) == 0 {
		return excluded
	}
	return bare(joined([]string{anyOf("include"), excluded}, and))
}
