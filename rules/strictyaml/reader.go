package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// MaxBytes is the maximum size of a file.
const MaxBytes = 1 << 20

// Parse returns the root node of the one document in the text, or nil after adding the error that prevents it.
func (r *Reader) Parse(text []byte) *yaml.Node {
	if len(text) > MaxBytes {
		r.ErrorAt(nil, "", "the file is larger than %d bytes", MaxBytes)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) || err == nil && document.Content[0].ShortTag() == "!!null" {
		r.ErrorAt(nil, "", "the file is empty")
		return nil
	}
	if err == nil {
		err = decoder.Decode(&second)
	}
	switch {
	case err == nil:
		r.ErrorAt(&second, "", "the file must hold one YAML document; a second one starts here")
		return nil
	case !errors.Is(err, io.EOF):
		r.syntaxError(err, text)
		return nil
	case r.refuseAliases(&document):
		return nil
	}
	return document.Content[0]
}

// unquotedBrace is a text that starts with a word in braces, which YAML takes for a mapping.
var unquotedBrace = regexp.MustCompile(`(?m)^[- ]*[A-Za-z]+: +\{[A-Za-z]+\} *[^ ,}\]#\n]`)

// syntaxError moves the line number, which the YAML package writes into its message, to where other errors have it. The package reports
// some errors lines before their cause, so the most likely cause in a table, a message that starts with a placeholder, is searched for.
func (r *Reader) syntaxError(err error, text []byte) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	at := new(yaml.Node)
	if n, _ := fmt.Sscanf(msg, "line %d: ", &at.Line); n == 1 {
		_, msg, _ = strings.Cut(msg, ": ")
	}
	if found := unquotedBrace.FindIndex(text); found != nil {
		at.Line = 1 + bytes.Count(text[:found[1]], []byte("\n"))
		msg += "; put a text that starts with { into quotes"
	}
	r.ErrorAt(at, "", "not valid YAML: %s", msg)
}

// refuseAliases adds an error for the first anchor or alias: with them a small text can expand to a huge one.
func (r *Reader) refuseAliases(node *yaml.Node) (found bool) {
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		r.ErrorAt(node, "", "anchors and aliases are not allowed; repeat the value instead")
		return true
	}
	return slices.ContainsFunc(node.Content, r.refuseAliases)
}

// Fields calls the function of each field of a mapping, and adds errors for unknown, duplicate and missing fields.
func (r *Reader) Fields(node *yaml.Node, what string, required []string, known map[string]func(*yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		r.Errorf(node, "%s must be a mapping", what)
		return
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		read, ok := known[key.Value]
		switch {
		case !ok:
			names := slices.Sorted(maps.Keys(known))
			r.Errorf(key, "unknown field %q in %s%s; known fields: %s", key.Value, what, r.fieldHint(key.Value, names), strings.Join(names, ", "))
		case seen[key.Value]:
			r.Errorf(key, "duplicate field %q", key.Value)
		case r.removed[value] && !slices.Contains(required, key.Value):
		default:
			read(value)
		}
		seen[key.Value] = true
	}
	for _, name := range required {
		if !seen[name] {
			r.Errorf(node, "missing field %q in %s", name, what)
		}
	}
}

// fieldHint is the hint about an unknown field, without the work when no further error is kept.
func (r *Reader) fieldHint(field string, known []string) string {
	if r.FieldHint == nil || r.IsFull() {
		return r.DidYouMean(field, known)
	}
	return r.FieldHint(field, known)
}

// Each calls read for each entry of a list.
func (r *Reader) Each(node *yaml.Node, what string, read func(i int, entry *yaml.Node)) {
	if node.Kind != yaml.SequenceNode {
		r.Errorf(node, "%s must be a list", what)
		return
	}
	for i, entry := range node.Content {
		read(i, entry)
	}
}

// Text reads a string. After adding an error it returns false.
func (r *Reader) Text(node *yaml.Node, what string) (string, bool) {
	text, err := ParseText(node)
	if err != nil {
		r.Errorf(node, "%s %s", what, err)
	}
	return text, err == nil
}

// NonEmptyText reads a string of at least one byte.
func (r *Reader) NonEmptyText(node *yaml.Node, what string) string {
	text, ok := r.Text(node, what)
	if ok && text == "" {
		r.Errorf(node, "%s must not be empty", what)
	}
	return text
}

// TextInto returns a function for Fields that reads a string.
func (r *Reader) TextInto(into *string, what string) func(*yaml.Node) {
	return func(node *yaml.Node) { *into, _ = r.Text(node, what) }
}

// Constant returns a function for Fields that accepts one value only.
func (r *Reader) Constant(what, want string) func(*yaml.Node) {
	return func(node *yaml.Node) {
		if node.Kind != yaml.ScalarNode || node.Value != want {
			r.Errorf(node, "%s must be %s", what, want)
		}
	}
}

// Time reads an RFC 3339 date, which means its first moment in UTC, or an RFC 3339 time.
func (r *Reader) Time(node *yaml.Node, what string) time.Time {
	if node.Kind == yaml.ScalarNode {
		for _, layout := range []string{time.DateOnly, time.RFC3339} {
			if at, err := time.Parse(layout, node.Value); err == nil {
				return at
			}
		}
	}
	r.Errorf(node, "%s must be a date such as 2030-12-31 or a time such as 2030-12-31T18:00:00Z, got %s", what, Describe(node))
	return time.Time{}
}

// DidYouMean is suggest.DidYouMean, without the work when no further error is kept.
func (r *Reader) DidYouMean(word string, known []string) string {
	if r.IsFull() {
		return ""
	}
	return suggest.DidYouMean(word, known)
}

// Field returns the value of a field of a mapping; nil where there is none.
func Field(node *yaml.Node, name string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i+1]
		}
	}
	return nil
}

// FieldValue returns the text of a field of a mapping; empty where there is none.
func FieldValue(node *yaml.Node, name string) string {
	if value := Field(node, name); value != nil {
		return value.Value
	}
	return ""
}

// Entries returns the entries of a list. Any other value counts as a list of one, and nil as an empty list.
func Entries(node *yaml.Node) []*yaml.Node {
	switch {
	case node == nil:
		return nil
	case node.Kind == yaml.SequenceNode:
		return node.Content
	}
	return []*yaml.Node{node}
}
