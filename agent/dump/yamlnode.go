package dump

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"gopkg.in/yaml.v3"
)

// A yamlWriter writes a node of YAML as the JSON that kubectl makes of it, that is, by the words of YAML 1.1: yes is true,
// 0x10 is 16, and a date is a string. It differs in one thing: a key that stands twice is an error, as in JSON.
type yamlWriter struct {
	json  []byte
	start int // of the item in json
	depth int
	steps int // fields that merges have given so far

	breaks lineBreaks

	// Of items, where it is not nil, element is called before each one is written.
	items   *yaml.Node
	element func(json []byte, item *yaml.Node)
}

// appendYAML appends the JSON of a node. What aliases blow up beyond the size of an item is an error.
func appendYAML(to []byte, n *yaml.Node) ([]byte, error) {
	w := yamlWriter{json: to, start: len(to)}
	err := w.value(n)
	return w.json, err
}

func (w *yamlWriter) value(n *yaml.Node) error {
	if len(w.json)-w.start > maxItem {
		return nodeErrorf(n, "%w", errTooLarge)
	}
	if w.depth > maxDepth {
		return nodeErrorf(n, "nested deeper than %d levels", maxDepth)
	}
	w.depth++
	defer func() { w.depth-- }()
	w.json = w.breaks.to(w.json, n.Line)
	switch n.Kind {
	case yaml.DocumentNode:
		return w.value(n.Content[0])
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
	return w.scalar(n)
}

// members writes the keys of a mapping and their values; behind others where there are some already.
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

// merged are the keys of a mapping with those that it merges (<<) in their place: what stands later counts.
func (w *yamlWriter) merged(n *yaml.Node, depth int) ([]yamlField, error) {
	if depth > maxDepth {
		return nil, nodeErrorf(n, "nested deeper than %d levels", maxDepth)
	}
	fields := make([]yamlField, 0, len(n.Content)/2)
	at := make(map[string]int, len(n.Content)/2)
	put := func(f yamlField) error {
		i, known := at[f.key]
		if !known {
			at[f.key] = len(fields)
			fields = append(fields, f)
			if len(fields) > maxItem/4 { // each takes as much at the least
				return nodeErrorf(n, "%w", errTooLarge)
			}
			return nil
		}
		fields[i] = f
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		if isMerge(name) {
			from, err := mergeSources(value)
			if err != nil {
				return nil, err
			}
			for _, source := range from {
				inner, err := w.merged(source, depth+1)
				if err != nil {
					return nil, err
				}
				for _, f := range inner {
					if w.steps++; w.steps > maxItem/4 {
						return nil, nodeErrorf(n, "%w", errTooLarge)
					}
					f.own = false
					if err := put(f); err != nil {
						return nil, err
					}
				}
			}
			continue
		}
		key, err := keyOf(name)
		if err != nil {
			return nil, err
		}
		if j, known := at[key]; known && fields[j].own {
			return nil, nodeErrorf(name, "duplicate key %s", clip(key))
		}
		if err := put(yamlField{key, name.Line, value, true}); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

func isMerge(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Value == "<<" && (n.Tag == "!!merge" || n.Style == 0)
}

// mergeSources are the mappings that a merge takes in, the one that counts most last.
func mergeSources(n *yaml.Node) ([]*yaml.Node, error) {
	var from []*yaml.Node
	switch m := resolved(n); m.Kind {
	case yaml.MappingNode:
		return []*yaml.Node{m}, nil
	case yaml.SequenceNode:
		for i := range m.Content {
			of := resolved(m.Content[len(m.Content)-1-i])
			if of.Kind != yaml.MappingNode {
				return nil, nodeErrorf(n, "a merge of what is no mapping")
			}
			from = append(from, of)
		}
		return from, nil
	}
	return nil, nodeErrorf(n, "a merge of what is no mapping")
}

func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// keyOf is a key as JSON has it.
func keyOf(n *yaml.Node) (string, error) {
	n = resolved(n)
	if n.Kind != yaml.ScalarNode {
		return "", nodeErrorf(n, "a key that is no string")
	}
	value, err := scalarOf(n)
	if err != nil {
		return "", err
	}
	switch v := value.(type) {
	case string:
		return v, nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
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
	return "", nodeErrorf(n, "the key %s is no string", clip(n.Value))
}

func (w *yamlWriter) scalar(n *yaml.Node) error {
	value, err := scalarOf(n)
	if err != nil {
		return err
	}
	if w.json, err = appendValue(w.json, value); err != nil {
		return nodeErrorf(n, "%s is a number that JSON does not have", clip(n.Value))
	}
	return nil
}

// appendValue appends the value of a scalar as JSON. The error is that of a number that JSON does not have.
func appendValue(to []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case nil:
		return append(to, "null"...), nil
	case string:
		return appendQuoted(to, v), nil
	case bool:
		return strconv.AppendBool(to, v), nil
	case int64:
		return strconv.AppendInt(to, v, 10), nil
	}
	b, err := json.Marshal(value)
	return append(to, b...), err
}

// scalarOf is the value of a scalar: a string, bool, int64, uint64, float64 or nil.
func scalarOf(n *yaml.Node) (any, error) {
	tag := ""
	if n.Style&yaml.TaggedStyle != 0 {
		tag = n.Tag
	} else if n.Style != 0 || n.Tag == "!" {
		return n.Value, nil // quoted, or a block
	}
	value, is := plainScalar(n.Value, tag)
	switch tag {
	case "", is:
	case "!!str":
		return n.Value, nil
	case "!!binary":
		b, err := base64.StdEncoding.DecodeString(n.Value)
		if err != nil {
			return nil, nodeErrorf(n, "!!binary that is no base64")
		}
		return string(b), nil
	case "!!float":
		if v, ok := value.(int64); ok {
			return float64(v), nil
		}
		return nil, nodeErrorf(n, "%s is no %s", clip(n.Value), tag)
	case "!!bool", "!!int", "!!null", "!!timestamp":
		return nil, nodeErrorf(n, "%s is no %s", clip(n.Value), tag)
	default:
		return n.Value, nil // a tag that means nothing here
	}
	return value, nil
}

// words are the plain scalars of YAML 1.1 that are no strings.
var words = func() map[string]any {
	m := map[string]any{"": nil, "~": nil, "null": nil, "Null": nil, "NULL": nil}
	for of, list := range map[any]string{
		true: "y Y yes Yes YES true True TRUE on On ON", false: "n N no No NO false False FALSE off Off OFF",
		math.Inf(1): ".inf .Inf .INF +.inf +.Inf +.INF", math.Inf(-1): "-.inf -.Inf -.INF",
	} {
		for _, word := range strings.Fields(list) {
			m[word] = of
		}
	}
	for _, word := range []string{".nan", ".NaN", ".NAN"} {
		m[word] = math.NaN()
	}
	return m
}()

// isFloat says that a scalar is a decimal number: digits with a point among them, and perhaps an exponent.
func isFloat(s string) bool {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		s = s[1:]
	}
	whole := strings.TrimLeft(s, "0123456789")
	fraction, point := strings.CutPrefix(whole, ".")
	rest := whole
	if point {
		rest = strings.TrimLeft(fraction, "0123456789")
	}
	if len(whole) == len(s) && len(rest) == len(fraction) { // no digit before the point, and none behind it
		return false
	}
	if rest == "" {
		return true
	}
	if rest[0] != 'e' && rest[0] != 'E' {
		return false
	}
	exponent := rest[1:]
	if exponent != "" && (exponent[0] == '-' || exponent[0] == '+') {
		exponent = exponent[1:]
	}
	return exponent != "" && strings.Trim(exponent, "0123456789") == ""
}

// isText says that a scalar without quotes is beyond question a string. Most are, and this is quicker than plainScalar.
func isText(s string) bool {
	if s == "" {
		return false
	}
	switch c := s[0]; {
	case c >= '0' && c <= '9', c == '+', c == '-', c == '.':
		if len(s) <= maxWord {
			break
		}
		points := 0
		for i := range len(s) {
			if s[i] == '.' {
				points++
			}
			if !isNumeral[s[i]] || points > 1 {
				return true
			}
		}
		return false
	case strings.IndexByte("yYnNtTfFoO~", c) >= 0:
		if len(s) > maxWord {
			return true
		}
	default:
		return true
	}
	value, _ := plainScalar(s, "")
	_, is := value.(string)
	return is
}

// maxWord is the length of the longest word that is not a string.
const maxWord = len("false")

// isNumeral are the bytes that numbers are written with.
var isNumeral = func() (is [256]bool) {
	for _, c := range []byte("0123456789abcdefABCDEFxXoO_+-.") {
		is[c] = true
	}
	return is
}()

// plainScalar is what a scalar without quotes means, and the tag of that.
func plainScalar(s, tag string) (value any, is string) {
	first := byte(0)
	if s != "" {
		first = s[0]
	}
	digit := first >= '0' && first <= '9'
	if !digit && strings.IndexByte("+-.yYnNtTfFoO~", first) < 0 && s != "" {
		return s, "!!str"
	}
	if word, ok := words[s]; ok {
		switch word.(type) {
		case nil:
			return nil, "!!null"
		case bool:
			return word, "!!bool"
		}
		return word, "!!float"
	}
	switch {
	case first == '.':
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return f, "!!float"
		}
	case digit || first == '+' || first == '-':
		if (tag == "" || tag == "!!timestamp") && isTimestamp(s) {
			return s, "!!timestamp"
		}
		if number, is := plainNumber(strings.ReplaceAll(s, "_", "")); is != "" {
			return number, is
		}
	}
	return s, "!!str"
}

func plainNumber(s string) (value any, is string) {
	if i, err := strconv.ParseInt(s, 0, 64); err == nil {
		return i, "!!int"
	}
	if u, err := strconv.ParseUint(s, 0, 64); err == nil {
		return u, "!!int"
	}
	if isFloat(s) {
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return f, "!!float"
		}
	}
	return nil, ""
}

