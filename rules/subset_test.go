package rules_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kube-devops/kube-devops/rules"
)

const manyChecks = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: many}
pods: {skip: [{reason: done, when: {path: status.phase, operator: equals, value: Succeeded}}]}
checks:
  - {id: a, weight: 5, forEach: spec.containers, violation: {path: image, operator: hasSuffix, value: ":latest"}}
  - {id: root, weight: 3, violation: {path: $.spec.hostNetwork, operator: equals, value: true}}
  - {id: b, weight: 3, forEach: spec.containers, violation: {path: livenessProbe, operator: absent}}
  - {id: c, weight: 2, forEach: spec.containers, violation: {path: readinessProbe, operator: absent}}
waivers:
  - {id: of-a, reason: r, expires: 2030-01-01, namespace: shop, check: a}
  - {id: of-b-and-c, reason: r, expires: 2030-01-01, pod: p, check: [c, b]}
  - {id: of-all, reason: r, expires: 2029-01-01, container: x}
`

// TestSubsetIsTheTableWithoutTheOthers: what a table of some checks finds is what the whole table finds of them.
func TestSubsetIsTheTableWithoutTheOthers(t *testing.T) {
	whole := load(t, manyChecks)
	ids := []string{"a", "root", "b", "c"}
	rapid.Check(t, func(t *rapid.T) {
		keep := rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 1, 4, rapid.ID[string]).Draw(t, "checks")
		only, err := whole.Subset(keep...)
		if err != nil {
			t.Fatal(err)
		}
		container := rapid.SampledFrom([]string{
			`{"name":"x","image":"i:latest"}`, `{"name":"y","image":"i:1","livenessProbe":{}}`, `{"name":"x","image":"i:latest","readinessProbe":{}}`,
		})
		pod := fmt.Sprintf(`{"metadata":{"name":%q,"namespace":%q},"spec":{"hostNetwork":%t,"containers":[%s]},"status":{"phase":%q}}`,
			rapid.SampledFrom([]string{"p", "q"}).Draw(t, "name"), rapid.SampledFrom([]string{"shop", "x"}).Draw(t, "namespace"),
			rapid.Bool().Draw(t, "hostNetwork"), strings.Join(rapid.SliceOfN(container, 0, 3).Draw(t, "containers"), ","),
			rapid.SampledFrom([]string{"Running", "Running", "Succeeded"}).Draw(t, "phase"))
		if diff := cmp.Diff(findings(t, whole, pod, keep), findings(t, only, pod, keep)); diff != "" {
			t.Fatalf("%s of %s (-whole +only):\n%s", keep, pod, diff)
		}
		if !slices.IsSortedFunc(only.Checks(), func(a, b rules.Check) int { return slices.Index(ids, a.ID) - slices.Index(ids, b.ID) }) {
			t.Fatalf("the checks are %v", only.Checks())
		}
	})
	if len(whole.Checks()) != 4 || len(whole.Waivers()) != 3 {
		t.Error("the table itself has changed")
	}
}

// findings is what a table finds of some checks, in words.
func findings(t *rapid.T, table *rules.Table, pod string, of []string) []string {
	v, err := table.Evaluate([]byte(pod))
	if err != nil {
		t.Fatal(err)
	}
	out := []string{"skipped: " + v.SkipReason}
	for i, check := range table.Checks() {
		if !slices.Contains(of, check.ID) {
			continue
		}
		out = append(out, fmt.Sprint(check.ID, " ", v.Subjects[i]))
		for _, violation := range v.Violations {
			if violation.Check == i {
				words := fmt.Sprint(check.ID, violation.Path, violation.Container, violation.Subject)
				if violation.Waiver != nil {
					words += " " + violation.Waiver.ID
				}
				out = append(out, words)
			}
		}
	}
	return out
}

func TestSubsetUnknown(t *testing.T) {
	table := load(t, string(readFile(t, "../policies/default.yaml")))
	for id, want := range map[string]string{
		"latest_tags": `policy default has no check "latest_tags"; did you mean latest_tag?`,
		"missing":     `policy default has no check "missing"; did you mean missing_liveness or missing_readiness?`,
		"":            `policy default has no check ""; it has latest_tag, missing_liveness, missing_readiness`,
		"root_user":   `policy default has no check "root_user"; it has latest_tag, missing_liveness, missing_readiness`,
	} {
		if _, err := table.Subset("latest_tag", id); err == nil || err.Error() != want {
			t.Errorf("%q: %v; want %s", id, err, want)
		}
	}
}

func TestSubsetHasItsOwnHash(t *testing.T) {
	whole := load(t, manyChecks)
	hashes := map[string]bool{whole.Hash(): true}
	for _, ids := range [][]string{{"a"}, {"b"}, {"a", "b"}} {
		only, err := whole.Subset(ids...)
		if err != nil {
			t.Fatal(err)
		}
		if hashes[only.Hash()] || !strings.HasPrefix(only.Hash(), "sha256:") {
			t.Errorf("%v: hash %s", ids, only.Hash())
		}
		hashes[only.Hash()] = true
	}
}
