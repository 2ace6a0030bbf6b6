package rules

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// The bounds of a path. Nothing in a Pod is nearly that deep.
const (
	maxPathBytes = 256
	maxPathSteps = 16
	// gjson counts in 64 bits and wraps: with more digits an index might mean another one.
	maxIndexDigits = 18
)

// A valuePath is a compiled path: where a predicate looks, or where the subjects of a check are.
//
// The grammar is a white list of gjson's: keys joined by dots (a dot inside a key is written \.), array indexes, "#"
// for every element of an array (for its length where it comes last), and #(key=="literal") for the first element
// that has the literal, with another # behind it for all such elements. Modifiers, multipaths and wildcards are
// refused, since a hostile pod can make them arbitrarily dear. Runs of keys are left to gjson; arrays are walked here,
// so that the text of a pod never meets gjson's query engine.
type valuePath struct {
	source string
	root   bool // the path began with "$.": it starts at the pod and not at the subject
	steps  []step
}

type stepKind uint8

const (
	stepKeys   stepKind = iota // keys and indexes, one gjson path
	stepEach                   // every element of an array
	stepLength                 // the length of an array
	stepFirst                  // the first element with key == literal
	stepAll                    // all elements with key == literal
)

type step struct {
	kind    stepKind
	keys    string // stepKeys: the gjson path
	key     string // stepFirst, stepAll: the key asked for
	literal string

	// stepKeys, made by takeApart: the names of the first two keys, and the gjson paths of what is behind each of them.
	first, second             string
	behindFirst, behindSecond string
}

// parsePath compiles a path and says what is wrong with one that is outside the grammar.
func parsePath(source string) (*valuePath, error) {
	p := &valuePath{source: source}
	rest := source
	if len(source) > maxPathBytes {
		return nil, fmt.Errorf("is %d bytes long; %d are allowed", len(source), maxPathBytes)
	}
	if rest, p.root = strings.CutPrefix(source, "$."); rest == "" {
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
			for i := range p.steps {
				if s := &p.steps[i]; s.kind == stepKeys {
					s.takeApart()
				}
			}
			return p, nil
		}
		if rest[0] != '.' {
			return nil, fmt.Errorf("has %q where a dot should be", rest[:1])
		}
		rest = rest[1:]
	}
}

// parseKey takes one key from the front of rest and adds it to the run of keys that ends the path so far.
func (p *valuePath) parseKey(rest string) (string, error) {
	end := 0
scan:
	for end < len(rest) {
		c := rest[end]
		switch {
		case c == '.':
			break scan
		case c == '\\':
			if end+1 == len(rest) || rest[end+1] != '.' {
				return "", errors.New("has a backslash that stands before no dot")
			}
			end += 2
		case isKeyByte(c):
			end++
		default:
			r, _ := utf8.DecodeRuneInString(rest[end:])
			return "", fmt.Errorf("has %q: a key has letters, digits, _ - / and \\. alone; modifiers, wildcards and multipaths are not allowed", string(r))
		}
	}
	key := rest[:end]
	if key == "" {
		return "", errors.New("has an empty key")
	}
	if isIndex(key) {
		if len(key) > 1 && key[0] == '0' {
			return "", fmt.Errorf("has the index %s: an index has no leading zero", key)
		}
		if len(key) > maxIndexDigits {
			return "", fmt.Errorf("has the index %s: an index has at most %d digits", key, maxIndexDigits)
		}
	}
	if n := len(p.steps); n > 0 && p.steps[n-1].kind == stepKeys {
		p.steps[n-1].keys += "." + key
	} else {
		p.steps = append(p.steps, step{kind: stepKeys, keys: key})
	}
	return rest[end:], nil
}

// parseArrayStep takes "#", #(key=="literal") or #(key=="literal")# from the front of rest.
func (p *valuePath) parseArrayStep(rest string) (string, error) {
	after, isQuery := strings.CutPrefix(rest, "#(")
	if !isQuery {
		after = rest[1:]
		kind := stepEach
		if after == "" {
			kind = stepLength
		}
		p.steps = append(p.steps, step{kind: kind})
		return after, nil
	}
	s := step{kind: stepFirst}
	for _, earlier := range p.steps {
		if earlier.kind == stepFirst || earlier.kind == stepAll {
			return "", errors.New("has two queries; one is allowed")
		}
	}
	var ok bool
	if s.key, after, ok = strings.Cut(after, `=="`); !ok {
		return "", errors.New(`has a query that is not #(key=="literal")`)
	}
	if s.key == "" || strings.IndexFunc(s.key, func(r rune) bool { return r > 127 || !isKeyByte(byte(r)) }) >= 0 {
		return "", fmt.Errorf("has a query on %q; a query asks for one key, of letters, digits, _ - and /", s.key)
	}
	if s.literal, after, ok = strings.Cut(after, `")`); !ok {
		return "", errors.New(`has a query that is not #(key=="literal")`)
	}
	if strings.ContainsAny(s.literal, "\"\\") {
		return "", errors.New("has a query whose literal holds a quote or a backslash")
	}
	if rest, all := strings.CutPrefix(after, "#"); all {
		s.kind, after = stepAll, rest
	}
	p.steps = append(p.steps, s)
	return after, nil
}

func isKeyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '/'
}

// walk calls yield for each value that the path leads to, absent (or null) values left out, until yield returns false.
// It returns false when yield did.
func (p *valuePath) walk(e *evaluation, from gjson.Result, yield func(gjson.Result) bool) bool {
	return walkSteps(e, p.steps, from, yield)
}

func walkSteps(e *evaluation, steps []step, from gjson.Result, yield func(gjson.Result) bool) bool {
	for i := range steps {
		s := &steps[i]
		if s.kind == stepKeys {
			// gjson looks for the first bracket in what it is given, be it inside a string.
			if !from.IsObject() && !from.IsArray() {
				return true
			}
			if from = e.get(from, s); !present(from) {
				return true
			}
			continue
		}
		if !from.IsArray() {
			return true
		}
		rest := steps[i+1:]
		if s.kind == stepLength {
			return yield(lengthOf(from))
		}
		goOn := true
		from.ForEach(func(_, element gjson.Result) bool {
			if s.kind != stepEach && !s.selects(element) {
				return true
			}
			goOn = walkSteps(e, rest, element, yield)
			return goOn && s.kind != stepFirst
		})
		return goOn
	}
	return yield(from)
}

// selects tells whether an element has the literal that the query asks for.
func (s *step) selects(element gjson.Result) bool {
	if !element.IsObject() {
		return false
	}
	value := element.Get(s.key)
	return value.Type == gjson.String && value.Str == s.literal
}

// present tells whether a value is there: JSON null counts as absent.
func present(v gjson.Result) bool { return v.Type != gjson.Null }

func lengthOf(array gjson.Result) gjson.Result {
	n := 0
	array.ForEach(func(_, _ gjson.Result) bool { n++; return true })
	return gjson.Result{Type: gjson.Number, Num: float64(n), Raw: strconv.Itoa(n)}
}
