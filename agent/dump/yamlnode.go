package dump

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// yamlWriter writes YAML nodes as the JSON that kubectl makes of them, by the rules of YAML 1.1: yes is true, 0x10 is 16 and a
// date is a string. Unlike kubectl it rejects duplicate keys.
type yamlWriter struct {
	json  []byte
	start int // of the item in json
	depth int
	steps int // fields that merges have added, to bound their work

	breaks lineBreaks

	// element, if not nil, is called before each element of items is written.
	items   *yaml.Node
	element func(json []byte, item *yaml.Node)
}

// value writes a node. JSON that aliases expand beyond maxItem is an error.
func (w *yamlWriter) value(n *yaml.Node) error {
	if len(w.json)-w.start > maxItem {
		return nodeErrorf(n, "%w", errTooLarge)
	}
	if w.depth > maxDepth {
		return nodeErrorf(n, "%w", errTooDeep)
	}
	w.depth++
	defer func() { w.depth-- }()
	w.json = w.breaks.to(w.json, n.Line)
	switch n.Kind {
	case yaml.AliasNode:
		return w.value(n.Alias)
	case yaml.SequenceNode:
		w.json = append(w.json, '[')
		for i, element := range n.Content {
			if i > 0 {
				w.json = append(w.json, ',')
			}
			if n == w.items {
				w.element(w.json, element)
			}
			if err := w.value(element); err != nil {
				return err
			}
		}
		w.json = append(w.json, ']')
		return nil
	case yaml.MappingNode:
		w.json = append(w.json, '{')
		if err := w.members(n, false); err != nil {
			return err
		}
		w.json = append(w.json, '}')
		return nil
	}
	value, err := scalarOf(n)
	if err != nil {
		return err
	}
	if w.json, err = appendValue(w.json, value); err != nil {
		return nodeErrorf(n, "JSON has no number %s", clip(n.Value))
	}
	return nil
}

// members writes the members of a mapping, after a comma if there are members before them.
func (w *yamlWriter) members(n *yaml.Node, more bool) error {
	fields, err := w.merged(n, 0)
	if err != nil {
		return err
	}
	for _, f := range fields {
		if more {
			w.json = append(w.json, ',')
		}
		more = true
		w.json = append(appendQuoted(w.breaks.to(w.json, f.line), f.key), ':')
		if err := w.value(f.value); err != nil {
			return err
		}
	}
	return nil
}

type yamlField struct {
	key   string
	line  int
	value *yaml.Node
	own   bool // not from a merge
}

// merged returns the fields of a mapping with those of its merge keys (<<) inserted. A later field replaces an earlier one.
func (w *yamlWriter) merged(n *yaml.Node, depth int) ([]yamlField, error) {
	if depth > maxDepth {
		return nil, nodeErrorf(n, "%w", errTooDeep)
	}
	fields := make([]yamlField, 0, len(n.Content)/2)
	at := make(map[string]int, len(n.Content)/2)
	put := func(f yamlField) {
		if i, known := at[f.key]; known {
			fields[i] = f
			return
		}
		at[f.key] = len(fields)
		fields = append(fields, f)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if !isMerge(name) {
			key, err := keyOf(name)
			if err != nil {
				return nil, err
			}
			if j, known := at[key]; known && fields[j].own {
				return nil, nodeErrorf(name, "duplicate key %s", clip(key))
			}
			put(yamlField{key, name.Line, value, true})
			continue
		}
		sources, err := mergeSources(value)
		if err != nil {
			return nil, err
		}
		for _, source := range sources {
			inner, err := w.merged(source, depth+1)
			if err != nil {
				return nil, err
			}
			if w.steps += len(inner) + 1; w.steps > maxItem/4 { // a field takes 4 bytes or more
				return nil, nodeErrorf(n, "%w", errTooLarge)
			}
			for _, f := range inner {
				f.own = false
				put(f)
			}
		}
	}
	return fields, nil
}

func isMerge(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "<<" && (n.Tag == "!!merge" || n.Style == 0)
}

// mergeSources returns the mappings that a merge key references, the one with the highest precedence last.
func mergeSources(n *yaml.Node) ([]*yaml.Node, error) {
	sources := []*yaml.Node{n}
	if list := resolved(n); list.Kind == yaml.SequenceNode {
		sources = slices.Clone(list.Content)
		slices.Reverse(sources)
	}
	for i, source := range sources {
		if sources[i] = resolved(source); sources[i].Kind != yaml.MappingNode {
			return nil, nodeErrorf(n, "merge key (<<) must reference a mapping")
		}
	}
	return sources, nil
}

