package rules_test

import (
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kube-devops/kube-devops/rules"
)

// fullTable uses every field of a table.
const fullTable = `# A comment.
kind: PolicyTable
apiVersion: "kube-devops.io/v1"
metadata: {name: full-1}
namespaces: {exclude: ["a-*", "[xy]?", exact]}
pods: {skip: [{reason: job, when: {path: metadata.ownerReferences.#.kind, operator: equals, value: Job}}]}
waivers: [{id: w-1, reason: Why, expires: 2030-12-31, namespace: "a*", pod: b, container: c, labels: {d: e}, owner: {kind: F, name: g}, check: [full, least]}]
lists: {registries: [ghcr.io/org, "reg:5000", 5, 0777], others: [true]}
grades: [{name: Good, min: 50.5, maxSeverity: high}, {name: Bad, min: 0}]
checks:
  - id: full
    description: What is wrong
    message: "{container}: {value}, {subject}"
    remediation: What to do
    category: security
    severity: critical
    weight: 1000
    showValue: false
    forEach: [spec.containers, spec.initContainers]
    when: {path: name, operator: exists}
    violation: {path: image, operator: hasSuffix, value: ":latest"}
  - {id: least, weight: 1, violation: {path: a, operator: exists}}
  - {id: listed, weight: 1, violation: {path: [a, $.b], operator: notIn, value: {list: registries}}}
`

func TestLoad(t *testing.T) {
	table := load(t, fullTable)
	want := []rules.Check{
		{ID: "full", Description: "What is wrong", Remediation: "What to do", Category: rules.Security, Severity: rules.Critical, Weight: 1000,
			ForEach: []string{"spec.containers", "spec.initContainers"}, ShowValue: new(bool)},
		{ID: "least", Severity: rules.Medium, Weight: 1},
		{ID: "listed", Severity: rules.Medium, Weight: 1},
	}
	if diff := cmp.Diff(want, table.Checks(), cmpopts.IgnoreUnexported(rules.Check{})); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	if got := table.Name(); got != "full-1" {
		t.Errorf("name %q, want full-1", got)
	}
	// As sha256sum prints it for a file of that text.
	if want := "sha256:fcbca80b8967e84ea835e4ec3a2325536268c1c6c38658c9076008ef6feddefe"; table.Hash() != want {
		t.Errorf("hash %q, want %q", table.Hash(), want)
	}
	if changed := load(t, fullTable+"#"); changed.Hash() == table.Hash() {
		t.Error("another text has the same hash")
	}
}

