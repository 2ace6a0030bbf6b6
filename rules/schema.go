package rules

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// A Schema is what is known of the fields of an object, and of their types. Doubts holds the paths of a table against it.
type Schema struct{ root *schemaType }

// A schemaType is a type of JSON values as an API writes them.
type schemaType struct {
	// name is that of an object, of an enumeration, or the word for another type.
	name   string
	kinds  kinds
	fields map[string]schemaField // of an object
	of     *schemaType            // of the elements of an array, or of the values of a map
	values []string               // of an enumeration: all that there are
	whole  bool                   // a number is a whole one
}

type schemaField struct {
	*schemaType
	always bool // it is there whenever its object is
}

// kinds is a set of kinds of JSON values.
type kinds uint8

const (
	aText kinds = 1 << iota
	aCount
	aTruth
	anArray
	anObject
	anyKind = aText | aCount | aTruth | anArray | anObject
)

// scalarTypes are the types that a schema does not describe. A quantity is text: the API writes it in quotes.
var scalarTypes = []*schemaType{
	{name: "string", kinds: aText},
	{name: "integer", kinds: aCount, whole: true},
	{name: "number", kinds: aCount},
	{name: "boolean", kinds: aTruth},
	{name: "quantity", kinds: aText},
	{name: "intOrString", kinds: aText | aCount, whole: true},
	{name: "any", kinds: anyKind},
}

// lengthType is the type of a path that ends with #.
var lengthType = &schemaType{name: "length", kinds: aCount, whole: true}

// ParseSchema reads a schema. Each line is a type, or indented by two spaces a field of the type above it: a name, with
// a ! behind it where the field is always there, and a type: string, integer, number, boolean, quantity, intOrString, any,
// []T, map[T], or the name of a type. The first type is that of the object; a type with values in quotes behind its name
// is a string that has one of them. Lines that begin with # are comments.
func ParseSchema(text string) (*Schema, error) {
	types := make(map[string]*schemaType)
	for _, scalar := range scalarTypes {
		types[scalar.name] = scalar
	}
	named := func(name string) *schemaType {
		if types[name] == nil {
			types[name] = &schemaType{name: name}
		}
		return types[name]
	}
	s := new(Schema)
	var current *schemaType
	for i, line := range strings.Split(text, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		if field, ok := strings.CutPrefix(line, "  "); ok && current != nil && current.fields != nil {
			if err := current.addField(field, named); err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			continue
		}
		name, values, err := parseTypeLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if current = named(name); current.kinds != 0 {
			return nil, fmt.Errorf("line %d: %s is described twice", i+1, name)
		}
		if current.kinds, current.values = aText, values; values == nil {
			current.kinds, current.fields = anObject, make(map[string]schemaField)
		}
		if s.root == nil {
			s.root = current
		}
	}
	for name, described := range types {
		if described.kinds == 0 {
			return nil, fmt.Errorf("nothing says what %s is", name)
		}
	}
	if s.root == nil {
		return nil, fmt.Errorf("there is no type")
	}
	return s, nil
}

func parseTypeLine(line string) (name string, values []string, err error) {
	name, rest, _ := strings.Cut(line, " ")
	for rest != "" {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return "", nil, fmt.Errorf("%q is no value in quotes", rest)
		}
		value, _ := strconv.Unquote(quoted) // it has just been found to be quoted
		values, rest = append(values, value), strings.TrimPrefix(rest[len(quoted):], " ")
	}
	if name == "" || strings.ContainsAny(name, `[]!"`) {
		return "", nil, fmt.Errorf("%q is no name of a type", name)
	}
	return name, values, nil
}

func (t *schemaType) addField(line string, named func(string) *schemaType) error {
	name, word, ok := strings.Cut(line, " ")
	if !ok {
		return fmt.Errorf("the field %q has no type", line)
	}
	name, always := strings.CutSuffix(name, "!")
	t.fields[name] = schemaField{fieldType(word, named), always}
	return nil
}

func fieldType(word string, named func(string) *schemaType) *schemaType {
	if element, ok := strings.CutPrefix(word, "[]"); ok {
		return &schemaType{name: "list", kinds: anArray, of: fieldType(element, named)}
	}
	if value, ok := strings.CutPrefix(word, "map["); ok {
		return &schemaType{name: "map", kinds: anObject, of: fieldType(strings.TrimSuffix(value, "]"), named)}
	}
	return named(word)
}

