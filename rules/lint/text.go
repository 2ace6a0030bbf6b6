package lint

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// nameFields are the fields whose values are names or images, which never have a * or a ?.
var nameFields = []string{
	"image", "name", "namespace", "kind", "nodeName", "hostname", "subdomain", "serviceAccountName", "schedulerName", "priorityClassName", "runtimeClassName",
	"claimName", "secretName", "storageClassName", "topologyKey",
}

// hasName reports whether the leaf's paths select names, images or the values of labels.
func (l *leaf) hasName() bool {
	return l.all(func(keys []string) bool {
		n := len(keys)
		return slices.Contains(nameFields, keys[n-1]) && !slices.Contains(keys, "sysctls") || n > 1 && isLabels(keys[n-2])
	})
}

func isLabels(key string) bool {
	return slices.Contains([]string{"labels", "matchLabels", "nodeSelector"}, key)
}

// ofImage reports whether the leaf's paths select images.
func (l *leaf) ofImage() bool {
	return l.all(func(keys []string) bool { return keys[len(keys)-1] == "image" })
}

// patterns warns about shell globs where values are compared as they are.
func (l *leaf) patterns() {
	if !slices.Contains([]string{"equals", "notEquals", "in", "notIn", "oneOf", "contains", "hasPrefix", "hasSuffix"}, l.Operator) || !l.hasName() {
		return
	}
	for _, node := range strictyaml.Entries(l.Operand) {
		if text, err := strictyaml.ParseText(node); err == nil && strings.ContainsAny(text, "*?") {
			l.hint(node, "it compares text, and %.64q is not a pattern there; write {%s%s}", text, l.write(), l.forGlob(text))
		}
	}
}

// forGlob returns the operator and the value that mean a shell glob.
func (l *leaf) forGlob(glob string) string {
	suffix, before := strings.CutPrefix(glob, "*")
	prefix, after := strings.CutSuffix(glob, "*")
	text, operator := "", ""
	switch middle := strings.Trim(glob, "*"); {
	case before && after:
		text, operator = middle, "contains"
	case before:
		text, operator = suffix, "hasSuffix"
	case after:
		text, operator = prefix, "hasPrefix"
	}
	if operator == "" || strings.ContainsAny(text, "*?") {
		text = "^" + strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(glob)) + "$"
		return fmt.Sprintf("operator: matches, value: '%.64s'", text)
	}
	return fmt.Sprintf("operator: %s, value: %.64q", operator, text)
}

// host finds the name of a registry in front of a slash. In an expression its dots may have a backslash.
var host = regexp.MustCompile(`(?:[A-Za-z0-9-]+\\?\.)+[A-Za-z]{2,}(?::[0-9]+)?\\?/`)

// text returns the text that the leaf compares with; false when it has none.
func (l *leaf) text() (string, bool) {
	if l.Operand == nil {
		return "", false
	}
	text, err := strictyaml.ParseText(l.Operand)
	return text, err == nil
}

// registry warns about images that are compared with the name of a registry so that other registries match, too.
func (l *leaf) registry() {
	text, ok := l.text()
	if !ok || !l.ofImage() {
		return
	}
	switch l.Operator {
	case "hasPrefix":
		if !strings.Contains(text, "/") && host.MatchString(text+"/") && host.FindString(text+"/") == text+"/" {
			l.hint(l.node, "other registries begin with %.64q, too, such as %.64s.example.org/a; write %q, or use imageFrom", text, text, text+"/")
		}
	case "contains":
		if found := host.FindString(text); found != "" {
			l.hint(l.node, "%.64q may also be within the image of another registry, such as example.org/%.64sa; use hasPrefix or imageFrom", text, found)
		}
	case "matches":
		l.registryExpression(text)
	}
}

// dotted finds the name of a registry in an expression, also as the last of several in parentheses.
var dotted = regexp.MustCompile(`((?:[A-Za-z0-9-]+\\?\.)+[A-Za-z]{2,})(?::[0-9]+)?\\?[/|)]`)

// bracketed are the character classes of an expression, in which a dot is a dot.
var bracketed = regexp.MustCompile(`\[\^?\]?[^\]]*\]`)

func (l *leaf) registryExpression(source string) {
	parsed, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return
	}
	source = bracketed.ReplaceAllString(source, "[]")
	if name := host.FindString(source); name != "" && !bound(parsed) {
		l.hint(l.node, "the expression may match anywhere, also in the image of another registry, such as example.org/%.64sa; begin it with ^, or use imageFrom", strings.ReplaceAll(name, `\`, ""))
	}
	for _, found := range dotted.FindAllStringSubmatch(source, -1) {
		if name := found[1]; strings.Contains(strings.ReplaceAll(name, `\.`, ""), ".") {
			l.hint(l.node, `a dot matches any character; write %s`, strings.ReplaceAll(strings.ReplaceAll(name, `\.`, "."), ".", `\.`))
			return
		}
	}
}

// bound reports whether an expression, or an alternative of it, matches at the start of a text only.
func bound(r *syntax.Regexp) bool {
	switch r.Op {
	case syntax.OpBeginText, syntax.OpBeginLine:
		return true
	case syntax.OpCapture, syntax.OpConcat:
		return bound(r.Sub[0])
	case syntax.OpAlternate:
		return slices.ContainsFunc(r.Sub, bound)
	}
	return false
}

// alternatives warns about an expression such as ^a|b$, in which ^ belongs to the first alternative only, and $ to the last one. Where
// others have them, too, or there are parentheses, the author knows.
func (l *leaf) alternatives() {
	text, ok := l.text()
	if !ok || l.Operator != "matches" {
		return
	}
	if strings.Contains(text, `\Q`) {
		return // a quotation, in which nothing is an alternative
	}
	parts := splitAlternatives(text)
	last := len(parts) - 1
	if last < 1 {
		return
	}
	inner, starts, ends := make([]string, len(parts)), false, false
	for i, part := range parts {
		withoutStart, start := strings.CutPrefix(part, "^")
		withoutEnd, end := strings.CutSuffix(withoutStart, "$")
		if end = end && !strings.HasSuffix(withoutEnd, `\`); !end {
			withoutEnd = withoutStart
		}
		if start && i > 0 || end && i < last || withoutEnd == "" {
			return
		}
		starts, ends, inner[i] = starts || start, ends || end, withoutEnd
	}
	same := len(slices.Compact(slices.Clone(inner))) == 1 // the same text at the start or at the end
	whole := "(" + strings.Join(inner, "|") + ")"
	switch {
	case same || !starts && !ends:
	case starts && ends:
		l.hint(l.node, "^ belongs to the first alternative only, and $ to the last one; write ^%.128s$ if they are meant for all, else set each alternative in parentheses", whole)
	case starts:
		l.hint(l.node, "^ belongs to the first alternative only; write ^%.128s if it is meant for all, else set each alternative in parentheses", whole)
	default:
		l.hint(l.node, "$ belongs to the last alternative only; write %.128s$ if it is meant for all, else set each alternative in parentheses", whole)
	}
}

// splitAlternatives splits an expression at each | that is in no parentheses and no brackets.
func splitAlternatives(source string) []string {
	var parts []string
	depth, start, class := 0, 0, false
	for i := 0; i < len(source); i++ {
		switch c := source[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
			if i+1 < len(source) && source[i+1] == '^' {
				i++
			}
			if i+1 < len(source) && source[i+1] == ']' {
				i++
			}
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '|' && depth == 0:
			parts, start = append(parts, source[start:i]), i+1
		}
	}
	return append(parts, source[start:])
}
