package rules_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
)

// TestLoadMistakes loads each file of testdata/bad and compares all that is said about them with messages.txt beside
// them, which UPDATE_GOLDEN=1 writes again.
func TestLoadMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found no bad tables: %v", err)
	}
	var messages strings.Builder
	for _, file := range files {
		name := filepath.Base(file)
		text := readFile(t, file)
		table, err := rules.Load(name, text)
		var mistakes rules.Mistakes
		if table != nil || !errors.As(err, &mistakes) {
			t.Errorf("%s: loaded with table %v and error %v, want no table and its mistakes", name, table, err)
			continue
		}
		line, lines := 0, strings.Count(string(text), "\n")
		for _, m := range mistakes {
			if m.File != name || m.Line < line || m.Line > lines || strings.ContainsAny(m.Error(), "\n\r\x1b") {
				t.Errorf("%s: mistake %q is not one line, with its file and its line, in the order of the lines", name, m.Error())
			}
			line = m.Line
		}
		messages.WriteString(err.Error() + "\n")
	}
	golden(t, "testdata/bad/messages.txt", messages.String())
}

// TestLoadPathGrammar makes sure that every path of paths.yaml is refused by itself.
func TestLoadPathGrammar(t *testing.T) {
	text := readFile(t, "testdata/bad/paths.yaml")
	var table struct {
		Checks []struct{ ID string }
	}
	if err := yaml.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, c := range table.Checks {
		want = append(want, "check "+c.ID)
	}
	if diff := cmp.Diff(want, rowsOf(loadMistakes(t, string(text)))); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

// TestLoadTellsEachMistakeOnce makes sure that no mistake draws another one behind it.
func TestLoadTellsEachMistakeOnce(t *testing.T) {
	text := readFile(t, "testdata/bad/several.yaml")
	var got []string
	for _, m := range loadMistakes(t, string(text)) {
		got = append(got, fmt.Sprintf("%d %s", m.Line, m.At))
	}
	want := []string{
		"1 ", "5 ", "7 ", "9 ", "10 ",
		"13 check latest_tag", "14 check latest_tag", "15 check latest_tag", "16 check latest_tag",
		"17 check 2", "20 check 2", "22 check 2", "23 check 2",
		"24 check latest_tag", "26 check latest_tag",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

// TestLoadBounds goes to each bound of a table, and one beyond it.
func TestLoadBounds(t *testing.T) {
	head := "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: %s}\nchecks:\n"
	withViolation := func(violation string) string {
		return fmt.Sprintf(head, "bounds") + "  - {id: c, weight: 1, violation: " + violation + "}\n"
	}
	leaf := "{path: a, operator: exists}"
	tests := []struct {
		name  string
		bound int
		table func(n int) string
		want  string
	}{
		{
			name: "bytes of the table", bound: 1 << 20,
			table: func(n int) string {
				text := withViolation(leaf)
				return text + strings.Repeat("#", n-len(text))
			},
			want: "f: the table has 1048577 bytes; 1048576 are allowed",
		},
		{
			name: "checks", bound: 500,
			table: func(n int) string {
				text := fmt.Sprintf(head, "bounds")
				for i := range n {
					text += fmt.Sprintf("  - {id: c%d, weight: 1, violation: %s}\n", i, leaf)
				}
				return text
			},
			want: "f:5: a table has 1 to 500 checks; this one has 501",
		},
		{
			name: "predicates of a check", bound: 200,
			table: func(n int) string {
				return withViolation("{all: [" + strings.Repeat(leaf+", ", n-1) + "]}")
			},
			want: "f:5: check c: a violation has at most 200 predicates",
		},
		{
			name: "depth of predicates", bound: 16,
			table: func(n int) string {
				return withViolation(strings.Repeat("{not: ", n-1) + leaf + strings.Repeat("}", n-1))
			},
			want: "f:5: check c: predicates are nested deeper than 16",
		},
		{
			name: "letters of the name", bound: 63,
			table: func(n int) string {
				return fmt.Sprintf(head, strings.Repeat("a", n)) + "  - {id: c, weight: 1, violation: " + leaf + "}\n"
			},
			want: `f:3: metadata.name "` + strings.Repeat("a", 64) + `" must be 1 to 63 lower-case letters, digits and dashes, with no dash at its ends`,
		},
		{
			name: "letters of an id", bound: 63,
			table: func(n int) string {
				return strings.Replace(withViolation(leaf), "id: c", "id: "+strings.Repeat("a", n), 1)
			},
			want: `f:5: check 1: id "` + strings.Repeat("a", 64) + `" must be 1 to 63 lower-case letters, digits and underscores, with a letter first`,
		},
		{
			name: "weight", bound: 1000,
			table: func(n int) string {
				return strings.Replace(withViolation(leaf), "weight: 1", fmt.Sprint("weight: ", n), 1)
			},
			want: "f:5: check c: weight must be a whole number from 1 to 1000, not 1001",
		},
		{
			name: "bytes of a path", bound: 256,
			table: func(n int) string { return withViolation("{path: " + strings.Repeat("a", n) + ", operator: exists}") },
			want:  `f:5: check c: path "` + strings.Repeat("a", 257) + `" is 257 bytes long; 256 are allowed`,
		},
		{
			name: "steps of a path", bound: 16,
			table: func(n int) string {
				return withViolation("{path: a" + strings.Repeat(".a", n-1) + ", operator: exists}")
			},
			want: `f:5: check c: path "a` + strings.Repeat(".a", 16) + `" has more than 16 steps`,
		},
		{
			name: "digits of an index", bound: 18,
			table: func(n int) string {
				return withViolation("{path: " + strings.Repeat("a.9", 1) + strings.Repeat("9", n-1) + ", operator: exists}")
			},
			want: `f:5: check c: path "a.` + strings.Repeat("9", 19) + `" has the index ` + strings.Repeat("9", 19) + `: an index has at most 18 digits`,
		},
		{
			name: "entries of a list", bound: 1000,
			table: func(n int) string {
				return withViolation("{path: a, operator: in, value: [" + strings.Repeat("x, ", n) + "]}")
			},
			want: "f:5: check c: value of in has 1001 entries; 1000 are allowed",
		},
		{
			name: "bytes of an expression", bound: 1024,
			table: func(n int) string {
				return withViolation("{path: a, operator: matches, value: " + strings.Repeat("a", n) + "}")
			},
			want: "f:5: check c: value of matches is an expression of 1025 bytes; 1024 are allowed",
		},
		{
			name: "repeats of an expression", bound: 100,
			table: func(n int) string {
				return withViolation(fmt.Sprintf(`{path: a, operator: matches, value: "(ab){%d}"}`, n))
			},
			want: "f:5: check c: value of matches repeats 101 times; 100 are allowed",
		},
		{
			name: "instructions of an expression", bound: 1998,
			// (ab){50} is 100 instructions. Beside the letters there are two for the start, a match and a failure.
			table: func(n int) string {
				expression := strings.Repeat("(?:ab){50}", n/100) + strings.Repeat("c", n%100)
				return withViolation(fmt.Sprintf(`{path: a, operator: matches, value: "%s"}`, expression))
			},
			want: "f:5: check c: value of matches compiles to 2001 instructions; 2000 are allowed",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := rules.Load("f", []byte(tt.table(tt.bound))); err != nil {
				t.Errorf("at the bound of %d: %v", tt.bound, err)
			}
			_, err := rules.Load("f", []byte(tt.table(tt.bound+1)))
			if err == nil {
				t.Fatalf("beyond the bound of %d: loaded", tt.bound)
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Errorf("beyond the bound of %d (-want +got):\n%s", tt.bound, diff)
			}
		})
	}
}

// -- helpers of all tests of the package

func readFile(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// golden compares got with the file, which UPDATE_GOLDEN=1 writes again.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(readFile(t, file)), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func loadMistakes(t *testing.T, text string) rules.Mistakes {
	t.Helper()
	_, err := rules.Load("f", []byte(text))
	var mistakes rules.Mistakes
	if !errors.As(err, &mistakes) {
		t.Fatalf("loaded with error %v, want mistakes", err)
	}
	return mistakes
}

func rowsOf(mistakes rules.Mistakes) []string {
	var rows []string
	for _, m := range mistakes {
		rows = append(rows, m.At)
	}
	return rows
}