func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// keyOf returns a key as JSON has it.
func keyOf(n *yaml.Node) (string, error) {
	n = resolved(n)
	if n.Kind != yaml.ScalarNode {
		return "", nodeErrorf(n, "a mapping key must be a string")
	}
	value, err := scalarOf(n)
	if err != nil {
		return "", err
	}
	switch v := value.(type) {
	case string:
		return v, nil
	case bool, int, int64:
		return fmt.Sprint(v), nil
	case float64:
		switch {
		case math.IsInf(v, 1):
			return ".inf", nil
		case math.IsInf(v, -1):
			return "-.inf", nil
		case math.IsNaN(v):
			return ".nan", nil
		}
		return strconv.FormatFloat(v, 'g', -1, 32), nil
	}
	return "", nodeErrorf(n, "a mapping key must be a string, got %s", clip(n.Value))
}

// appendValue appends the value of a scalar as JSON. It fails for infinity and NaN.
func appendValue(to []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		return appendQuoted(to, v), nil
	case int64:
		return strconv.AppendInt(to, v, 10), nil
	}
	b, err := json.Marshal(value)
	return append(to, b...), err
}

// scalarOf returns the value of a scalar: a string, bool, int, int64, uint64, float64 or nil.
func scalarOf(n *yaml.Node) (any, error) {
	switch {
	case n.Style&yaml.TaggedStyle != 0:
	case n.Style != 0 || n.Tag == "!": // quoted, or a block
		return n.Value, nil
	default:
		return plainScalar(n.Value), nil
	}
	tag := n.ShortTag()
	if value, ok := words[n.Value].(bool); ok && tag == "!!bool" {
		return value, nil
	}
	value, err := decodeScalar(n.Value, tag)
	if err != nil {
		return nil, nodeErrorf(n, "%s is not a valid %s", clip(n.Value), tag)
	}
	return value, nil
}

// plainScalar returns the value of a scalar without quotes and tag, by the rules of YAML 1.1.
func plainScalar(s string) any {
	if s == "" || s[0] < '0' || s[0] > '9' {
		if word, ok := words[s]; ok {
			return word
		}
	}
	if !mayBeNumber(s) {
		return s
	}
	if i, err := strconv.ParseInt(s, 0, 64); err == nil {
		return i
	}
	value, err := decodeScalar(s, "")
	if err != nil {
		return s
	}
	return value
}

// decodeScalar decodes a scalar with yaml.v3, whose rules for numbers are those of kubectl. A timestamp is a string.
func decodeScalar(s, tag string) (value any, err error) {
	n := yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: s}
	if err := n.Decode(&value); err != nil {
		return nil, err
	}
	if _, ok := value.(time.Time); ok {
		return s, nil
	}
	return value, nil
}

// words are the plain scalars of YAML 1.1 that are booleans, null, infinity or NaN. yaml.v3 reads only true and false as
// booleans.
var words = func() map[string]any {
	m := map[string]any{"": nil}
	for list, value := range map[string]any{
		"~ null Null NULL": nil, "y Y yes Yes YES true True TRUE on On ON": true, "n N no No NO false False FALSE off Off OFF": false,
		".inf .Inf .INF +.inf +.Inf +.INF": math.Inf(1), "-.inf -.Inf -.INF": math.Inf(-1), ".nan .NaN .NAN": math.NaN(),
	} {
		for _, word := range strings.Fields(list) {
			m[word] = value
		}
	}
	return m
}()

// isText reports whether a plain scalar is a string. For nearly all strings it is faster than plainScalar.
func isText(s string) bool {
	const longestWord = len("false")
	if s == "" {
		return false
	}
	switch c := s[0]; {
	case c >= '0' && c <= '9', len(s) > longestWord && (c == '+' || c == '-' || c == '.'):
		if !mayBeNumber(s) {
			return true
		}
	case c == '+', c == '-', c == '.': // may be .inf or .nan
	case len(s) > longestWord || strings.IndexByte("yYnNtTfFoO~", c) < 0:
		return true
	}
	_, is := plainScalar(s).(string)
	return is
}

// mayBeNumber reports whether a scalar may be a number. Dates, quantities and UIDs are not.
func mayBeNumber(s string) bool {
	if strings.IndexByte("0123456789+-.", s[0]) < 0 {
		return false
	}
	if digits := strings.TrimLeft(s, "+-_"); len(digits) > 1 && digits[0] == '0' && strings.IndexByte("xXoObB_", digits[1]) >= 0 {
		return true
	}
	points := 0
	for _, c := range []byte(s) {
		switch {
		case c == '.':
			points++
		case c != 'e' && c != 'E' && c != '+' && c != '-' && c != '_' && (c < '0' || c > '9'):
			return false
		}
	}
	return points <= 1
}

