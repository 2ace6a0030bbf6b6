package policies_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/policies/policytest"
	"github.com/kube-devops/kube-devops/rules"
)

// An objectSchema is what the JSON Schema says of the fields of an object.
type objectSchema struct {
	Properties           map[string]any
	Required             []string
	AdditionalProperties any
}

// TestJSONSchemaKnowsTheFields asks the loaders for the fields of each kind of object, by one that is unknown, and for
// those that it must have: the JSON Schema has the same.
func TestJSONSchemaKnowsTheFields(t *testing.T) {
	const head = "apiVersion: kube-devops.io/v1\nkind: "
	table := head + "PolicyTable\nmetadata: {name: t}\nchecks: [{id: c, weight: 1, violation: {path: a, operator: exists}}]\n"
	tests := []struct {
		object string // as the messages call it
		schema string // the path in the JSON Schema
		text   string
		load   func(text string) error
		alone  string
	}{
		{"the table", "$defs/PolicyTable", "zz: 1\n", loadTable, "$defs/PolicyTable/else"},
		{"metadata", "$defs/PolicyTable/properties/metadata", strings.Replace(table, "{name: t}", "{zz: 1}", 1), loadTable, ""},
		{"namespaces", "$defs/namespaces", table + "namespaces: {zz: 1}\n", loadTable, ""},
		{"pods", "$defs/PolicyTable/properties/pods", table + "pods: {zz: 1}\n", loadTable, ""},
		{"a skip", "$defs/skip", table + "pods: {skip: [{zz: 1}]}\n", loadTable, ""},
		{"a check", "$defs/check", head + "PolicyTable\nchecks: [{zz: 1}]\n", loadTable, "$defs/PolicyTable/else/properties/checks/items"},
		{"a predicate", "$defs/predicate", head + "PolicyTable\nchecks: [{violation: {zz: 1}}]\n", loadTable, ""},
		{"some", "$defs/quantified", head + "PolicyTable\nchecks: [{violation: {some: {zz: 1}}}]\n", loadTable, ""},
		{"a grade", "$defs/grade", table + "grades: [{zz: 1}]\n", loadTable, ""},
		{"annotationWaivers", "$defs/PolicyTable/properties/annotationWaivers", table + "annotationWaivers: {zz: 1}\n", loadTable, ""},
		{"a waiver", "$defs/waiver", table + "waivers: [{zz: 1}]\n", loadTable, ""},
		{"owner", "$defs/waiver/properties/owner", table + "waivers: [{owner: {zz: 1}}]\n", loadTable, ""},
		{"a file of waivers", "$defs/Waivers", "zz: 1\n", func(text string) error {
			loaded, err := rules.Load("f", []byte(table))
			if err != nil {
				t.Fatal(err)
			}
			_, err = loaded.WithWaivers("f", []byte(text))
			return err
		}, ""},
		{"a policy test", "$defs/PolicyTest", "zz: 1\n", loadTest, ""},
		{"a case", "$defs/PolicyTest/properties/cases/items", head + "PolicyTest\ncases: [{zz: 1}]\n", loadTest, ""},
		{"a waived violation", "$defs/waivedViolation", head + "PolicyTest\ncases: [{waived: [{zz: 1}]}]\n", loadTest, ""},
		{"an expected violation", "$defs/expectedViolation", head + "PolicyTest\ncases: [{violations: [{zz: 1}]}]\n", loadTest, ""},
	}
	known := make(map[string]bool)
	for _, tt := range tests {
		known[tt.schema] = true
		t.Run(tt.object, func(t *testing.T) {
			var errs rules.LoadErrors
			if !errors.As(tt.load(tt.text), &errs) {
				t.Fatal("no errs")
			}
			var fields, required []string
			has := regexp.MustCompile(`unknown field "zz" in ` + tt.object + `; known fields: (.*)$`)
			lacks := regexp.MustCompile(`missing field "(.*?)" in ` + tt.object + `$`)
			for _, m := range errs {
				if found := has.FindStringSubmatch(m.Msg); found != nil {
					fields = strings.Split(found[1], ", ")
				}
				if found := lacks.FindStringSubmatch(m.Msg); found != nil && found[1] != "violations" && tt.object != "a predicate" {
					required = append(required, found[1]) // that violations may give way to skipped is said in another way
				}
			}
			schema := schemaAt(t, tt.schema)
			if tt.alone != "" { // what only a table that extends no other must have
				schema.Required = append(schema.Required, schemaAt(t, tt.alone).Required...)
			}
			if diff := cmp.Diff(fields, schema.fields()); diff != "" {
				t.Errorf("fields (-loader +schema):\n%s", diff)
			}
			slices.Sort(required)
			slices.Sort(schema.Required)
			if diff := cmp.Diff(required, schema.Required); diff != "" {
				t.Errorf("required fields (-loader +schema):\n%s", diff)
			}
			if schema.AdditionalProperties != false {
				t.Error("other fields are accepted")
			}
		})
	}
	// What is closed in the schema, and what is compared here, are the same objects; the bounds of a length and the name of a list are operands.
	closed := strings.Count(string(schemaText(t)), `"additionalProperties": false`)
	if want := len(known) + 2; closed != want {
		t.Errorf("the schema has %d objects of known fields, and %d are compared", closed, want)
	}
}

func loadTable(text string) error {
	_, err := rules.Load("f", []byte(text))
	return err
}

func loadTest(text string) error {
	_, err := policytest.Load("f", []byte(text))
	return err
}

func schemaAt(t *testing.T, path string) objectSchema {
	t.Helper()
	var at any
	if err := json.Unmarshal(schemaText(t), &at); err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Split(path, "/") {
		object, ok := at.(map[string]any)
		if !ok || object[key] == nil {
			t.Fatalf("the schema has no %s of %s", key, path)
		}
		at = object[key]
	}
	text, err := json.Marshal(at)
	if err != nil {
		t.Fatal(err)
	}
	var schema objectSchema
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	return schema
}

func (s objectSchema) fields() []string {
	var names []string
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
