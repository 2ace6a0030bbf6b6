package rules

import (
	"fmt"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// MisspeltField finds the first field of a pod, given as JSON, that the schema does not have but for one that is spelled
// alike, and says where it stands; empty where there is none. A field that is like no other may be of a newer Kubernetes.
func (s *Schema) MisspeltField(pod []byte) string { return s.root.misspeltField(parsed(pod), "") }

func (t *schemaType) misspeltField(value gjson.Result, path string) (found string) {
	switch {
	case value.IsArray() && t.kinds == anArray:
		index := 0
		value.ForEach(func(_, element gjson.Result) bool {
			found = t.of.misspeltField(element, fmt.Sprintf("%s.%d", path, index))
			index++
			return found == ""
		})
	case value.IsObject() && t.fields != nil:
		value.ForEach(func(name, field gjson.Result) bool {
			known, ok := t.fields[name.Str]
			if !ok {
				if nearest := t.nearestField(name.Str); nearest != "" {
					found = fmt.Sprintf("%s has no field %.64q%s", t.at(path), name.Str, nearest)
				}
				return found == ""
			}
			found = known.misspeltField(field, path+"."+name.Str)
			return found == ""
		})
	}
	return found
}

// at names the place of an object of the type.
func (t *schemaType) at(path string) string {
	if path == "" {
		return t.name
	}
	return path[1:]
}

// nearestField names the field that is spelled most alike, " (did you mean ...?)"; empty where none is.
func (t *schemaType) nearestField(name string) string {
	var fields []string
	for known := range t.fields {
		fields = append(fields, known)
	}
	slices.Sort(fields)
	return suggest.DidYouMean(name, fields)
}
