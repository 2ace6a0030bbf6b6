package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
)

const listsHead = "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: lists}\n"

// TestLists uses one list by all operators that take one.
func TestLists(t *testing.T) {
	table := load(t, listsHead+`lists: {allowed: [ghcr.io/org, docker.io, 5]}
checks:
  - {id: in, weight: 1, violation: {path: v, operator: in, value: {list: allowed}}}
  - {id: not_in, weight: 1, violation: {path: v, operator: notIn, value: {list: allowed}}}
  - {id: one_of, weight: 1, violation: {path: v, operator: oneOf, value: {list: allowed}}}
`)
	for value, want := range map[string]string{`"docker.io"`: "T.T", `5`: "T.T", `["x",5]`: ".TT", `"x"`: ".T.", `null`: ".T."} {
		if got := holds(t, table, `{"v":`+value+`}`); got != want {
			t.Errorf("%s: %s, want %s", value, got, want)
		}
	}
	if got := table.Checks()[1].Violation(); got != "v is not in the list allowed" {
		t.Errorf("described as %q", got)
	}
	if text := string(table.YAML()); !strings.Contains(text, "  allowed: [ghcr.io/org, docker.io, 5]\n") || !strings.Contains(text, "value: {list: allowed}") {
		t.Errorf("encoded without its list or the references to it:\n%s", text)
	}
}

// TestListsOfExtendedTables replaces and removes lists of a table that is extended: its checks use the new ones.
func TestListsOfExtendedTables(t *testing.T) {
	base := rules.Source{File: "base.yaml", Text: []byte(listsHead + `lists: {registries: [ghcr.io], unused: [a]}
checks: [{id: c, weight: 1, violation: {not: {path: image, operator: imageFrom, value: {list: registries}}}}]
`)}
	merged := func(text string) (*rules.Table, error) {
		return rules.LoadAll(base, rules.Source{File: "team.yaml", Text: []byte(listsHead + text)})
	}
	table, err := merged("lists: {registries: [registry.example.com], unused: null}\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := holds(t, table, `{"image":"ghcr.io/app"}`) + holds(t, table, `{"image":"registry.example.com/app"}`); got != "T." {
		t.Errorf("%s, want the new list to count", got)
	}
	if strings.Contains(string(table.YAML()), "unused") {
		t.Errorf("the list that was removed is still there:\n%s", table.YAML())
	}
	_, err = merged("lists: {registries: [ghcr.io, 5]}\n")
	if want := "base.yaml:5: check c: list registries: value of imageFrom entry 2 must be a string in quotes, got 5"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	_, err = merged("lists: {registries: ghcr.io}\n")
	if want := "team.yaml:4: list registries: the list must be a list of at least one string, number or boolean"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	if _, err = merged("lists: null\n"); err == nil || !strings.Contains(err.Error(), `base.yaml:5: check c: value of imageFrom: unknown list "registries": the table has no lists`) {
		t.Errorf("error %v, want an unknown list", err)
	}
}

// TestManyUsesOfList has a long list and as many predicates on it as a table may have.
func TestManyUsesOfList(t *testing.T) {
	var b strings.Builder
	b.WriteString(listsHead + "lists:\n  long: [")
	for i := range 1000 {
		fmt.Fprintf(&b, "r%d.example.com, ", i)
	}
	b.WriteString("]\nchecks:\n")
	const leaf = "{path: a, operator: in, value: {list: long}}"
	for i := range 100 {
		fmt.Fprintf(&b, "- {id: c%d, weight: 1, violation: {any: [%s%s]}}\n", i, strings.Repeat(leaf+", ", 150), leaf)
	}
	var table *rules.Table
	if bytes := allocated(func() { table = load(t, b.String()) }); bytes > 256*megabyte {
		t.Errorf("%d bytes are allocated, want at most 256 MB", bytes)
	}
	if diff := cmp.Diff(strings.Repeat("T", 100), holds(t, table, `{"a":"r999.example.com"}`)); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
}

// TestListMistakes: a mistake in the lists, or in how a predicate names one, is one error.
func TestListMistakes(t *testing.T) {
	const uses = "\nchecks:\n  - {id: c, weight: 1, violation: {path: image, operator: in, value: "
	for _, tt := range []struct{ name, lists, value, want string }{
		{"a bad name", "{Our-Registries: [a]}", "{list: our_registries}", `the name "Our-Registries" must be`},
		{"not a mapping", "[a]", "{list: our_registries}", "lists must be a mapping"},
		{"the bare name", "{our_registries: [a]}", "our_registries", "must be a list (did you mean {list: our_registries}?)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			errs := loadErrors(t, "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\nlists: "+tt.lists+uses+tt.value+"}}\n")
			if len(errs) != 1 || !strings.Contains(errs[0].Msg, tt.want) {
				t.Errorf("%v, want one error with %q", errs, tt.want)
			}
		})
	}
}
