package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
)

const enforcing = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: enforcing}
checks:
  - {id: latest_tag, weight: 1, enforce: deny, forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}}
  - {id: host, weight: 1, enforce: warn, violation: {path: spec.hostNetwork, operator: equals, value: true}}
  - {id: team, weight: 1, enforce: audit, violation: {path: metadata.labels.team, operator: absent}}
  - {id: scored, weight: 1, violation: {path: spec.hostNetwork, operator: equals, value: true}}
  - {id: pending, weight: 1, enforce: deny, violation: {path: status.phase, operator: absent}}
waivers:
  - {id: holds, reason: r, expires: 2099-01-01, namespace: legacy, check: latest_tag}
  - {id: by-label, reason: r, expires: 2099-01-01, labels: {old: "yes"}}
`

// enforced has a Deployment with all violations, one with a waiver that applies at admission, and one with a waiver that does not, because any user
// may write the label.
func enforced(t *testing.T) *Scan {
	t.Helper()
	b := newScan(loadTable(t, enforcing))
	for i, of := range []struct{ namespace, name, labels string }{{"legacy", "kept", `{"team":"a"}`}, {"shop", "labelled", `{"old":"yes","team":"a"}`}, {"shop", "web", `{}`}} {
		origin := Origin{Workload: Workload{"Deployment", of.name}, File: "web.yaml", Line: 9 * i, Document: i + 1, Pod: "Deployment/" + of.name}
		pod := fmt.Sprintf(`{"metadata":{"namespace":%q,"name":%q,"labels":%s},"spec":{"hostNetwork":true,"containers":[{"name":"main","image":"web:latest"}]}}`, of.namespace, of.name, of.labels)
		if err := b.put(of.namespace, "Deployment/"+of.name, []byte(pod), &origin); err != nil {
			t.Fatal(err)
		}
	}
	return b.done()
}

// TestEnforceOfViolations checks that the key is absent if the check is only scored, cannot be exported, or has a waiver that applies at admission.
func TestEnforceOfViolations(t *testing.T) {
	var document struct {
		Violations, Waived []struct {
			Pod, Check string
			Enforce    rules.Enforce
		}
	}
	scan := enforced(t)
	text := printed(t, ScanJSON, scan, Options{})
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]rules.Enforce)
	for _, v := range document.Violations {
		got[v.Pod+" "+v.Check] = v.Enforce
	}
	for _, v := range document.Waived {
		got["waived "+v.Pod+" "+v.Check] = v.Enforce
	}
	want := map[string]rules.Enforce{
		"Deployment/kept host": "warn", "Deployment/kept scored": "", "Deployment/kept pending": "", "waived Deployment/kept latest_tag": "",
		"Deployment/web latest_tag": "deny", "Deployment/web host": "warn", "Deployment/web team": "audit", "Deployment/web scored": "", "Deployment/web pending": "",
		"waived Deployment/labelled latest_tag": "deny", "waived Deployment/labelled host": "", "waived Deployment/labelled scored": "", "waived Deployment/labelled pending": "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("enforce (-want +got):\n%s", diff)
	}
	var agent bytes.Buffer
	if err := JSON(&agent, scan.Snapshot, nil, nil); err != nil || !strings.Contains(agent.String(), `"enforce":"deny"`) {
		t.Errorf("error %v, or the report of an agent does not have the key:\n%s", err, agent.String())
	}
}

// TestReportsOfEnforcement checks that each human-readable format shows which findings are refused.
func TestReportsOfEnforcement(t *testing.T) {
	scan := enforced(t)
	const note = "Admission, with the exported policies of this table: 2 violations refused, 2 violations warned about, 1 violation audited, if the objects are created."
	for _, test := range []struct {
		format string
		parts  []string
	}{
		{"table", []string{"main  latest_tag (refused): ", "  host (warned): ", "\n" + note}},
		{"markdown", []string{"| latest\\_tag (refused) |", "| host (warned) |", "- " + note}},
		{"html", []string{`<span class="badge critical">refused at admission</span>`, note}},
		{"github", []string{"title=latest_tag (refused) in shop/Deployment/web::", "in shop; refused at admission)", note}},
		{"junit", []string{"in shop; refused at admission)"}},
		{"sarif", []string{`"enforce":"deny"`, `"enforce":"warn"`, "in shop; refused at admission)", `"enforce":"deny"},"ruleId":"latest_tag"`}},
	} {
		format, err := FormatNamed(test.format)
		if err != nil {
			t.Fatal(err)
		}
		text := string(printed(t, format.Print, scan, Options{}))
		for _, part := range test.parts {
			if !strings.Contains(text, part) {
				t.Errorf("%s does not have %q:\n%.6000s", test.format, part, text)
			}
		}
		if strings.Contains(text, "scored (refused)") || strings.Contains(text, "pending (refused)") || strings.Contains(text, "team (") {
			t.Errorf("%s: a finding of a check that is not exported is marked:\n%s", test.format, text)
		}
	}
	plain := categorized(t)
	for _, format := range Formats() {
		if text := string(printed(t, format.Print, plain, Options{})); strings.Contains(text, "dmission") || strings.Contains(text, `"enforce"`) {
			t.Errorf("%s mentions admission, but the table enforces nothing", format.Name)
		}
	}
}
