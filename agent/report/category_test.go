package report

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
)

const categories = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: categories}
checks:
  - {id: latest_tag, category: hygiene, severity: low, weight: 1, forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}}
  - {id: no_probe, category: reliability, remediation: Add a probe., weight: 9, forEach: spec.containers, violation: {path: livenessProbe, operator: absent}}
  - {id: no_label, severity: critical, weight: 2, violation: {path: metadata.labels.team, operator: absent}}
  - {id: root, category: security, severity: high, weight: 3, forEach: spec.containers, message: "{container} has user {value}",
     violation: {path: securityContext.runAsUser, operator: notEquals, value: 1000}}
  - {id: privileged, category: security, severity: critical, weight: 3, forEach: spec.containers, violation: {path: securityContext.privileged, operator: notEquals, value: false}}
  - {id: host, category: security, weight: 3, violation: {path: spec.hostNetwork, operator: equals, value: true}}
`

func categorized(t testing.TB) *Scan {
	t.Helper()
	table, err := rules.Load("categories.yaml", []byte(categories))
	if err != nil {
		t.Fatal(err)
	}
	return recording(t, table, "testdata/dumps/shop.json")
}

// inOrder fails unless the text has the parts one after another.
func inOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Fatalf("%q is missing, or not behind the parts before it:\n%s", part, text)
		}
		rest = after
	}
}

// TestReportsGroupByCategory: what to do is grouped by category, the worst first in each. Checks without a category are the last.
func TestReportsGroupByCategory(t *testing.T) {
	scan := categorized(t)
	const counts = "56 security, 14 reliability, 10 hygiene, 26 other"
	table := string(printed(t, Table, scan, Options{}))
	inOrder(t, table, "Violations by category: "+counts+".\n", "\nHOW TO FIX: SECURITY\nprivileged (critical, ", "\nroot (high, ", "\nHOW TO FIX: RELIABILITY\nno_probe (", "\nHOW TO FIX: HYGIENE\nlatest_tag (", "\nHOW TO FIX: OTHER\nno_label (")
	markdown := string(printed(t, Markdown, scan, Options{}))
	inOrder(t, markdown, "\nViolations by category: "+counts+".\n", "<summary>What to do", "\n\n**Security**\n\n| check |", "\n| root |", "\n| privileged |", "\n\n**Reliability**\n\n| check |", "\n\n**Hygiene**\n\n", "\n\n**Other**\n\n", "\n| no\\_label |")
	html := string(printed(t, HTML, scan, Options{}))
	inOrder(t, html, `id="checks"`, ">Security <", "56 violations, 168 points", ">privileged<", ">root<", ">host<", ">Reliability <", ">no_probe<", ">Hygiene <", ">Other <", ">no_label<")
	shop, _ := recorded(t)["shop"]()
	for _, print := range []Format{{Print: Table}, {Print: Markdown}, {Print: HTML}} {
		if text := string(printed(t, print.Print, shop, Options{})); strings.Contains(strings.ToLower(text), "category:") || strings.Contains(text, "rowgroup") || strings.Contains(text, "OTHER") {
			t.Errorf("a table without categories is grouped:\n%s", text)
		}
	}
}

// TestSARIFSecurity: only findings of security checks are security alerts on GitHub.
func TestSARIFSecurity(t *testing.T) {
	type properties struct {
		Tags             []string
		Category         string
		SecuritySeverity string `json:"security-severity"`
	}
	var log struct {
		Runs []struct {
			Tool struct {
				Driver struct {
					Rules []struct {
						ID         string
						Properties properties
						Help       struct{ Text, Markdown string }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(printed(t, SARIF, categorized(t), Options{}), &log); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]properties)
	for _, rule := range log.Runs[0].Tool.Driver.Rules {
		got[rule.ID] = rule.Properties
		if rule.ID == "no_probe" {
			want := "**livenessProbe is not set**\n\nAdd a probe.\n\n- Category: reliability\n- Severity: medium\n- Weight: 9 points"
			if rule.Help.Markdown != want || rule.Help.Text != "Add a probe." {
				t.Errorf("help %q, want %q", rule.Help, want)
			}
		}
	}
	tags := func(more ...string) []string { return append([]string{"kubernetes", "governance"}, more...) }
	want := map[string]properties{
		"latest_tag": {tags("hygiene"), "hygiene", ""}, "no_probe": {tags("reliability"), "reliability", ""}, "no_label": {tags(), "", ""},
		"root": {tags("security"), "security", "8.0"}, "privileged": {tags("security"), "security", "9.5"}, "host": {tags("security"), "security", "5.5"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

// TestMessagesEverywhere: every format prints the message of a check with the names and values of the violation.
func TestMessagesEverywhere(t *testing.T) {
	table := loadTable(t, `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: messages}
checks: [{id: c, weight: 1, forEach: spec.containers, message: "{container}/{subject} pulls {value}", violation: {path: image, operator: exists}}]
`)
	b := newScan(table)
	details := []Detail{{Detail: rules.Detail{Value: "<b>|*web*:latest"}, Line: 5}}
	origin := &Origin{Workload: Workload{"Deployment", "web"}, File: "a.yaml", Line: 1, Document: 1, Details: &details}
	if err := b.put("shop", "web", []byte(`{"spec":{"containers":[{"name":"<i>","image":"a"}]}}`), origin); err != nil {
		t.Fatal(err)
	}
	scan := b.done()
	plain := "<i>/(none) pulls <b>|*web*:latest"
	for format, want := range map[string]string{
		"table": plain, "junit": "&lt;i&gt;/(none) pulls &lt;b&gt;|*web*:latest", "github": plain, "html": "&lt;i&gt;/(none) pulls &lt;b&gt;|*web*:latest",
		"markdown": `&lt;i&gt;/(none) pulls &lt;b&gt;\|\*web\*:latest`, "yaml": `message: "<i>/(none) pulls <b>|*web*:latest"`,
		"json": `"message":"\u003ci\u003e/(none) pulls \u003cb\u003e|*web*:latest"`, "ndjson": `"message":"\u003ci\u003e/(none) pulls \u003cb\u003e|*web*:latest"`,
		"sarif": `\u003ci\u003e/(none) pulls \u003cb\u003e|*web*:latest (container \u003ci\u003e of Deployment/web in shop)`,
	} {
		f, err := FormatNamed(format)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(printed(t, f.Print, scan, Options{})); !strings.Contains(text, want) {
			t.Errorf("%s lacks %q:\n%s", format, want, text)
		}
	}
}
