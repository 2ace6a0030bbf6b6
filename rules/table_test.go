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
    enforce: deny
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
			ForEach: []string{"spec.containers", "spec.initContainers"}, ShowValue: new(bool), Enforce: rules.Deny},
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
	if want := "sha256:57f5164f616c5b272b11066bcc345f79d8c819e9cf5ad3de95e429f6a36a887f"; table.Hash() != want {
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

// TestSentences: a check without a description has a sentence for its predicate.
func TestSentences(t *testing.T) {
	tests := []struct{ predicate, want string }{
		{`{path: image, operator: hasSuffix, value: ":latest"}`, "image ends with :latest"},
		{`{path: livenessProbe, operator: absent}`, "livenessProbe is not set"},
		{`{path: $.spec.hostNetwork, operator: exists}`, "the pod's spec.hostNetwork is set"},
		{`{path: a, operator: equals, value: ""}`, `a is ""`},
		{`{path: a, operator: notEquals, value: "a, b"}`, `a is not "a, b"`},
		{`{path: policy, operator: in, value: [Always]}`, "policy is Always"},
		{`{path: policy, operator: notIn, value: [Always, 5, true]}`, "policy is none of Always, 5, true"},
		{`{not: {path: policy, operator: notIn, value: [Always]}}`, "policy is Always"},
		{`{path: a, operator: in, value: [a, b, c, d, e, f, g, h, i, j]}`, "a is one of a, b, c, d, e, f, g, h, 2 more"},
		{`{path: capabilities.add, operator: oneOf, value: [SYS_ADMIN, ALL]}`, "capabilities.add is or contains one of SYS_ADMIN, ALL"},
		{`{path: image, operator: matches, value: "^a$"}`, "image matches ^a$"},
		{`{path: ports, operator: length, value: {min: 1, max: 3}}`, "ports has a length of 1 to 3"},
		{`{not: {path: ports, operator: length, value: {max: 3}}}`, "ports does not have a length of 3 or less"},
		{`{path: ports, operator: length, value: {min: 2}}`, "ports has a length of 2 or more"},
		{`{path: ports, operator: length, value: 2}`, "ports has a length of 2"},
		{`{path: spec.containers.#, operator: greaterThan, value: 1.50}`, "the number of spec.containers is more than 1.50"},
		{`{path: cpu, operator: quantityLessThan, value: 500m}`, "cpu is less than 500m"},
		{`{path: image, operator: imageTag, value: latest}`, "image has the tag latest"},
		{`{path: image, operator: imageFrom, value: ghcr.io}`, "image is from ghcr.io"},
		{`{not: {path: image, operator: imageFrom, value: [ghcr.io, quay.io/team]}}`, "image is from none of ghcr.io, quay.io/team"},
		{`{path: cpu, operator: quantityEquals, value: 0.5}`, "cpu is 0.5"},
		{`{path: ports.#.hostPort, operator: exists}`, "one of ports.#.hostPort is set"},
		{`{not: {path: ports.#.hostPort, operator: greaterThan, value: 1}}`, "none of ports.#.hostPort is more than 1"},
		{`{path: [a, $.b], operator: notEquals, value: true}`, "a, else the pod's b, is not true"},
		{`{not: {path: a, operator: absent}}`, "a is set"},
		{`{all: [{path: a, operator: exists}]}`, "a is set"},
		{`{all: [{path: a, operator: greaterThan, value: 1}, {any: [{path: b, operator: exists}, {not: {path: c, operator: exists}}]}]}`, "a is more than 1 and (b is set or c is not set)"},
		{`{not: {all: [{path: a, operator: exists}, {not: {path: b, operator: exists}}]}}`, "a is not set or b is set"},
		{`{not: {any: [{path: a, operator: exists}, {not: {all: [{path: b, operator: contains, value: x}, {path: c, operator: exists}]}}]}}`, "a is not set and b contains x and c is set"},
	}
	for _, tt := range tests {
		if got := tableOf(t, "", tt.predicate).Checks()[0].Message(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.predicate, got, tt.want)
		}
	}
	if got := load(t, fullTable).Checks()[0].Message(); got != "What is wrong" {
		t.Errorf("message %q, want the description", got)
	}
}

// TestSentencesOfAllOperators: no operator is left out, and none reads like its negation.
func TestSentencesOfAllOperators(t *testing.T) {
	operands := map[string]string{"length": "5", "in": "[5, 6]", "notIn": "[5, 6]", "oneOf": "[5, 6]", "exists": "", "absent": "", "greaterThan": "5", "lessThan": "5"}
	for _, o := range rules.Operators() {
		operand, known := operands[o.Name]
		if !known {
			operand = `"5"`
		}
		if operand != "" {
			operand = ", value: " + operand
		}
		leaf := "{path: a, operator: " + o.Name + operand + "}"
		checks := tableOf(t, "", leaf, "{not: "+leaf+"}").Checks()
		is, not := checks[0].Message(), checks[1].Message()
		for _, text := range []string{is, not} {
			if !strings.HasPrefix(text, "a ") || len(text) < 6 || strings.Contains(text, "%") || operand != "" && !strings.Contains(text, "5") || strings.Contains(text, o.Name) && strings.ToLower(o.Name) != o.Name {
				t.Errorf("%s reads as %q", leaf, text)
			}
		}
		if is == not {
			t.Errorf("%s and its negation read as %q", leaf, is)
		}
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
