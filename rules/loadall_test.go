package rules_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
)

// layer is a table with the head that each has. Its first line is line 4.
func layer(name, text string) rules.Source {
	return rules.Source{File: name + ".yaml", Text: []byte("apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: " + name + "}\n" + text)}
}

const baseLayer = `namespaces: {include: ["*"], exclude: [a]}
pods: {skip: [{reason: job, when: {path: job, operator: exists}}, {reason: mirror, when: {path: mirror, operator: exists}}]}
checks:
  - {id: one, description: One, remediation: Do, severity: high, weight: 1, forEach: spec.containers, violation: {path: image, operator: absent}}
  - {id: two, weight: 2, when: {path: x, operator: exists}, violation: {path: two, operator: absent}}
  - {id: three, weight: 3, violation: {path: three, operator: absent}}
grades: [{name: Good, min: 50}, {name: Bad, min: 0}]
waivers: [{id: w1, reason: r, expires: 2030-01-01, check: [one, two]}]
`

// TestLoadAll has what each form of an extending table means, by an equivalent table that extends nothing.
func TestLoadAll(t *testing.T) {
	tests := []struct {
		name   string
		upper  []string
		change []string // old and new texts in baseLayer
	}{
		{"nothing", []string{""}, nil},
		{"a field", []string{"checks: [{id: one, weight: 10}]\n"}, []string{"weight: 1,", "weight: 10,"}},
		{"the later wins", []string{"checks: [{id: one, weight: 10}]\n", "checks: [{id: one, weight: 7}, {id: two, weight: 9}]\n"},
			[]string{"weight: 1,", "weight: 7,", "weight: 2,", "weight: 9,"}},
		{"null", []string{"checks: [{id: one, description: null, remediation: null, severity: null, forEach: null, when: null}, {id: two, when: ~}]\n"},
			[]string{"description: One, remediation: Do, severity: high, ", "", "forEach: spec.containers, ", "", "when: {path: x, operator: exists}, ", ""}},
		{"a new check", []string{"checks: [{id: four, weight: 4, forEach: null, violation: {path: four, operator: absent}}, {id: one, weight: 10}]\n"},
			[]string{"weight: 1,", "weight: 10,", "three, operator: absent}}\n", "three, operator: absent}}\n  - {id: four, weight: 4, violation: {path: four, operator: absent}}\n"}},
		{"disable", []string{"disable: [three, 'skip:job', 'skip:mirror']\n"},
			[]string{"  - {id: three, weight: 3, violation: {path: three, operator: absent}}\n", "",
				"pods: {skip: [{reason: job, when: {path: job, operator: exists}}, {reason: mirror, when: {path: mirror, operator: exists}}]}\n", ""}},
		{"disable twice", []string{"disable: [three]\n", "disable: [three]\n"}, []string{"  - {id: three, weight: 3, violation: {path: three, operator: absent}}\n", ""}},
		{"define anew", []string{"disable: [one]\nchecks: [{id: one, weight: 5, violation: {path: x, operator: exists}}]\n"},
			[]string{"{id: one, description: One, remediation: Do, severity: high, weight: 1, forEach: spec.containers, violation: {path: image, operator: absent}}",
				"{id: one, weight: 5, violation: {path: x, operator: exists}}"}},
		{"define anew above", []string{"disable: [one]\n", "checks: [{id: one, weight: 5, violation: {path: x, operator: exists}}]\n"},
			[]string{"{id: one, description: One, remediation: Do, severity: high, weight: 1, forEach: spec.containers, violation: {path: image, operator: absent}}",
				"{id: one, weight: 5, violation: {path: x, operator: exists}}"}},
		{"skips by reason", []string{"pods: {skip: [{reason: new, when: {path: new, operator: exists}}, {reason: job, when: {path: other, operator: exists}}]}\n"},
			[]string{"{path: job, operator: exists}", "{path: other, operator: exists}", "{path: mirror, operator: exists}}", "{path: mirror, operator: exists}}, {reason: new, when: {path: new, operator: exists}}"}},
		{"no skips", []string{"pods: {skip: null}\n"}, []string{"pods: {skip: [{reason: job, when: {path: job, operator: exists}}, {reason: mirror, when: {path: mirror, operator: exists}}]}\n", ""}},
		{"exclude also", []string{"namespaces: {excludeAlso: [b, a]}\n", "namespaces: {excludeAlso: [c]}\n"}, []string{"exclude: [a]", "exclude: [a, b, c]"}},
		{"exclude", []string{"namespaces: {excludeAlso: [b]}\n", "namespaces: {exclude: [c], excludeAlso: [d]}\n"}, []string{"exclude: [a]", "exclude: [c, d]"}},
		{"exclude by default", []string{"namespaces: {exclude: null}\n"}, []string{", exclude: [a]", ""}},
		{"include", []string{"namespaces: {include: [x]}\n"}, []string{`include: ["*"]`, "include: [x]"}},
		{"include all", []string{"namespaces: {include: null}\n"}, []string{`include: ["*"], `, ""}},
		{"namespaces by default", []string{"namespaces: null\n"}, []string{`namespaces: {include: ["*"], exclude: [a]}`, ""}},
		{"grades", []string{"grades: [{name: All, min: 0}]\n"}, []string{"[{name: Good, min: 50}, {name: Bad, min: 0}]", "[{name: All, min: 0}]"}},
		{"grades by default", []string{"grades: null\n"}, []string{"grades: [{name: Good, min: 50}, {name: Bad, min: 0}]\n", ""}},
		{"waivers", []string{"waivers: [{id: w2, reason: r, expires: 2031-01-01, check: three}]\n"}, []string{"two]}]", "two]}, {id: w2, reason: r, expires: 2031-01-01, check: three}]"}},
		{"no waivers", []string{"waivers: null\n"}, []string{"waivers: [{id: w1, reason: r, expires: 2030-01-01, check: [one, two]}]\n", ""}},
		{"a waiver of a disabled check", []string{"disable: [two]\n"},
			[]string{"  - {id: two, weight: 2, when: {path: x, operator: exists}, violation: {path: two, operator: absent}}\n", "", "[one, two]}", "[one]}"}},
		{"a waiver of disabled checks", []string{"disable: [one, two]\n"},
			[]string{"  - {id: one, description: One, remediation: Do, severity: high, weight: 1, forEach: spec.containers, violation: {path: image, operator: absent}}\n", "",
				"  - {id: two, weight: 2, when: {path: x, operator: exists}, violation: {path: two, operator: absent}}\n", "",
				"waivers: [{id: w1, reason: r, expires: 2030-01-01, check: [one, two]}]\n", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sources := []rules.Source{layer("base", baseLayer)}
			for _, text := range tt.upper {
				sources = append(sources, layer("upper", text))
			}
			got, err := rules.LoadAll(sources...)
			if err != nil {
				t.Fatal(err)
			}
			flat := baseLayer
			for i := 0; i < len(tt.change); i += 2 {
				if !strings.Contains(flat, tt.change[i]) {
					t.Fatalf("the base has no %q", tt.change[i])
				}
				flat = strings.ReplaceAll(flat, tt.change[i], tt.change[i+1])
			}
			want := load(t, string(layer("upper", flat).Text))
			if diff := cmp.Diff(string(want.YAML()), string(got.YAML())); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, err := rules.Load("shown", got.YAML()); err != nil {
				t.Errorf("the table as it is shown does not load: %v", err)
			}
		})
	}
}

