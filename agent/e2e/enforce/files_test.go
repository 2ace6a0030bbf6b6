package enforce_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/kube-devops/kube-devops/agent/e2e/binaries"
)

// readme reads a page of the repository.
func readme(t *testing.T, path string) string {
	t.Helper()
	root, err := binaries.Root()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestFormsAreWhole checks that the table of all forms has each operator of the schema, and each other field of a predicate.
func TestFormsAreWhole(t *testing.T) {
	var schema struct {
		Defs struct {
			Predicate struct {
				Properties map[string]struct{ Enum []string }
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal([]byte(readme(t, "policies/schema.json")), &schema); err != nil {
		t.Fatal(err)
	}
	properties := schema.Defs.Predicate.Properties
	if len(properties["operator"].Enum) < 15 {
		t.Fatalf("the schema has the operators %q", properties["operator"].Enum)
	}
	b, err := os.ReadFile("testdata/forms.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, operator := range properties["operator"].Enum {
		if !regexp.MustCompile(`operator: ` + operator + `\b`).Match(b) {
			t.Errorf("testdata/forms.yaml has no operator %s", operator)
		}
	}
	for field := range properties {
		if !regexp.MustCompile(`[{\s]` + field + `: `).Match(b) {
			t.Errorf("testdata/forms.yaml has no predicate with %s", field)
		}
	}
}
