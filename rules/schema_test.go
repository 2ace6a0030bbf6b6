package rules_test

import (
	"testing"

	"github.com/kube-devops/kube-devops/rules"
)

func TestParseSchemaErrors(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"nothing", "# A comment.\n\n", "there is no type"},
		{"no field above", "  a string\n", `line 1: " a string" is no value in quotes`},
		{"a field of strings", "Phase \"a\"\n  b string\n", `line 2: " b string" is no value in quotes`},
		{"no name", " \"a\"\n", `line 1: "" is no name of a type`},
		{"a field without a type", "Pod\n  a\n", `line 2: the field "a" has no type`},
		{"no such type", "Pod\n  a []map[Container]\n", "nothing says what Container is"},
		{"twice", "Pod\n  a string\nPod\n", "line 3: Pod is described twice"},
		{"a type that is known", "string\n", "line 1: string is described twice"},
		{"a list", "[]Pod\n", `line 1: "[]Pod" is no name of a type`},
		{"values without quotes", "Phase Pending\n", `line 1: "Pending" is no value in quotes`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			schema, err := rules.ParseSchema(tt.text)
			if schema != nil || err == nil || err.Error() != tt.want {
				t.Errorf("schema %v, error %v; want %q", schema, err, tt.want)
			}
		})
	}
}
