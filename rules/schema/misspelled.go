package schema

import (
	"fmt"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// MisspelledField finds the first field of an object, given as JSON, that is not in the schema but resembles one that is, and
// returns a message about it; "" when there is none. Other unknown fields may belong to a newer version of Kubernetes, except at the top
// of an object, where there are none but those of the schema.
func (s *Schema) MisspelledField(object []byte) string {
	return s.Root.misspelledField(gjson.ParseBytes(object), "")
}

func (t *Type) misspelledField(value gjson.Result, path string) (found string) {
	switch {
	case value.IsArray() && t.Items != nil:
		index := 0
		value.ForEach(func(_, element gjson.Result) bool {
			found = t.Items.misspelledField(element, fmt.Sprintf("%s.%d", path, index))
			index++
			return found == ""
		})
	case value.IsObject() && t.Properties != nil:
		value.ForEach(func(name, field gjson.Result) bool {
			if known, ok := t.Properties[name.Str]; ok {
				found = known.misspelledField(field, path+"."+name.Str)
				return found == ""
			}
			if hint := suggest.DidYouMean(name.Str, t.fieldNames()); hint != "" || path == "" {
				where := t.name
				if path != "" {
					where = path[1:]
				}
				found = fmt.Sprintf("%s has no field %.64q%s", where, name.Str, hint)
			}
			return found == ""
		})
	}
	return found
}
