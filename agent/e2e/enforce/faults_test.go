package enforce_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A plantedFault breaks one expression of an exported policy.
type plantedFault struct {
	name             string
	check            string // of testdata/forms.yaml, the only one that the policy has
	variable         string // that is broken; empty: that of the check; "namespaces" is a match condition
	old, replacement string // all occurrences are replaced
}

var plantedFaults = []plantedFault{
	{"another operator", "op_has_prefix", "", "startsWith(", "contains("},
	{"a value is missing in a list", "op_in", "", `, "IfNotPresent"`, ""},
	{"the comparison is the other way round", "op_less", "", " < ", " > "},
	{"a bound is off by one", "path_count", "", "> 1", ">= 1"},
	{"a quantity is compared the other way round", "op_quantity_greater", "", "isGreaterThan", "isLessThan"},
	{"a quantity has another unit", "op_quantity_less", "", `quantity("0.5")`, `quantity("5")`},
	{"the bound on the length of an image is missing", "op_image_tag", "", "255", "1000"},
	{"an absent field counts as present", "op_not_equals", "", "orValue(true)", "orValue(false)"},
	{"some is every", "some_list", "", ".exists(", ".all("},
	{"every is some", "every_list", "", ".all(", ".exists("},
	{"the containers of one list are missing", "op_exists", "", "initContainers", "ephemeralContainers"},
	{"the setting of the pod is not read", "path_list", "", ".or(pod.?spec.?securityContext.?runAsUser)", ""},
	{"a filter selects by another name", "path_first_of", "", `optional.of("web")`, `optional.of("site")`},
	{"an alternative is a conjunction", "form_any", "", " || ", " && "},
	{"a negation is missing", "not_some", "", "!(", "("},
	{"a condition does not apply", "form_when_root", "", "hostNetwork", "hostNetworks"},
	{"sidecars are not long running", "each_long_running", "", `v4.?restartPolicy == optional.of("Always")`, "false"},
	{"a waiver accepts more", "op_image_tag", "", `startsWith("p")`, `startsWith("")`},
	{"a waiver accepts nothing", "each_main", "", "7$", "8$"},
	{"a skip is missing", "op_image_from", "skipped", `"windows"`, `"Windows"`},
	{"the names of the subjects are missing", "each_capability", "failed", `(size(v) > 253 ? v.substring(0, 253) + "..." : v)`, `""`},
	{"the policy matches no namespace", "op_equals", "namespaces", "request.namespace ", `"x" `},
}

// broken returns the exported policy with the fault.
func (f plantedFault) broken(t *testing.T, exported string) string {
	t.Helper()
	variable := f.variable
	if variable == "" {
		variable = "check_" + f.check
	}
	var stream strings.Builder
	found := false
	for _, o := range documents(t, exported) {
		spec := o["spec"].(object)
		for _, v := range slices.Concat(list(spec["variables"]), list(spec["matchConditions"])) {
			v := v.(object)
			if text := v["expression"].(string); v["name"] == variable && strings.Contains(text, f.old) {
				v["expression"] = strings.ReplaceAll(text, f.old, f.replacement)
				found = true
			}
		}
		stream.WriteString("---\n" + text(t, o) + "\n")
	}
	if !found {
		t.Fatalf("the exported policy has no %s in %s:\n%s", f.old, variable, exported)
	}
	return stream.String()
}

// TestDifferentialFindsFaults breaks one expression of a policy at a time. The comparison must find each fault.
func TestDifferentialFindsFaults(t *testing.T) {
	s := newSample(t, seed(t), 300, 100)
	b, err := os.ReadFile("testdata/forms.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, found := range regexp.MustCompile(`(?m)^  - \{?\s*id: (\w+)`).FindAllStringSubmatch(string(b), -1) {
		ids = append(ids, found[1])
	}
	type planted struct{ table, space string }
	all := make([]planted, len(plantedFaults))
	for i, f := range plantedFaults {
		disable := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == f.check })
		if len(disable) != len(ids)-1 {
			t.Fatalf("testdata/forms.yaml has no check %s", f.check)
		}
		space := namespace(t, "e2e-fault", nil)
		all[i] = planted{wrapped(t, space, "./forms.yaml", disable, space), space}
		install(t, f.broken(t, export(t, all[i].table, "--action", "deny", "--waivers", waiversOf(t, f.check)).stdout))
	}
	inForce(t)
	for i, f := range plantedFaults {
		t.Run(f.name, func(t *testing.T) {
			p := all[i]
			objects := slices.Concat(in(p.space, s.pods), in(p.space, s.workloads))
			want := verdicts(t, p.table, slices.Concat(s.storedIn(p.space, s.pods), s.storedIn(p.space, s.workloads)), "--waivers", waiversOf(t, f.check))
			for part := range slices.Chunk(objects, 50) {
				got := refusals(t.Context(), t, part)
				if slices.ContainsFunc(part, func(o object) bool { return want[nameOf(o)].differs(got[nameOf(o)]) != "" }) {
					return
				}
			}
			t.Errorf("the comparison of %d objects has not found the fault", len(objects))
		})
	}
}

// waiversOf writes the waivers of testdata for one check.
func waiversOf(t *testing.T, check string) string {
	t.Helper()
	return waiversWith(t, func(line string) bool {
		return strings.Contains(line, "check: "+check+",") || strings.Contains(line, "check: "+check+"}")
	})
}