// isTimestamp says that a scalar is a time of YAML, which kubectl takes for a string.
func isTimestamp(s string) bool {
	if len(s) < 5 || s[4] != '-' || strings.Trim(s[:4], "0123456789") != "" {
		return false
	}
	for _, format := range []string{"2006-1-2T15:4:5.999999999Z07:00", "2006-1-2t15:4:5.999999999Z07:00", "2006-1-2 15:4:5.999999999", "2006-1-2"} {
		if _, err := time.Parse(format, s); err == nil {
			return true
		}
	}
	return false
}

// appendQuoted appends a string as JSON.
func appendQuoted(to []byte, s string) []byte {
	if !utf8.ValidString(s) {
		return append(to, quote(s)...)
	}
	to = append(to, '"')
	return append(appendEscaped(to, unsafe.Slice(unsafe.StringData(s), len(s))), '"')
}

// appendEscaped appends what stands between the quotes of a string of valid UTF-8.
func appendEscaped(to, s []byte) []byte {
	const digits = "0123456789abcdef"
	done := 0
	for i, c := range s {
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

// A nodeError is a fault at a line of a piece of YAML.
type nodeError struct {
	line int // 1-based
	err  error
}

func (e *nodeError) Error() string { return e.err.Error() }
func (e *nodeError) Unwrap() error { return e.err }

func nodeErrorf(n *yaml.Node, format string, args ...any) error {
	return &nodeError{n.Line, fmt.Errorf(format, args...)}
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(.*)$`)

var errOddBreak = errors.New("another document behind a line break that is a CR, NEL or U+2028 alone: end each line with LF")

// parseYAML reads one piece of YAML, of one document or none. It returns nil where there is nothing in it.
func parseYAML(text []byte) (root *yaml.Node, err error) {
	// The parser has panicked on hostile text before.
	defer func() {
		if v := recover(); v != nil {
			err = &nodeError{1, fmt.Errorf("invalid YAML: %v", v)}
		}
	}()
	if at := directive.FindIndex(text); at != nil {
		return nil, &nodeError{1 + bytes.Count(text[:at[1]], []byte{'\n'}), errors.New("invalid YAML: a directive (%), which kubectl does not read: remove the line")}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, invalidYAML(err)
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, &nodeError{oddBreak(text), errOddBreak}
	case !errors.Is(err, io.EOF):
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
			return nil, nil // what is null is nothing
		}
	}
	return root, nil
}

// invalidYAML is a fault of the parser, which begins with the line.
func invalidYAML(err error) error {
	line := 1
	first, _, _ := strings.Cut(err.Error(), "\n")
	parts := yamlLine.FindStringSubmatch(first)
	if n, err := strconv.Atoi(parts[1]); err == nil {
		line = n
	}
	return &nodeError{line, errors.New("invalid YAML: " + parts[2])}
}

// directive is a line that begins with % before anything else of a document. Kubectl takes the marker behind it for the end.
var directive = regexp.MustCompile(`^\x{FEFF}?(?:[ \t]*(?:#[^\n]*)?\r?\n)*%`)

// unspecific is the tag !, which makes a string of any scalar, where a node begins. The parser of record keeps nothing of it.
var unspecific = regexp.MustCompile(`^(?:&\S+[ \t]+)?!(?:[\s,\]}]|$)`)

var mayBeUnspecific = regexp.MustCompile(`(?:^|[\s,\[{])!(?:[\s,\]}]|$)`)

// tagUnspecific gives the nodes that have the tag ! in a text what the parser has lost.
func tagUnspecific(n *yaml.Node, lines []string) {
	for _, inner := range n.Content {
		tagUnspecific(inner, lines)
	}
	if n.Kind != yaml.ScalarNode || n.Style != 0 || n.Line > len(lines) {
		return
	}
	line := lines[n.Line-1]
	for range n.Column - 1 {
		_, size := utf8.DecodeRuneInString(line)
		line = line[size:]
	}
	if unspecific.MatchString(line) {
		n.Tag = "!"
	}
}

// anyBreak are the line breaks that the parser counts.
var anyBreak = regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")

var oddBreaks = regexp.MustCompile("\r[^\n]|\u0085|\u2028|\u2029")

// oddBreak is the line, by LF, of the first break that YAML takes for one and that does not end in LF.
func oddBreak(text []byte) int {
	at := oddBreaks.FindIndex(text)
	if at == nil {
		return 1
	}
	return 1 + bytes.Count(text[:at[0]], []byte{'\n'})
}