func TestIncludes(t *testing.T) {
	byDefault := tableOf(t, "", `{path: a, operator: exists}`)
	none := load(t, "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: all}\nnamespaces: {exclude: []}\nchecks: [{id: c, weight: 1, violation: {path: a, operator: exists}}]\n")
	included := load(t, strings.Replace(fullTable, `exclude: ["a-*", "[xy]?", exact]`, `include: ["shop*", "?-system", kube-system], exclude: ["*-test", "kube-*"]`, 1))
	includedByDefault := load(t, strings.Replace(fullTable, `exclude: ["a-*", "[xy]?", exact]`, `include: ["shop*"]`, 1))
	tests := []struct {
		name       string
		table      *rules.Table
		namespaces map[string]bool
	}{
		{"by default", byDefault, map[string]bool{
			"kube-system": false, "kube-": false, "kube-public": false, "kube": true, "my-kube-x": true, "cattle-system": false, "-system": false, "system": true, "systems": true,
			"cert-manager": false, "cert-manager-2": true, "monitoring": false, "my-monitoring": true, "observability": false, "argocd": false, "default": true, "": true,
		}},
		{"of the table", load(t, fullTable), map[string]bool{"a-": false, "a-b": false, "a": true, "xz": false, "yy": false, "x": true, "zz": true, "exact": false, "exactly": true, "kube-system": true}},
		{"included, and of those excluded", included, map[string]bool{"shop": true, "shop-eu": true, "shops": true, "shop-test": false, "default": false, "": false, "kube-system": false, "x-system": true}},
		{"included, with the excluded ones by default", includedByDefault, map[string]bool{"shop": true, "shop-system": false, "default": false}},
		{"none left out", none, map[string]bool{"kube-system": true, "default": true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := make(map[string]bool)
			for namespace := range tt.namespaces {
				got[namespace] = tt.table.Includes(namespace)
			}
			if diff := cmp.Diff(tt.namespaces, got); diff != "" {
				t.Errorf("included namespaces (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGrade(t *testing.T) {
	byDefault, two := tableOf(t, "", `{path: a, operator: exists}`), load(t, fullTable)
	below := func(f float64) float64 { return math.Nextafter(f, math.Inf(-1)) }
	tests := []struct {
		table      *rules.Table
		compliance float64
		want       string
	}{
		{byDefault, 100, "Healthy"}, {byDefault, 80, "Healthy"}, {byDefault, below(80), "Stable"}, {byDefault, 79.99, "Stable"},
		{byDefault, 60, "Stable"}, {byDefault, below(60), "Degraded"}, {byDefault, 59.99, "Degraded"},
		{byDefault, 40, "Degraded"}, {byDefault, below(40), "Critical"}, {byDefault, 39.99, "Critical"},
		{byDefault, 0, "Critical"}, {byDefault, below(0), "Critical"},
		{two, 50.5, "Good"}, {two, below(50.5), "Bad"},
	}
	for _, tt := range tests {
		if got := tt.table.Grade(tt.compliance, ""); got != tt.want {
			t.Errorf("%s: the grade of %v is %s, want %s", tt.table.Name(), tt.compliance, got, tt.want)
		}
	}
}

// TestGradeOfSeverity has grades that allow less the better they are, and one that allows less than the better one.
func TestGradeOfSeverity(t *testing.T) {
	table := load(t, `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: severities}
checks:
  - {id: a, weight: 1, severity: low, violation: {path: a, operator: exists}}
  - {id: b, weight: 1, severity: critical, violation: {path: a, operator: exists}}
  - {id: c, weight: 1, severity: high, violation: {path: a, operator: exists}}
grades:
  - {name: Clean, min: 90, maxSeverity: low}
  - {name: Good, min: 80, maxSeverity: high}
  - {name: Odd, min: 60, maxSeverity: medium}
  - {name: Bad, min: 0}
`)
	for _, tt := range []struct {
		compliance float64
		worst      rules.Severity
		want       string
	}{
		{100, "", "Clean"}, {90, rules.Low, "Clean"}, {89, rules.Low, "Good"}, {100, rules.Medium, "Good"}, {100, rules.High, "Good"}, {99.9, rules.Critical, "Bad"},
		{79, rules.Medium, "Odd"}, {79, rules.High, "Bad"}, {79, "", "Odd"}, {0, "", "Bad"}, {-1, rules.Critical, "Bad"},
	} {
		if got := table.Grade(tt.compliance, tt.worst); got != tt.want {
			t.Errorf("the grade of %v with a %s violation is %s, want %s", tt.compliance, tt.worst, got, tt.want)
		}
	}
	for want, violations := range map[rules.Severity][]int{"": {0, 0, 0}, rules.Low: {9, 0, 0}, rules.High: {9, 0, 1}, rules.Critical: {0, 1, 1}} {
		if got := table.WorstSeverity(violations); got != want {
			t.Errorf("the worst severity of %v is %q, want %q", violations, got, want)
		}
	}
}

func TestMessage(t *testing.T) {
	table := tableOf(t, "",
		`{path: image, operator: hasSuffix, value: ":latest"}`,
		`{path: $.spec.hostNetwork, operator: exists}`,
		`{path: policy, operator: notIn, value: [Always, 5, true]}`,
		`{path: ports, operator: length, value: {min: 1, max: 3}}`,
		`{path: ports, operator: length, value: 2}`,
		`{path: cpu, operator: quantityGreaterThan, value: 500m}`,
		`{path: image, operator: imageTag, value: latest}`,
		`{not: {path: a, operator: absent}}`,
		`{all: [{path: a, operator: greaterThan, value: 1.50}, {any: [{path: b, operator: exists}, {not: {path: c, operator: exists}}]}]}`,
	)
	want := []string{
		"image hasSuffix :latest",
		"$.spec.hostNetwork exists",
		"policy notIn [Always, 5, true]",
		"ports length {min: 1, max: 3}",
		"ports length 2",
		"cpu quantityGreaterThan 500m",
		"image imageTag latest",
		"not (a absent)",
		"a greaterThan 1.50 and (b exists or (not (c exists)))",
	}
	var got []string
	for _, c := range table.Checks() {
		got = append(got, c.Message())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if got := load(t, fullTable).Checks()[0].Message(); got != "What is wrong" {
		t.Errorf("message %q, want the description", got)
	}
}

// TestOperatorDocs makes sure that the list for the authors of tables is the list that Load knows, and that
// the truth table leaves none out.
func TestOperatorDocs(t *testing.T) {
	inMatrix := string(readFile(t, "testdata/operators.txt"))
	for _, o := range rules.Operators() {
		value := map[string]string{
			"": "", "a string, number or boolean": ", value: true", "a list of strings, numbers or booleans, or `{list: NAME}`": ", value: [a, 5, true]",
			"a registry or repository, a list of them, or `{list: NAME}`": ", value: docker.io",
			"a string": ", value: a", "an RE2 expression": ", value: a", "a number": ", value: 5",
			"a Kubernetes quantity": ", value: 500m", "an integer, or `{min: N, max: N}`": ", value: 3",
		}
		operand, ok := value[o.Value]
		if !ok || o.Meaning == "" {
			t.Errorf("%s: value %q and meaning %q do not explain it", o.Name, o.Value, o.Meaning)
		}
		tableOf(t, "", "{path: a, operator: "+o.Name+operand+"}")
		if !regexp.MustCompile(`(?m)^` + o.Name + `\b`).MatchString(inMatrix) {
			t.Errorf("%s is not in the truth table: add rows to TestOperators", o.Name)
		}
	}
}
