package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// parse makes nodes of the text and returns the one document's root, or nil when there is none to go on with.
func (r *reader) parse(text []byte) *yaml.Node {
	if len(text) > MaxBytes {
		r.add(nil, "", "the file is larger than %d bytes", MaxBytes)
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) || err == nil && document.Content[0].ShortTag() == "!!null" {
		r.add(nil, "", "the file is empty")
		return nil
	}
	if err == nil {
		err = decoder.Decode(&second)
	}
	switch {
	case err == nil:
		r.add(&second, "", "a second document begins here; one file holds one document")
		return nil
	case !errors.Is(err, io.EOF):
		r.notYAML(err)
		return nil
	case !r.withoutAliases(&document):
		return nil
	}
	return document.Content[0]
}

// notYAML puts the line that the error of the YAML package names, if any, where the lines of mistakes stand.
func (r *reader) notYAML(err error) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	at := new(yaml.Node)
	if n, _ := fmt.Sscanf(msg, "line %d: ", &at.Line); n == 1 {
		_, msg, _ = strings.Cut(msg, ": ")
	}
	r.add(at, "", "not valid YAML: %s", msg)
}

// withoutAliases refuses anchors and aliases, by which a small text can stand for a huge table.
func (r *reader) withoutAliases(node *yaml.Node) bool {
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		r.add(node, "", "anchors and aliases are not allowed: write it out")
		return false
	}
	for _, child := range node.Content {
		if !r.withoutAliases(child) {
			return false
		}
	}
	return true
}

// A reader makes a Table of nodes.
type reader struct {
	reporter
	at string // what is being read, for messages
}

func (r *reader) wrong(node *yaml.Node, format string, args ...any) {
	r.add(node, r.at, format, args...)
}

// fields calls the function of each field of a mapping, and tells of unknown, double and missing ones.
func (r *reader) fields(node *yaml.Node, what string, required []string, known map[string]func(*yaml.Node)) {
	if node.Kind != yaml.MappingNode {
		r.wrong(node, "%s must be a mapping of fields", what)
		return
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		read, ok := known[key.Value]
		switch {
		case !ok:
			names := slices.Sorted(maps.Keys(known))
			r.wrong(key, "unknown field %q%s; %s has only %s", key.Value, r.didYouMean(key.Value, names), what, strings.Join(names, ", "))
		case seen[key.Value]:
			r.wrong(key, "field %q stands here twice", key.Value)
		default:
			read(value)
		}
		seen[key.Value] = true
	}
	for _, name := range required {
		if !seen[name] {
			r.wrong(node, "%s lacks the field %q", what, name)
		}
	}
}

// each calls read for each entry of a list.
func (r *reader) each(node *yaml.Node, what string, read func(i int, entry *yaml.Node)) {
	if node.Kind != yaml.SequenceNode {
		r.wrong(node, "%s must be a list", what)
		return
	}
	for i, entry := range node.Content {
		read(i, entry)
	}
}

// text reads a string; it is false where there is none, which has then been told.
func (r *reader) text(node *yaml.Node, what string) (string, bool) {
	text, err := parseText(node)
	if err != nil {
		r.wrong(node, "%s %s", what, err)
	}
	return text, err == nil
}

func (r *reader) textInto(into *string, what string) func(*yaml.Node) {
	return func(node *yaml.Node) { *into, _ = r.text(node, what) }
}

// literally reads a field that has one possible value.
func (r *reader) literally(what, want string) func(*yaml.Node) {
	return func(node *yaml.Node) {
		if node.Kind != yaml.ScalarNode || node.Value != want {
			r.wrong(node, "%s must be %s", what, want)
		}
	}
}

func (r *reader) globs(node *yaml.Node, what string) []string {
	globs := []string{}
	r.each(node, what, func(_ int, entry *yaml.Node) {
		globs = append(globs, r.glob(entry, what))
	})
	return globs
}

// glob reads one shell glob.
func (r *reader) glob(node *yaml.Node, what string) string {
	text, _ := r.text(node, what)
	glob, err := ParseGlob(text)
	if err != nil {
		r.wrong(node, "%s: %q is not a shell glob", what, text)
	}
	return glob
}

// didYouMean is that of a mistake that will be told of.
func (r *reporter) didYouMean(word string, known []string) string {
	if r.full() {
		return ""
	}
	return suggest.DidYouMean(word, known)
}
