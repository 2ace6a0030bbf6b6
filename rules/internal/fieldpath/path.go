package fieldpath

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The bounds of a path. No path in a Pod comes close.
const (
	maxPathBytes = 256
	maxPathSteps = 16
	// gjson parses indexes as 64-bit integers that overflow silently: with more digits an index could select another element.
	maxIndexDigits = 18
)

// A Path is a parsed path: where a predicate looks, or where the subjects of a check are.
//
// The grammar is a subset of gjson's: keys joined by dots (a dot inside a key is written \.), array indexes, "#" for every
// element of an array (for its length at the end of a path), and #(key=="literal") for the first element with that value, with
// another # behind it for all such elements. Modifiers, multipaths and wildcards are refused because a hostile pod can make them
// arbitrarily expensive. Runs of keys are left to gjson; arrays are walked by the engine, so that the text of a pod never reaches
// gjson's query parser.
type Path struct {
	Source string
	Root   bool // the path began with "$.": it starts at the pod instead of the subject
	Steps  []Step
}

// Kind is the kind of a Step.
type Kind uint8

// The kinds of steps.
const (
	Keys   Kind = iota // keys and indexes: one gjson path
	Each               // every element of an array
	Length             // the length of an array
	First              // the first element with Key == Literal
	All                // all elements with Key == Literal
)

// A Step is one step of a path.
type Step struct {
	Kind    Kind
	Keys    string // Keys: the gjson path
	Key     string // First, All
	Literal string // First, All

	// Of a Keys step: the names of the first two keys, and the gjson paths of what follows each of them.
	FirstKey, SecondKey     string
	AfterFirst, AfterSecond string
}

// Parse parses a path. Its errors continue a sentence that begins with the path.
func Parse(source string) (*Path, error) {
	p := &Path{Source: source}
	if len(source) > maxPathBytes {
		return nil, fmt.Errorf("is %d bytes long; at most %d are allowed", len(source), maxPathBytes)
	}
	var rest string
	if rest, p.Root = strings.CutPrefix(source, "$."); rest == "" {
		return nil, errors.New("is empty")
	}
	for count := 1; ; count++ {
		if count > maxPathSteps {
			return nil, fmt.Errorf("has more than %d steps", maxPathSteps)
		}
		var err error
		if strings.HasPrefix(rest, "#") {
			rest, err = p.parseArrayStep(rest)
		} else {
			rest, err = p.parseKey(rest)
		}
		if err != nil {
			return nil, err
		}
		if rest == "" {
			for i := range p.Steps {
				p.Steps[i].splitFirst()
			}
			return p, nil
		}
		if rest[0] != '.' {
			return nil, fmt.Errorf("has %q instead of a dot", rest[:1])
		}
		rest = rest[1:]
	}
}

// Self is the path of a predicate without one: the subject itself.
var Self = new(Path)

// IsLength reports whether the path leads to the length of an array, which is not a value of the pod.
func (p *Path) IsLength() bool {
	return len(p.Steps) > 0 && p.Steps[len(p.Steps)-1].Kind == Length
}

// MayHaveSeveral reports whether the path may lead to several values.
func (p *Path) MayHaveSeveral() bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == Each || s.Kind == All })
}

// parseKey parses one key at the start of rest and appends it to the run of keys that ends the path so far.
func (p *Path) parseKey(rest string) (string, error) {
	end := 0
scan:
	for end < len(rest) {
		c := rest[end]
		switch {
		case c == '.':
			break scan
		case c == '\\':
			if end+1 == len(rest) || rest[end+1] != '.' {
				return "", errors.New("has a backslash that is not followed by a dot")
			}
			end += 2
		case isKeyByte(c):
			end++
		default:
			r, _ := utf8.DecodeRuneInString(rest[end:])
			return "", fmt.Errorf("has the invalid character %q: a key may contain letters, digits, _ - / and \\.; modifiers, wildcards and multipaths are not allowed", string(r))
		}
	}
	key := rest[:end]
	if key == "" {
		return "", errors.New("has an empty key")
	}
	if IsIndex(key) {
		if len(key) > 1 && key[0] == '0' {
			return "", fmt.Errorf("has the index %s: an index must not have leading zeros", key)
		}
		if len(key) > maxIndexDigits {
			return "", fmt.Errorf("has the index %s: an index may have at most %d digits", key, maxIndexDigits)
		}
	}
	if n := len(p.Steps); n > 0 && p.Steps[n-1].Kind == Keys {
		p.Steps[n-1].Keys += "." + key
	} else {
		p.Steps = append(p.Steps, Step{Kind: Keys, Keys: key})
	}
	return rest[end:], nil
}

