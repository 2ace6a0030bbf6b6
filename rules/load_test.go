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
	"github.com/kube-devops/kube-devops/rules/golden"
)

// TestLoadErrors loads each file of testdata/bad and compares all that is said about them with messages.txt beside
// them, which UPDATE_GOLDEN=1 writes again.
func TestLoadErrors(t *testing.T) {
	compareMistakes(t, "testdata/bad", func(name string, text []byte) error {
		table, err := rules.Load(name, text)
		if table != nil {
			t.Errorf("%s: loaded as %v", name, table)
		}
		return err
	})
}

// waivedTable is a table with checks to waive and a waiver of its own.
const waivedTable = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: waived}
checks:
  - {id: latest_tag, weight: 5, forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}}
  - {id: missing_liveness, weight: 3, forEach: spec.containers, violation: {path: livenessProbe, operator: absent}}
  - {id: no_name, weight: 1, violation: {path: metadata.name, operator: absent}}
waivers:
  - {id: of-the-table, reason: The vendor has no other image (J. Doe), expires: 2030-06-30, check: latest_tag, pod: vendor}
`

// TestWaiverErrors is the same for files of waivers.
func TestWaiverErrors(t *testing.T) {
	table := load(t, waivedTable)
	compareMistakes(t, "testdata/badwaivers", func(name string, text []byte) error {
		with, err := table.WithWaivers(name, text)
		if with != nil {
			t.Errorf("%s: loaded as %v", name, with)
		}
		return err
	})
	if len(table.Waivers()) != 1 {
		t.Errorf("the table itself has %d waivers by now", len(table.Waivers()))
	}
}

// compareMistakes loads each file of a folder and compares all that is said about them with messages.txt beside them.
func compareMistakes(t *testing.T, folder string, load func(name string, text []byte) error) {
	t.Helper()
	files, err := filepath.Glob(folder + "/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found no bad files: %v", err)
	}
	var messages strings.Builder
	for _, file := range files {
		name := filepath.Base(file)
		text := readFile(t, file)
		err := load(name, text)
		var errs rules.LoadErrors
		if !errors.As(err, &errs) {
			t.Errorf("%s: error %v, want its errs", name, err)
			continue
		}
		line, lines := 0, strings.Count(string(text), "\n")
		for _, m := range errs {
			if m.File != name || m.Line < line || m.Line > lines || strings.ContainsAny(m.Error(), "\n\r\x1b") {
				t.Errorf("%s: error %q is not one line, with its file and its line, in the order of the lines", name, m.Error())
			}
			line = m.Line
		}
		messages.WriteString(err.Error() + "\n")
	}
	golden.Compare(t, folder+"/messages.txt", messages.String())
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
	if diff := cmp.Diff(want, rowsOf(loadErrors(t, string(text)))); diff != "" {
		t.Errorf("errs (-want +got):\n%s", diff)
	}
}

// TestLoadReportsEachErrorOnce checks that one error does not cause others.
func TestLoadReportsEachErrorOnce(t *testing.T) {
	text := readFile(t, "testdata/bad/several.yaml")
	var got []string
	for _, m := range loadErrors(t, string(text)) {
		got = append(got, fmt.Sprintf("%d %s", m.Line, m.At))
	}
	want := []string{
		"1 ", "5 ", "7 ", "9 ", "10 ",
		"13 check latest_tag", "14 check latest_tag", "15 check latest_tag", "16 check latest_tag",
		"17 check 2", "20 check 2", "22 check 2", "23 check 2",
		"24 check latest_tag", "26 check latest_tag",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errs (-want +got):\n%s", diff)
	}
}

// TestLoadReportsAHundredErrors has more errors than are kept.
func TestLoadReportsAHundredErrors(t *testing.T) {
	text := "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: bad}\nchecks:\n"
	for i := range 103 {
		text += fmt.Sprintf("  - {id: c%d, wight: 1, weight: 1, violation: {path: a, operator: exists}}\n", i)
	}
	errs := loadErrors(t, text)
	if len(errs) != 101 {
		t.Fatalf("%d errs, want 101", len(errs))
	}
	const unknown = `: unknown field "wight" in a check (did you mean "weight"?); known fields: category, description, enforce, forEach, id, message, remediation, severity, showValue, violation, weight, when`
	for i, want := range map[int]string{0: "f:5: check c0" + unknown, 99: "f:104: check c99" + unknown, 100: "f:104: 3 more errors are not shown"} {
		if got := errs[i].Error(); got != want {
			t.Errorf("error %d:\n%s\nwant:\n%s", i, got, want)
		}
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
			want: "f: the file is larger than 1048576 bytes",
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
			want: "f:5: checks must have 1 to 500 entries, got 501",
		},
		{
			name: "predicates of a check", bound: 200,
			table: func(n int) string {
				return withViolation("{all: [" + strings.Repeat(leaf+", ", n-1) + "]}")
			},
			want: "f:5: check c: a condition may have at most 200 predicates",
		},
		{
			name: "depth of predicates", bound: 16,
			table: func(n int) string {
				return withViolation(strings.Repeat("{not: ", n-1) + leaf + strings.Repeat("}", n-1))
			},
			want: "f:5: check c: predicates may be nested at most 16 deep",
		},
		{
			name: "predicates of a skip", bound: 200,
			table: func(n int) string {
				return withViolation(leaf) + "pods: {skip: [{reason: r, when: {all: [" + strings.Repeat(leaf+", ", n-1) + "]}}]}\n"
			},
			want: "f:6: skip 1: a condition may have at most 200 predicates",
		},
		{
			name: "depth of predicates of a when", bound: 16,
			table: func(n int) string {
				return strings.Replace(withViolation(leaf), "weight: 1", "weight: 1, when: "+strings.Repeat("{not: ", n-1)+leaf+strings.Repeat("}", n-1), 1)
			},
			want: "f:5: check c: predicates may be nested at most 16 deep",
		},
		{
			name: "letters of a reason", bound: 63,
			table: func(n int) string {
				return withViolation(leaf) + "pods: {skip: [{reason: " + strings.Repeat("r", n) + ", when: " + leaf + "}]}\n"
			},
			want: `f:6: skip 1: reason "` + strings.Repeat("r", 64) + `" must be 1 to 63 lower-case letters, digits and underscores, starting with a letter`,
		},
		{
			name: "waivers", bound: 1000,
			table: func(n int) string {
				text := withViolation(leaf) + "waivers:\n"
				for i := range n {
					text += fmt.Sprintf("  - {id: w%d, reason: r, expires: 2030-12-31, check: c}\n", i)
				}
				return text
			},
			want: "f:7: there are 1001 waivers; at most 1000 are allowed",
		},
		{
			name: "letters of the id of a waiver", bound: 63,
			table: func(n int) string {
				return withViolation(leaf) + "waivers: [{id: " + strings.Repeat("w", n) + ", reason: r, expires: 2030-12-31, check: c}]\n"
			},
			want: `f:6: waiver 1: id "` + strings.Repeat("w", 64) + `" must be 1 to 63 lower-case letters, digits and dashes, not starting or ending with a dash`,
		},
		{
			name: "letters of a tag", bound: 128,
			table: func(n int) string {
				return withViolation("{path: a, operator: imageTag, value: " + strings.Repeat("a", n) + "}")
			},
			want: "f:5: check c: value of imageTag must be an image tag: at most 128 letters, digits, _ . and -, not starting with a dot or a dash",
		},
		{
			name: "digits of a quantity", bound: 64,
			table: func(n int) string {
				return withViolation("{path: a, operator: quantityLessThan, value: " + strings.Repeat("5", n) + "k}")
			},
			want: "f:5: check c: value of quantityLessThan is too big to compare: a quantity may have at most 64 digits and an exponent of 100",
		},
		{
			name: "exponent of a quantity", bound: 100,
			table: func(n int) string {
				return withViolation(fmt.Sprintf("{any: [{path: a, operator: quantityLessThan, value: 1e%d}, {path: a, operator: quantityLessThan, value: 1e-100}]}", n))
			},
			want: "f:5: check c: value of quantityLessThan is too big to compare: a quantity may have at most 64 digits and an exponent of 100",
		},
		{
			name: "length", bound: 1<<31 - 1,
			table: func(n int) string { return withViolation(fmt.Sprintf("{path: a, operator: length, value: %d}", n)) },
			want:  "f:5: check c: value of length must be an integer of 0 or greater, or {min: N, max: N}",
		},
		{
			name: "letters of the name", bound: 63,
			table: func(n int) string {
				return fmt.Sprintf(head, strings.Repeat("a", n)) + "  - {id: c, weight: 1, violation: " + leaf + "}\n"
			},
			want: `f:3: metadata.name "` + strings.Repeat("a", 64) + `" must be 1 to 63 lower-case letters, digits and dashes, not starting or ending with a dash`,
		},
		{
			name: "letters of an id", bound: 63,
			table: func(n int) string {
				return strings.Replace(withViolation(leaf), "id: c", "id: "+strings.Repeat("a", n), 1)
			},
			want: `f:5: check 1: id "` + strings.Repeat("a", 64) + `" must be 1 to 63 lower-case letters, digits and underscores, starting with a letter`,
		},
		{
			name: "weight", bound: 1000,
			table: func(n int) string {
				return strings.Replace(withViolation(leaf), "weight: 1", fmt.Sprint("weight: ", n), 1)
			},
			want: "f:5: check c: weight must be an integer from 1 to 1000, got 1001",
		},
		{
			name: "bytes of a path", bound: 256,
			table: func(n int) string { return withViolation("{path: " + strings.Repeat("a", n) + ", operator: exists}") },
			want:  `f:5: check c: path "` + strings.Repeat("a", 257) + `" is 257 bytes long; at most 256 are allowed`,
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
			want: `f:5: check c: path "a.` + strings.Repeat("9", 19) + `" has the index ` + strings.Repeat("9", 19) + `: an index may have at most 18 digits`,
		},
		{
			name: "entries of a list", bound: 1000,
			table: func(n int) string {
				return withViolation("{path: a, operator: in, value: [" + strings.Repeat("x, ", n) + "]}")
			},
			want: "f:5: check c: value of in has 1001 entries; at most 1000 are allowed",
		},
		{
			name: "bytes of an expression", bound: 1024,
			table: func(n int) string {
				return withViolation("{path: a, operator: matches, value: " + strings.Repeat("a", n) + "}")
			},
			want: "f:5: check c: value of matches is an expression of 1025 bytes; at most 1024 are allowed",
		},
		{
			name: "repeats of an expression", bound: 100,
			table: func(n int) string {
				return withViolation(fmt.Sprintf(`{path: a, operator: matches, value: "(ab){%d}"}`, n))
			},
			want: "f:5: check c: value of matches repeats 101 times; at most 100 are allowed",
		},
		{
			name: "instructions of an expression", bound: 1998,
			// (ab){50} is 100 instructions. Beside the letters there are two for the start, a match and a failure.
			table: func(n int) string {
				expression := strings.Repeat("(?:ab){50}", n/100) + strings.Repeat("c", n%100)
				return withViolation(fmt.Sprintf(`{path: a, operator: matches, value: "%s"}`, expression))
			},
			want: "f:5: check c: value of matches compiles to 2001 instructions; at most 2000 are allowed",
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

// TestWaiverBound counts the waivers of a table and of files beside it together.
func TestWaiverBound(t *testing.T) {
	file := func(name string, n int) []byte {
		text := "apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers:\n"
		for i := range n {
			text += fmt.Sprintf("  - {id: %s-%d, reason: r, expires: 2030-12-31, check: latest_tag}\n", name, i)
		}
		return []byte(text)
	}
	table := load(t, waivedTable)
	with, err := table.WithWaivers("a", file("a", 998))
	if err != nil {
		t.Fatal(err)
	}
	full, err := with.WithWaivers("b", file("b", 1))
	if err != nil || len(full.Waivers()) != 1000 {
		t.Errorf("error %v of 1000 waivers", err)
	}
	if _, err := with.WithWaivers("b", file("b", 2)); err == nil || err.Error() != "b:4: there are 1001 waivers; at most 1000 are allowed" {
		t.Errorf("error %v of 1001 waivers", err)
	}
	if _, err := with.WithWaivers("b", file("a", 1)); err == nil || err.Error() != "b:4: waiver a-0: another waiver has this id" {
		t.Errorf("error %v of an id that another file has", err)
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

func loadErrors(t *testing.T, text string) rules.LoadErrors {
	t.Helper()
	_, err := rules.Load("f", []byte(text))
	var errs rules.LoadErrors
	if !errors.As(err, &errs) {
		t.Fatalf("loaded with error %v, want errs", err)
	}
	return errs
}

func rowsOf(errs rules.LoadErrors) []string {
	var rows []string
	for _, m := range errs {
		rows = append(rows, m.At)
	}
	return rows
}
