package schema

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A Schema holds the types of an object. Its text is a JSON Schema that uses only the keywords of Type.
type Schema struct {
	Comment string           `json:"$comment,omitempty"`
	Root    *Type            `json:"root"`
	Types   map[string]*Type `json:"$defs"`
}

// A Type is a type of JSON values as the API server writes them.
type Type struct {
	// Ref names another type, "#/$defs/PodSpec". Parse replaces references by what they refer to.
	Ref string `json:"$ref,omitempty"`
	// Type is object, array, string, integer or boolean; empty for a value of any type.
	Type string `json:"type,omitempty"`
	// Format is "quantity" for a quantity, which the API server writes as a string, and "int-or-string".
	Format string `json:"format,omitempty"`
	// Enum are all values that a string may have.
	Enum []string `json:"enum,omitempty"`
	// Properties are the fields of an object, and Required those that it always has.
	Properties map[string]*Type `json:"properties,omitempty"`
	Required   []string         `json:"required,omitempty"`
	// Nullable are the fields that may be null, which counts as absent.
	Nullable []string `json:"nullable,omitempty"`
	// Items is the type of the elements of an array, and Values that of the values of a map.
	Items  *Type `json:"items,omitempty"`
	Values *Type `json:"additionalProperties,omitempty"`

	name string // of a type in $defs
}

const refPrefix = "#/$defs/"

// Ref returns a reference to a type by its name.
func Ref(name string) *Type { return &Type{Ref: refPrefix + name} }

// Kinds is a set of kinds of JSON values.
type Kinds uint8

// The kinds of JSON values that are not null.
const (
	String Kinds = 1 << iota
	Number
	Bool
	Array
	Object
	Any = String | Number | Bool | Array | Object
)

// Kinds returns the kinds of JSON values that a value of the type may have.
func (t *Type) Kinds() Kinds {
	if t.Format == "int-or-string" {
		return String | Number
	}
	switch t.Type {
	case "string":
		return String
	case "integer", "number":
		return Number
	case "boolean":
		return Bool
	case "array":
		return Array
	case "object":
		return Object
	}
	return Any
}

// IsInteger reports whether all numbers of the type are integers.
func (t *Type) IsInteger() bool { return t.Type == "integer" || t.Format == "int-or-string" }

// IsQuantity reports whether the type is a quantity.
func (t *Type) IsQuantity() bool { return t.Format == "quantity" }

// LengthType is the type of the length of an array.
var LengthType = &Type{Type: "integer", Format: "length"}

// Parse reads a schema from its JSON.
func Parse(text []byte) (*Schema, error) {
	s := new(Schema)
	if err := json.Unmarshal(text, s); err != nil {
		return nil, err
	}
	if s.Root == nil {
		return nil, fmt.Errorf("missing root")
	}
	for name, t := range s.Types {
		t.name = name
		if err := s.resolveParts(t); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return s, s.resolve(&s.Root)
}

// resolve replaces a reference by the type that it refers to.
func (s *Schema) resolve(t **Type) error {
	if *t == nil {
		return fmt.Errorf("a type is null")
	}
	if ref := (*t).Ref; ref != "" {
		if *t = s.Types[strings.TrimPrefix(ref, refPrefix)]; *t == nil {
			return fmt.Errorf("unknown type %q", ref)
		}
		return nil
	}
	return s.resolveParts(*t)
}

func (s *Schema) resolveParts(t *Type) error {
	for name, field := range t.Properties {
		if err := s.resolve(&field); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		t.Properties[name] = field
	}
	for _, part := range []**Type{&t.Items, &t.Values} {
		if *part != nil {
			if err := s.resolve(part); err != nil {
				return err
			}
		}
	}
	if t.Type == "array" && t.Items == nil {
		return fmt.Errorf("an array without items")
	}
	return nil
}

// fieldNames returns the names of the fields, sorted.
func (t *Type) fieldNames() []string {
	names := make([]string, 0, len(t.Properties))
	for name := range t.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Describe says what a value of the type is, for messages: "a boolean", "an object (PodSpec)".
func (t *Type) Describe() string {
	switch {
	case t.Properties != nil:
		return "an object (" + t.name + ")"
	case t.Type == "object":
		return "a map"
	case t.Type == "array":
		return "a list; each element is " + t.Items.Describe()
	case len(t.Enum) > 0:
		return "a string (" + t.name + ")"
	case t.Format == "int-or-string":
		return "an integer or a string"
	case t.Format == "length":
		return "the length of a list"
	case t.IsQuantity():
		return "a quantity, which is a string"
	case t.Type == "integer":
		return "an integer"
	case t.Type == "":
		return "any value"
	}
	return "a " + t.Type
}