// words say what a value of the type is.
func (t *schemaType) words() string {
	switch {
	case t.fields != nil:
		return "an object (" + t.name + ")"
	case t.kinds == anArray:
		return "a list, of which each is " + t.of.words()
	case t.name == "map":
		return "a mapping"
	case len(t.values) > 0:
		return "a string (" + t.name + ")"
	case t.name == "intOrString":
		return "a whole number or a string"
	case t.name == "quantity":
		return "a quantity, which is a string"
	case t.name == "integer":
		return "a whole number"
	case t.name == "length":
		return "the length of a list"
	case t.name == "any":
		return "any value"
	}
	return "a " + t.name
}

// A place is where a path leads to.
type place struct {
	*schemaType
	several bool // the path may lead to more than one value
	always  bool // there is a value whenever there is a subject
	mapped  bool // it is a value of a map, whose keys may be any text
}

// A misstep says where a path leaves the schema.
type misstep struct {
	reason string // what is wrong with the step
	before string // the path as far as it is good
	at     *schemaType
	key    string // the key that is wrong; empty where it is another step
	rest   []step // what follows the key
}

// find follows a path from a type. Where the path leads nowhere the misstep is not nil.
func (t *schemaType) find(steps []step) (place, *misstep) {
	p := place{schemaType: t, always: true}
	var path []string
	for i := range steps {
		s := &steps[i]
		if s.kind == stepKeys {
			keys := splitKeys(s.keys)
			for k, key := range keys {
				if wrong := p.key(key); wrong != "" {
					rest := steps[i+1:]
					if k+1 < len(keys) {
						rest = slices.Insert(slices.Clone(rest), 0, step{kind: stepKeys, keys: strings.Join(keys[k+1:], ".")})
					}
					return p, &misstep{wrong, strings.Join(path, "."), p.schemaType, key, rest}
				}
				path = append(path, key)
			}
			continue
		}
		if wrong := p.array(s); wrong != "" {
			return p, &misstep{reason: wrong, before: strings.Join(path, "."), at: p.schemaType}
		}
		path = append(path, s.String())
	}
	return p, nil
}

// key goes to a key of the value, or to an index where it is an array, or says why there is none.
func (p *place) key(key string) string {
	name := strings.ReplaceAll(key, `\.`, ".")
	mapped := p.mapped
	p.mapped = false
	switch {
	case p.kinds == anyKind:
		p.always = false
	case p.fields != nil:
		f, ok := p.fields[name]
		if !ok {
			return fmt.Sprintf("%s has no field %q", p.name, name)
		}
		p.schemaType, p.always = f.schemaType, p.always && f.always
	case p.kinds == anArray && strings.Trim(key, "0123456789") == "":
		p.schemaType, p.always = p.of, false
	case p.kinds == anArray:
		return fmt.Sprintf("a list has no field %q: write # before it for every element", name)
	case p.of != nil: // a map
		p.schemaType, p.always, p.mapped = p.of, false, true
	case mapped:
		return fmt.Sprintf(`%s has no field %q; a dot in a key is written \.`, p.words(), name)
	default:
		return fmt.Sprintf("%s has no field %q", p.words(), name)
	}
	return ""
}

// array goes to the elements, or the length, of an array, or says why there are none.
func (p *place) array(s *step) string {
	p.several = p.several || s.kind == stepEach || s.kind == stepAll
	p.always = p.always && s.kind == stepLength
	if p.kinds == anyKind {
		return ""
	}
	if p.kinds != anArray {
		return p.words() + " is no list"
	}
	if s.kind == stepLength {
		p.schemaType = lengthType
		return ""
	}
	p.schemaType = p.of
	if s.kind == stepEach || p.kinds == anyKind {
		return ""
	}
	asked := *p
	if wrong := asked.key(s.key); wrong != "" {
		return "its query asks for what is not there: " + wrong + suggest.DidYouMean(s.key, slices.Sorted(maps.Keys(p.fields)))
	}
	if asked.kinds&aText == 0 {
		return fmt.Sprintf("its query compares text, and %q is %s", s.key, asked.words())
	}
	if len(asked.values) > 0 && !slices.Contains(asked.values, s.literal) {
		return fmt.Sprintf("its query asks for %q, which %s is never%s", s.literal, asked.name, suggest.DidYouMean(s.literal, asked.values))
	}
	return ""
}

// splitKeys takes a run of keys apart. A dot inside a key keeps its backslash.
func splitKeys(keys string) []string {
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

// String writes the step as a path has it.
func (s *step) String() string {
	switch s.kind {
	case stepKeys:
		return s.keys
	case stepFirst:
		return fmt.Sprintf(`#(%s=="%s")`, s.key, s.literal)
	case stepAll:
		return fmt.Sprintf(`#(%s=="%s")#`, s.key, s.literal)
	}
	return "#"
}
