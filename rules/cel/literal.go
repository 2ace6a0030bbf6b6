package cel

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// Quote returns a text as a CEL string literal of printable characters.
func Quote(text string) string {
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
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// literal returns a scalar as a CEL literal.
func literal(s strictyaml.Scalar) string {
	switch s.Kind {
	case strictyaml.TextScalar:
		return Quote(s.Text)
	case strictyaml.BoolScalar:
		return strconv.FormatBool(s.Bool)
	case strictyaml.IntScalar:
		return strconv.FormatInt(s.Int, 10)
	}
	text := strconv.FormatFloat(s.Float, 'g', -1, 64)
	if strings.Trim(text, "-0123456789") == "" {
		text += ".0" // without it, the literal would be an integer
	}
	return text
}

// reserved has the names that cannot follow a dot in some version of CEL.
var reserved = map[string]bool{
	"in": true, "true": true, "false": true, "null": true, "as": true, "break": true, "const": true, "continue": true, "else": true,
	"for": true, "function": true, "if": true, "import": true, "let": true, "loop": true, "package": true, "namespace": true,
	"return": true, "var": true, "void": true, "while": true,
}

// isIdentifier reports whether a key can follow a dot.
func isIdentifier(key string) bool {
	for i, c := range []byte(key) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return key != "" && !reserved[key]
}
