package policies_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

func schemaText(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestJSONSchemaHasAllOperators compares schema.json with the operators of the engine.
func TestJSONSchemaHasAllOperators(t *testing.T) {
	var schema struct {
		Defs struct {
			Predicate struct {
				Properties struct {
					Operator struct {
						Enum        []string
						Description string
					}
				}
				AllOf []struct {
					If struct {
						Properties struct {
							Operator struct{ Const string }
						}
					}
					Then struct {
						Required []string
						OneOf    []struct{ Required []string }
					}
				}
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(schemaText(t), &schema); err != nil {
		t.Fatal(err)
	}
	description, enum := "True when:", []string(nil)
	for i, o := range rules.Operators() {
		enum = append(enum, o.Name)
		description += "\n" + o.Name + ": " + o.Meaning
		if i >= len(schema.Defs.Predicate.AllOf) {
			t.Fatalf("$defs.predicate.allOf has no rule for the value of %s", o.Name)
		}
		rule := schema.Defs.Predicate.AllOf[i]
		if rule.If.Properties.Operator.Const != o.Name || (len(rule.Then.Required)+len(rule.Then.OneOf) > 0) != (o.Value != "") {
			t.Errorf("schema.json, which is written by hand: $defs.predicate.allOf[%d] is not the rule for %s, whose value is %q", i, o.Name, o.Value)
		}
	}
	if diff := cmp.Diff(enum, schema.Defs.Predicate.Properties.Operator.Enum); diff != "" {
		t.Errorf("$defs.predicate.properties.operator.enum (-engine +schema):\n%s", diff)
	}
	if diff := cmp.Diff(description, schema.Defs.Predicate.Properties.Operator.Description); diff != "" {
		t.Errorf("$defs.predicate.properties.operator.description (-engine +schema):\n%s", diff)
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaText(t)))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4) // the schema itself says that it is of another
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// validate holds the text of a YAML file against the schema, as an editor does: as the JSON that it stands for.
func validate(t *testing.T, schema *jsonschema.Schema, text []byte) error {
	t.Helper()
	var document any
	if err := yaml.Unmarshal(text, &document); err != nil {
		return err
	}
	asJSON, err := json.Marshal(document)
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// TestJSONSchemaAccepts has all that ships, and one of each kind with every field.
func TestJSONSchemaAccepts(t *testing.T) {
	schema := compileSchema(t)
	for _, name := range policies.Names() {
		text, _ := policies.Shipped(name)
		if err := validate(t, schema, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		table, err := policies.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, schema, table.YAML()); err != nil {
			t.Errorf("%s as it is shown: %v", name, err)
		}
	}
	tests, err := filepath.Glob("../testdata/checks/*/tests.yaml")
	more, moreErr := filepath.Glob("../testdata/checks/*/*/tests.yaml")
	if len(tests) == 0 || len(more) == 0 {
		t.Fatalf("found no policy tests: %v, %v", err, moreErr)
	}
	for _, file := range append(tests, more...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, schema, text); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for name, text := range map[string]string{
		"table": full, "extending": extending, "extending one": strings.Replace(extending, "[recommended, ./base.yaml]", "recommended", 1), "waivers": "apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers:" + fullWaivers,
		"test": "apiVersion: kube-devops.io/v1\nkind: PolicyTest\npolicy: default\nwaivers: w.yaml\nat: 2030-01-01T10:00:00Z\nchecks: [a]\ncases: [{name: a, pod: b, skipped: c}, {name: d, pod: e, violations: [{check: a, container: b, path: c}], waived: [{check: a, subject: s, waiver: w}]}]\n",
	} {
		if err := validate(t, schema, []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := rules.Load("full.yaml", []byte(full)); err != nil {
		t.Errorf("the full table does not load: %v", err)
	}
}

const fullWaivers = `
  - id: w
    reason: r
    expires: 2030-01-01
    namespace: "a*"
    pod: b
    container: c
    workload: Deployment/*
    labels: {app.kubernetes.io/name: x}
    owner: {kind: Job, name: "*"}
    check: [a, b]
  - {id: v, reason: r, expires: "2030-01-01T00:00:00+02:00", namespace: [a, "b*"], subject: s, check: a}
`

const extending = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: extending}
extends: [recommended, ./base.yaml]
disable: [pending, "skip:job"]
namespaces: {include: null, exclude: null, excludeAlso: ["sandbox-*"]}
pods: {skip: null}
lists: {registries: null, tags: [a]}
annotationWaivers: null
checks:
  - {id: a, description: null, message: null, remediation: null, category: null, severity: null, showValue: null, enforce: null, forEach: null, when: null}
  - {id: b, weight: 5}
grades: null
waivers: null
`

const full = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: full}
namespaces: {include: ["*"], exclude: [], excludeAlso: [b]}
lists: {registries: [ghcr.io/org, localhost], scalars: [a, 5, true]}
pods: {skip: [{reason: job, when: {path: 'metadata.ownerReferences.#(kind=="Job").name', operator: exists}}]}
checks:
  - id: a
    description: d
    message: "{value} of {container}, {subject}"
    remediation: r
    category: hygiene
    severity: low
    showValue: true
    enforce: deny
    weight: 1000
    forEach: [spec.containers, 'spec.initContainers.#(restartPolicy=="Always")#', spec.containers.#.ports]
    when: {not: {path: '$.metadata.annotations.a\.b/c-d', operator: absent}}
    violation:
      any:
        - {all: [{path: a.0.#, operator: equals, value: 5}, {path: a, operator: notEquals, value: true}]}
        - {path: [a, $.b.#.c], operator: exists}
        - {path: a.#.b, operator: in, value: [a, 5, true]}
        - {operator: notIn, value: [1.5]}
        - {some: {in: '$.spec.volumes.#(name=="a")', is: {every: {is: {path: key, operator: exists}}}}}
        - {path: a, operator: oneOf, value: [a]}
        - {path: a, operator: notIn, value: {list: scalars}}
        - {path: a, operator: imageFrom, value: {list: registries}}
        - {path: a, operator: imageFrom, value: ["docker.io/library", "reg:5000", "[::1]:5000/a/b_c"]}
        - {path: a, operator: quantityEquals, value: 64Mi}
        - {path: [a, $.b], operator: notEquals, valueFrom: 'c.#(d=="e").f'}
        - {path: a, operator: quantityGreaterThan, valueFrom: $.b, times: 1.5}
        - {path: a, operator: hasPrefix, value: ""}
        - {path: a, operator: hasSuffix, value: x}
        - {path: a, operator: contains, value: 5}
        - {path: a, operator: matches, value: "^a$"}
        - {path: a, operator: greaterThan, value: -1.5}
        - {path: a, operator: lessThan, value: 1e3}
        - {path: a, operator: quantityGreaterThan, value: 500m}
        - {path: a, operator: quantityLessThan, value: 1.5}
        - {path: a, operator: quantityLessThan, value: "-.5e-3"}
        - {path: a, operator: length, value: 0}
        - {path: a, operator: length, value: {min: 1, max: 2}}
        - {path: a, operator: imageTag, value: v1.2-x}
  - {id: b, weight: 1, violation: {path: a, operator: exists}}
  - {id: c, weight: 1, forEach: [allContainers.args, longRunningContainers], violation: {operator: exists}}
grades: [{name: A, min: 50.5, maxSeverity: medium}, {name: B, min: 0}]
annotationWaivers: {checks: [a, b], maxDays: 90}
waivers:` + fullWaivers

// beyondSchema are the bad tables that are wrong in what no JSON Schema can know: how one part goes with another, what the
// text is beside the values in it, and how much of an expression there is.
var beyondSchema = []string{
	"alias-unknown.yaml", "alias.yaml", "anchor.yaml", "exclude-glob.yaml", "extends-not-resolved.yaml",
	"for-each-alias-case.yaml", "for-each-alias-each.yaml", "for-each-alias-index.yaml", "for-each-alias-query.yaml",
	"grades-equal.yaml", "grades-last-severity.yaml", "grades-no-zero.yaml", "grades-order.yaml", "grades-same.yaml", "id-duplicate.yaml", "include-glob.yaml", "merge-key.yaml", "missing-fields-predicate-path.yaml",
	"not-yaml-second-document.yaml", "path-alias.yaml", "predicate-deep.yaml", "quantified-deep.yaml", "quantified-length.yaml", "quantified-pod.yaml",
	"regexp-back-reference.yaml", "regexp-bracket.yaml", "regexp-line-break.yaml",
	"regexp-not-re2.yaml", "regexp-repeat-at-least.yaml", "regexp-repeat-nested.yaml", "regexp-repeat-refused.yaml", "regexp-repeat.yaml",
	"second-document.yaml", "value-beyond-64-bits.yaml", "value-date.yaml", "waiver-id-duplicate.yaml",
}

// TestJSONSchemaRefuses holds all tables that do not load against the schema.
func TestJSONSchemaRefuses(t *testing.T) {
	schema := compileSchema(t)
	files, err := filepath.Glob("../rules/testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found no bad tables: %v", err)
	}
	var accepted []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		err = validate(t, schema, text)
		wrong := new(jsonschema.ValidationError)
		switch {
		case err == nil:
			accepted = append(accepted, filepath.Base(file))
		case !errors.As(err, &wrong) && slices.Contains(beyondSchema, filepath.Base(file)):
			accepted = append(accepted, filepath.Base(file))
		}
	}
	if diff := cmp.Diff(beyondSchema, accepted); diff != "" {
		t.Errorf("accepted (-want +got):\n%s", diff)
	}
}