// parseArrayStep parses "#", #(key=="literal") or #(key=="literal")# at the start of rest.
func (p *Path) parseArrayStep(rest string) (string, error) {
	after, isQuery := strings.CutPrefix(rest, "#(")
	if !isQuery {
		after = rest[1:]
		kind := Each
		if after == "" {
			kind = Length
		}
		p.Steps = append(p.Steps, Step{Kind: kind})
		return after, nil
	}
	s := Step{Kind: First}
	if slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Kind == First || s.Kind == All }) {
		return "", errors.New("has more than one query")
	}
	var ok bool
	if s.Key, after, ok = strings.Cut(after, `=="`); !ok {
		return "", errors.New(`has a query that is not of the form #(key=="literal")`)
	}
	if s.Key == "" || strings.IndexFunc(s.Key, func(r rune) bool { return r > 127 || !isKeyByte(byte(r)) }) >= 0 {
		return "", fmt.Errorf("has a query on %q; the key of a query may contain letters, digits, _ - and /", s.Key)
	}
	if s.Literal, after, ok = strings.Cut(after, `")`); !ok {
		return "", errors.New(`has a query that is not of the form #(key=="literal")`)
	}
	if strings.ContainsAny(s.Literal, "\"\\") {
		return "", errors.New("has a query whose literal contains a quote or a backslash")
	}
	if rest, all := strings.CutPrefix(after, "#"); all {
		s.Kind, after = All, rest
	}
	p.Steps = append(p.Steps, s)
	return after, nil
}

func isKeyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '/'
}

// IsIndex reports whether a key consists of digits.
func IsIndex(key string) bool { return strings.Trim(key, "0123456789") == "" }

// SplitKeys splits a run of keys. A dot inside a key keeps its backslash; see KeyName.
func SplitKeys(keys string) []string {
	var parts []string
	start := 0
	for i := 0; i < len(keys); i++ {
		switch keys[i] {
		case '\\':
			i++
		case '.':
			parts, start = append(parts, keys[start:i]), i+1
		}
	}
	return append(parts, keys[start:])
}

// KeyName is the name of the field that a key selects.
func KeyName(key string) string { return strings.ReplaceAll(key, `\.`, ".") }

// splitFirst sets the fields of a Keys step that the engine needs to look up the first two keys by itself.
func (s *Step) splitFirst() {
	if s.Kind != Keys {
		return
	}
	keys := SplitKeys(s.Keys)
	s.FirstKey = KeyName(keys[0])
	if len(keys) > 1 {
		s.SecondKey = KeyName(keys[1])
		s.AfterFirst = strings.Join(keys[1:], ".")
		s.AfterSecond = strings.Join(keys[2:], ".")
	}
}

// String is the step as it is written in a path.
func (s *Step) String() string {
	switch s.Kind {
	case Keys:
		return s.Keys
	case First:
		return fmt.Sprintf(`#(%s=="%s")`, s.Key, s.Literal)
	case All:
		return fmt.Sprintf(`#(%s=="%s")#`, s.Key, s.Literal)
	}
	return "#"
}

// Render writes steps as the path of one value: keys, and an index for each step over an array.
func Render(steps []Step, indexes []int) string {
	var parts []string
	for i := range steps {
		if s := &steps[i]; s.Kind == Keys {
			parts = append(parts, s.Keys)
		} else {
			parts = append(parts, strconv.Itoa(indexes[0]))
			indexes = indexes[1:]
		}
	}
	return strings.Join(parts, ".")
}