// appendQuoted appends a string as JSON.
func appendQuoted(to []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	to = append(to, '"')
	return append(appendEscaped(to, s), '"')
}

// appendEscaped appends a string of valid UTF-8 without the quotes.
func appendEscaped(to []byte, s string) []byte {
	const digits = "0123456789abcdef"
	done := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		to = append(to, s[done:i]...)
		done = i + 1
		switch c {
		case '"', '\\':
			to = append(to, '\\', c)
		case '\n':
			to = append(to, '\\', 'n')
		case '\t':
			to = append(to, '\\', 't')
		default:
			to = append(to, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	return append(to, s[done:]...)
}

// nodeError is an error at a line of a piece of YAML.
type nodeError struct {
	line int // 1-based
	err  error
}

func (e *nodeError) Error() string { return e.err.Error() }
func (e *nodeError) Unwrap() error { return e.err }

func nodeErrorf(n *yaml.Node, format string, args ...any) error {
	return &nodeError{n.Line, fmt.Errorf(format, args...)}
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)`)

var errLineBreak = errors.New("the line break is CR, NEL or U+2028: end each line with LF")

// parseYAML parses one document of YAML. It returns nil if the document is empty or null.
func parseYAML(text []byte) (root *yaml.Node, err error) {
	// The parser has panicked on hostile input before.
	defer func() {
		if v := recover(); v != nil {
			err = &nodeError{1, fmt.Errorf("invalid YAML: %v", v)}
		}
	}()
	if at := directive.FindIndex(text); at != nil {
		return nil, &nodeError{lineAt(text, at[1]), errors.New("invalid YAML: kubectl does not support directives (%): remove the line")}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, invalidYAML(err)
	}
	if err := decoder.Decode(&second); err == nil { // the caller splits at markers on lines that end with LF
		line := 1
		if at := oddBreaks.FindIndex(text); at != nil {
			line = lineAt(text, at[0])
		}
		return nil, &nodeError{line, errLineBreak}
	} else if !errors.Is(err, io.EOF) {
		return nil, invalidYAML(err)
	}
	if document.Kind == 0 || len(document.Content) == 0 {
		return nil, nil
	}
	root = document.Content[0]
	if mayBeUnspecific.Match(text) {
		tagUnspecific(root, anyBreak.Split(string(text), -1))
	}
	if root.Kind == yaml.ScalarNode {
		if value, err := scalarOf(root); err == nil && value == nil {
			return nil, nil
		}
	}
	return root, nil
}

// lineAt returns the 1-based line of an offset.
func lineAt(text []byte, offset int) int { return 1 + bytes.Count(text[:offset], []byte{'\n'}) }

// invalidYAML converts an error of the parser, whose text begins with the line.
func invalidYAML(err error) error {
	parts := yamlLine.FindStringSubmatch(err.Error())
	line, _ := strconv.Atoi(parts[1])
	return &nodeError{max(line, 1), errors.New("invalid YAML: " + parts[2])}
}

// directive matches a line that begins with % before all else. kubectl takes the marker after it for the end of a document.
var directive = regexp.MustCompile(`^\x{FEFF}?(?:[ \t]*(?:#[^\n]*)?\r?\n)*%`)

// unspecific matches the tag ! at the start of a node. It makes any scalar a string, but yaml.v3 drops it.
var unspecific = regexp.MustCompile(`^(?:&\S+[ \t]+)?!(?:[\s,\]}]|$)`)

var mayBeUnspecific = regexp.MustCompile(`(?:^|[\s,\[{])!(?:[\s,\]}]|$)`)

// tagUnspecific restores the tag ! of nodes.
func tagUnspecific(n *yaml.Node, lines []string) {
	for _, inner := range n.Content {
		tagUnspecific(inner, lines)
	}
	if n.Kind != yaml.ScalarNode || n.Style != 0 || n.Line > len(lines) {
		return
	}
	if line := []rune(lines[n.Line-1]); n.Column <= len(line) && unspecific.MatchString(string(line[n.Column-1:])) {
		n.Tag = "!"
	}
}

// anyBreak matches the line breaks that the parser counts, oddBreaks those of them that are not LF or CRLF.
var (
	anyBreak  = regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")
	oddBreaks = regexp.MustCompile("\r[^\n]|\u0085|\u2028|\u2029")
)
