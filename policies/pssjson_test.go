package policies_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// next returns a random pod and its JSON: mostly as the API server writes it, at times with fields that say nothing.
func (r pssPods) next(t *testing.T) (*corev1.Pod, []byte) {
	t.Helper()
	pod := r.pod()
	written := any(pod)
	if r.IntN(3) == 0 {
		written = r.spelledOut(reflect.ValueOf(pod), 1+r.IntN(2))
	}
	text, err := json.Marshal(written)
	if err != nil {
		t.Fatal(err)
	}
	return pod, text
}

// spelledOut returns what json.Marshal writes, and with it, by chance one in so many, fields that it leaves out because they are empty:
// null, "", 0. It decodes to the same pod. People write such fields.
func (r pssPods) spelledOut(v reflect.Value, chance int) any {
	if _, ok := v.Interface().(json.Marshaler); ok {
		return v.Interface()
	}
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		return r.spelledOut(v.Elem(), chance)
	case v.Kind() == reflect.Slice && !v.IsNil():
		list := make([]any, v.Len())
		for i := range list {
			list[i] = r.spelledOut(v.Index(i), chance)
		}
		return list
	case v.Kind() == reflect.Struct:
		fields := make(map[string]any)
		r.spellOut(v, chance, fields)
		return fields
	}
	return v.Interface()
}

func (r pssPods) spellOut(v reflect.Value, chance int, into map[string]any) {
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		switch {
		case name == "":
			r.spellOut(v.Field(i), chance, into) // inline
		case strings.HasPrefix(options, "omit") && v.Field(i).IsZero() && r.IntN(chance) > 0:
		default:
			into[name] = r.spelledOut(v.Field(i), chance)
		}
	}
}
