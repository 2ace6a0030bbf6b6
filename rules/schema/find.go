package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

// A Place is where a path leads.
type Place struct {
	*Type
	// Always: there is a value whenever there is a subject.
	Always bool
	// inMap: it is a value of a map, whose keys may be any text.
	inMap bool
}

// A PathError says where a path leaves the schema.
type PathError struct {
	reason string
	before string // the valid part of the path
	at     *Type
	key    string           // the unknown key; empty when another kind of step is wrong
	rest   []fieldpath.Step // what follows the key
}

func (e *PathError) Error() string { return e.reason }

// Find follows a path from a type.
func (t *Type) Find(steps []fieldpath.Step) (Place, *PathError) {
	p := Place{Type: t, Always: true}
	var path []string
	for i := range steps {
		s := &steps[i]
		if s.Kind == fieldpath.Keys {
			keys := fieldpath.SplitKeys(s.Keys)
			for k, key := range keys {
				if wrong := p.enterKey(key); wrong != "" {
					rest := steps[i+1:]
					if k+1 < len(keys) {
						rest = slices.Insert(slices.Clone(rest), 0, fieldpath.Step{Kind: fieldpath.Keys, Keys: strings.Join(keys[k+1:], ".")})
					}
					return p, &PathError{wrong, strings.Join(path, "."), p.Type, key, rest}
				}
				path = append(path, key)
			}
			continue
		}
		if wrong := p.enterArray(s); wrong != "" {
			return p, &PathError{reason: wrong, before: strings.Join(path, "."), at: p.Type}
		}
		path = append(path, s.String())
	}
	return p, nil
}

// enterKey moves to a field, to a value of a map or to an element of an array, or says why there is none.
func (p *Place) enterKey(key string) string {
	name := fieldpath.KeyName(key)
	inMap := p.inMap
	p.inMap = false
	switch {
	case p.Kinds() == Any:
		p.Always = false
	case p.Properties != nil:
		field, ok := p.Properties[name]
		if !ok {
			return fmt.Sprintf("%s has no field %q", p.name, name)
		}
		p.Always = p.Always && slices.Contains(p.Required, name)
		p.Type = field
	case p.Items != nil && fieldpath.IsIndex(key):
		p.Type, p.Always = p.Items, false
	case p.Items != nil:
		return fmt.Sprintf("a list has no field %q; put # before it to select every element", name)
	case p.Values != nil:
		p.Type, p.Always, p.inMap = p.Values, false, true
	case inMap:
		return fmt.Sprintf(`%s has no field %q; a dot inside a key is written \.`, p.Describe(), name)
	default:
		return fmt.Sprintf("%s has no field %q", p.Describe(), name)
	}
	return ""
}

// enterArray moves to the elements or the length of an array, or says why there are none.
func (p *Place) enterArray(s *fieldpath.Step) string {
	p.Always = p.Always && s.Kind == fieldpath.Length
	switch {
	case p.Kinds() == Any:
		return ""
	case p.Items == nil:
		return p.Describe() + " is not a list"
	case s.Kind == fieldpath.Length:
		p.Type = LengthType
		return ""
	}
	p.Type = p.Items
	if s.Kind == fieldpath.Each || p.Kinds() == Any {
		return ""
	}
	queried := *p
	if wrong := queried.enterKey(s.Key); wrong != "" {
		return "the key of its query does not exist: " + wrong + suggest.DidYouMean(s.Key, p.fieldNames())
	}
	if queried.Kinds()&String == 0 {
		return fmt.Sprintf("its query compares strings, and %q is %s", s.Key, queried.Describe())
	}
	if len(queried.Enum) > 0 && !slices.Contains(queried.Enum, s.Literal) {
		return fmt.Sprintf("its query compares with %q, which is not a value of %s%s", s.Literal, queried.name, suggest.DidYouMean(s.Literal, queried.Enum))
	}
	return ""
}
