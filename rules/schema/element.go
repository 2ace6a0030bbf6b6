package schema

import (
	"maps"
	"slices"
)

// Element returns the type of what some and every look at: the elements of a list, or the entries of a map or an object, which have a key
// and a value. It is nil for a type that has neither.
func (t *Type) Element() *Type {
	switch {
	case t.Kinds() == Any:
		return new(Type)
	case t.Items != nil:
		return t.Items
	case t.Type != "object":
		return nil
	}
	key, value := &Type{Type: "string"}, t.Values
	if value == nil {
		value = new(Type)
	}
	if t.Properties != nil {
		key.Enum, key.name = slices.Sorted(maps.Keys(t.Properties)), "field of "+t.name
	}
	return &Type{Type: "object", Properties: map[string]*Type{"key": key, "value": value}, Required: []string{"key", "value"}, name: "an entry"}
}