// TestLoadAllErrors checks that each message names the file and the line of what is wrong.
func TestLoadAllErrors(t *testing.T) {
	tests := []struct{ name, lower, upper, want string }{
		{"a check without a violation", baseLayer, "checks:\n  - {id: thre, weight: 3}\n",
			`upper.yaml:5: check thre: missing violation: no table that this one extends has the check (did you mean "three"?)`},
		{"a word of another tool", baseLayer, "checks:\n  - {id: new, weight: 1, violation: {or: []}}\n", `upper.yaml:5: check new: unknown field "or" in a predicate (did you mean "any"?)`},
		{"a check without both", baseLayer, "checks:\n  - {id: new}\n", "upper.yaml:5: check new: missing weight and violation: no table that this one extends has the check"},
		{"null for forEach of a leaf without a path", "checks: [{id: one, weight: 1, forEach: a, violation: {operator: equals, value: x}}]\n", "checks:\n  - {id: one, forEach: null}\n",
			`base.yaml:4: check one: missing field "path" in a predicate`},
		{"null for forEach of some without in", "checks: [{id: one, weight: 1, forEach: a, when: {some: {is: {operator: exists}}}, violation: {path: x, operator: exists}}]\n",
			"checks:\n  - {id: one, forEach: null}\n", `base.yaml:4: check one: missing field "in" in some; it may only be left out where the subject is an element of a list`},
		{"mistakes in what is replaced", `namespaces: {exclude: "kube-*", include: []}
checks:
  - {id: one, wieght: 1, weight: 99999, violation: {operator: exits}}
  - {id: two, severity: none, weight: 1, violation: {path: a, operator: exists}}
grades: [{nam: x}]
lists: {l: v}
waivers: [{id: w, reason: r, expires: 2030-01-01, check: tow}]
pods: {skip: [{reason: J, when: {path: a, operator: exists}}]}
`, `disable: [one, "skip:J"]
namespaces: {exclude: [a], include: null}
checks: [{id: two, severity: low}]
grades: [{name: All, min: 0}]
lists: {l: [v]}
waivers: null
`, `base.yaml:4: namespaces.exclude must be a list
base.yaml:4: namespaces.include must not be empty; omit it to include all namespaces
base.yaml:6: check one: unknown field "wieght" in a check (did you mean "weight"?)
base.yaml:6: check one: weight must be an integer from 1 to 1000, got 99999
base.yaml:6: check one: missing field "path" in a predicate
base.yaml:6: check one: unknown operator "exits" (did you mean "exists"?)
base.yaml:7: check two: severity must be critical, high, medium or low, got the string "none"
base.yaml:8: unknown field "nam" in a grade (did you mean "name"?)
base.yaml:8: missing field "name" in a grade
base.yaml:8: missing field "min" in a grade
base.yaml:9: list l: the list must be a list of at least one string, number or boolean
base.yaml:10: waiver w: unknown check "tow"
base.yaml:11: skip 1: reason "J" must be 1 to 63 lower-case letters, digits and underscores, starting with a letter`},
		{"a disabled check", baseLayer, "disable: [one]\nchecks:\n  - {id: one, weight: 3}\n",
			"upper.yaml:6: check one: missing violation: the check is disabled in line 4, so it must be defined anew"},
		{"null for a weight", baseLayer, "checks:\n  - {id: one, weight: null}\n", "upper.yaml:5: check one: weight must be an integer from 1 to 1000, got an empty value"},
		{"null for an id", baseLayer, "checks:\n  - {id: null, weight: 1}\n", "upper.yaml:5: check null: id must be a string in quotes, got an empty value\nupper.yaml:5: check null: missing field \"violation\" in a check"},
		{"null for an unknown field", baseLayer, "checks:\n  - {id: one, weigth: null}\nfoo: null\n",
			`upper.yaml:5: check one: unknown field "weigth" in a check (did you mean "weight"?)` + "\n" + `upper.yaml:6: unknown field "foo" in the table`},
		{"null for checks", baseLayer, "checks:\n", "upper.yaml:4: checks must be a list"},
		{"a wrong field", baseLayer, "checks:\n  - {id: one, weight: 0}\n", "upper.yaml:5: check one: weight must be an integer from 1 to 1000, got 0"},
		{"a duplicate check", baseLayer, "checks:\n  - {id: one, weight: 3}\n  - {id: one, weight: 4}\n", "upper.yaml:6: check one: duplicate id; the first one is in line 5"},
		{"duplicate fields", baseLayer, "checks:\n  - {id: one, weight: 3, weight: 4}\nnamespaces: {exclude: [], exclude: []}\ngrades: null\ngrades: null\n",
			"upper.yaml:5: check one: duplicate field \"weight\"\nupper.yaml:6: duplicate field \"exclude\"\nupper.yaml:8: duplicate field \"grades\""},
		{"a broken field below", "checks:\n  - {id: one, weight: 0, violation: {path: a, operator: exists}}\n", "checks: [{id: one, severity: low}]\n",
			"base.yaml:5: check one: weight must be an integer from 1 to 1000, got 0"},
		{"both", "checks:\n  - {id: one, weight: 0, violation: {path: a, operator: exists}}\n", "checks: [{id: one, severity: none}]\n",
			"base.yaml:5: check one: weight must be an integer from 1 to 1000, got 0\nupper.yaml:4: check one: severity must be critical, high, medium or low, got the string \"none\""},
		{"not YAML below", "checks: [\n", "", "base.yaml:4: not valid YAML: did not find expected node content"},
		{"empty below", "\x00", "", "base.yaml: not valid YAML: control characters are not allowed"},
		{"disable", baseLayer, "disable: [fuor, job, 'skip:jub', one, one]\n", `upper.yaml:4: disable: no table that this one extends has check "fuor"` + "\n" +
			`upper.yaml:4: disable: unknown check "job" (for the entry of pods.skip, write "skip:job")` + "\n" +
			`upper.yaml:4: disable: no table that this one extends has a skip with the reason "jub" (did you mean "job"?)` + "\n" + `upper.yaml:4: disable: duplicate entry "one"`},
		{"disable a text", baseLayer, "disable: one\n", "upper.yaml:4: disable must be a list"},
		{"disable below", "disable: [one]\nchecks: [{id: one, weight: 1, violation: {path: a, operator: exists}}]\n", "", `base.yaml:4: disable: unknown "one": the table extends no other table`},
		{"too many checks", baseLayer, "checks: [" + strings.Repeat("{id: one}, ", 501) + "]\n", "upper.yaml:4: checks must have at most 500 entries, got 501"},
		{"disable everything", baseLayer, "disable: [one, two, three]\n", "upper.yaml:4: checks must have 1 to 500 entries, got 0"},
		{"waivers", baseLayer, "waivers:\n  - {id: w1, reason: r, expires: 2030-01-01, check: one}\n", "upper.yaml:5: waiver w1: duplicate id; the first one is in line 11 of base.yaml"},
		{"an unknown check of a waiver", baseLayer, "waivers:\n  - {id: w2, reason: r, expires: 2030-01-01, check: fuor}\n", `upper.yaml:5: waiver w2: unknown check "fuor"`},
		{"a duplicate field below", "kind: PolicyTable\n" + baseLayer, "", "base.yaml:4: duplicate field \"kind\""},
		{"mappings", baseLayer, "namespaces: []\npods: 5\nchecks: {}\n", "upper.yaml:4: namespaces must be a mapping\nupper.yaml:5: pods must be a mapping\nupper.yaml:6: checks must be a list"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := rules.LoadAll(layer("base", tt.lower), layer("upper", tt.upper))
			var errs rules.LoadErrors
			if !errors.As(err, &errs) {
				t.Fatalf("error %v", err)
			}
			var got []string
			for _, e := range errs {
				line, _, _ := strings.Cut(e.Error(), "; known ")
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestLowerTables: a table with an error is not used, also where a later table replaces the part with the error.
func TestLowerTables(t *testing.T) {
	base, many := string(layer("base", baseLayer).Text), string(layer("base", "checks:\n").Text)
	for i := range 150 {
		many += fmt.Sprintf("  - {id: c%d, weight: 0, violation: {path: a, operator: exists}}\n", i)
	}
	tests := []struct{ name, lower, want string }{
		{"another version", strings.Replace(base, "v1", "v2", 1), "base.yaml:1: apiVersion must be kube-devops.io/v1"},
		{"an unknown field", strings.Replace(base, "{name:", "{title:", 1),
			`base.yaml:3: unknown field "title" in metadata; known fields: name` + "\n" + `base.yaml:3: missing field "name" in metadata`},
		{"a wrong name", strings.Replace(base, "name: base", "name: B", 1),
			`base.yaml:3: metadata.name "B" must be 1 to 63 lower-case letters, digits and dashes, not starting or ending with a dash`},
		{"an error is counted once", many, "base.yaml:104: 50 more errors are not shown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := rules.LoadAll(rules.Source{File: "base.yaml", Text: []byte(tt.lower)}, layer("middle", ""), layer("upper", ""))
			if err == nil || !strings.HasSuffix("\n"+err.Error(), "\n"+tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// TestFormerIDs: what a built-in table once called a check still works in the tables, the waivers and the flags that use it.
func TestFormerIDs(t *testing.T) {
	shipped := layer("base", baseLayer)
	shipped.Renamed, shipped.Retired = map[string]string{"uno": "one", "due": "two"}, []string{"zero", "nought"}
	table, err := rules.LoadAll(shipped, layer("upper", `disable: [due, zero]
checks:
  - {id: uno, weight: 10}
  - {id: nought, weight: 5}
waivers:
  - {id: w2, reason: r, expires: 2030-01-01, check: uno}
  - {id: w3, reason: r, expires: 2030-01-01, check: [zero, due]}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range table.Checks() {
		got = append(got, fmt.Sprintf("%s=%d", c.ID, c.Weight))
	}
	if diff := cmp.Diff([]string{"one=10", "three=3"}, got); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	want := `upper.yaml:4: disable: check due is now called two
upper.yaml:4: disable: check zero was retired from the table that it belonged to; remove the entry
upper.yaml:6: check uno: the check is now called one
upper.yaml:7: check nought: the check was retired from the table that it belonged to; this entry has no effect
base.yaml:11: waiver w1: check two is disabled: the waiver accepts no violation of it
upper.yaml:9: waiver w2: check uno is now called one
upper.yaml:10: waiver w3: check zero was retired from the table that it belonged to
upper.yaml:10: waiver w3: check due is now called two
upper.yaml:10: waiver w3: check two is disabled: the waiver accepts no violation of it`
	if diff := cmp.Diff(want, table.Warnings().Error()); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if got := table.Waivers()[1].CheckIDs; !slices.Equal(got, []string{"one"}) {
		t.Errorf("waiver w2 is about %v", got)
	}
	if strings.Contains(string(table.YAML()), "w3") {
		t.Error("a waiver of no check is shown, and would be about all")
	}
	subset, err := table.Subset("uno")
	if err != nil || len(subset.Checks()) != 1 || subset.Checks()[0].ID != "one" {
		t.Errorf("the subset has %v, error %v", subset, err)
	}
	for id, want := range map[string]string{"due": `policy upper disables check "two"`, "zero": `policy upper no longer has check "zero"`} {
		if _, err := table.Subset(id); err == nil || err.Error() != want {
			t.Errorf("subset %s: error %v, want %s", id, err, want)
		}
	}
	with, err := table.WithWaivers("w.yaml", []byte("apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers: [{id: w9, reason: r, expires: 2030-01-01, check: uno}]\n"))
	if err != nil || !slices.Equal(with.Waivers()[3].CheckIDs, []string{"one"}) || len(with.Warnings()) != len(table.Warnings())+1 {
		t.Errorf("with waivers: error %v", err)
	}
	pod := []byte(`{"spec":{"containers":[{"name":"c"}]},"three":1}`)
	verdict, err := table.Evaluate(pod)
	if err != nil || len(verdict.Violations) != 1 || verdict.Violations[0].Waiver == nil || verdict.Violations[0].Waiver.ID != "w1" && verdict.Violations[0].Waiver.ID != "w2" {
		t.Errorf("verdict %+v, error %v", verdict, err)
	}
	// A table that stands alone, as with --policy NAME.
	alone, err := rules.LoadAll(shipped)
	if err != nil || alone.Resolve("uno") != "one" || alone.Resolve("other") != "other" {
		t.Errorf("alone: error %v", err)
	}
	if former := alone.Former("one"); !slices.Equal(former, []string{"uno"}) || alone.Former("other") != nil {
		t.Errorf("former ids of one: %v", former)
	}
}
