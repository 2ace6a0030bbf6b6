package schema_test

import (
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules/schema"
)

func TestParseErrors(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"not JSON", "Pod", "invalid character"},
		{"no root", `{}`, "missing root"},
		{"unknown type of the root", `{"root":{"$ref":"#/$defs/Pod"}}`, `unknown type "#/$defs/Pod"`},
		{"unknown type of a field", `{"root":{},"$defs":{"Pod":{"properties":{"spec":{"$ref":"#/$defs/PodSpec"}}}}}`, `Pod: spec: unknown type "#/$defs/PodSpec"`},
		{"unknown type of elements", `{"root":{"type":"array","items":{"$ref":"X"}}}`, `unknown type "X"`},
		{"array without items", `{"root":{"type":"array"}}`, "an array without items"},
		{"null", `{"root":{"properties":{"a":null}}}`, "a: a type is null"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if s, err := schema.Parse([]byte(tt.text)); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("schema %v, error %v; want %q", s, err, tt.want)
			}
		})
	}
}
