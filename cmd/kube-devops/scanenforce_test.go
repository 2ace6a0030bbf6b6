package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// enforcing is a table whose skip and second waiver do not apply to deny.
const enforcing = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: enforcing}
pods:
  skip: [{reason: job, when: {path: metadata.ownerReferences.#.kind, operator: equals, value: Job}}]
checks:
  - {id: latest_tag, weight: 1, enforce: deny, forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}}
  - {id: no_probe, weight: 1, enforce: warn, forEach: spec.containers, violation: {path: livenessProbe, operator: absent}}
  - {id: pending, weight: 1, enforce: deny, violation: {path: status.phase, operator: equals, value: Pending}}
waivers:
  - {id: legacy, reason: r, expires: 2099-01-01, namespace: legacy}
  - {id: old, reason: r, expires: 2099-01-01, labels: {old: "yes"}}
`

// template returns a Deployment or a Job with one container.
func template(kind, namespace, name, labels, image string) string {
	return fmt.Sprintf("apiVersion: apps/v1\nkind: %s\nmetadata: {name: %s, namespace: %s}\nspec:\n  template:\n    metadata: {labels: {%s}}\n    spec:\n      containers:\n        - {name: main, image: \"%s\"}\n---\n",
		kind, name, namespace, labels, image)
}

// enforcedManifests has manifests that are admitted, that a waiver accepts, and that are refused. A Job, which the score skips, is refused, too.
func enforcedManifests() string {
	return template("Deployment", "shop", "pinned", "", "web:1") + template("Deployment", "legacy", "kept", "", "web:latest") +
		template("Deployment", "shop", "web", "", "web:latest") + template("Deployment", "shop", "labelled", `old: "yes"`, "web:latest") +
		template("Job", "shop", "batch", "", "web:latest")
}

func inFolder(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const leftOutOfDeny = `kube-devops: warning: --enforce: deny leaves out check pending: it reads status, which is not known when the object is created
kube-devops: warning: --enforce: deny leaves out skip job: it depends on the owner references, which any user may write
kube-devops: warning: --enforce: deny leaves out waiver old: it depends on the labels, which any user may write
`

// TestScanEnforce checks that the exit code is 1 if the API server would refuse an object, whatever the score is.
func TestScanEnforce(t *testing.T) {
	inFolder(t, map[string]string{"table.yaml": enforcing, "all.yaml": enforcedManifests(), "good.yaml": template("Deployment", "shop", "pinned", "", "web:1")})
	code, stdout, stderr := runScan(t, "", "all.yaml", "--policy", "table.yaml", "--enforce")
	want := leftOutOfDeny + `kube-devops: --enforce: shop/Deployment/labelled in all.yaml would be refused: latest_tag
kube-devops: --enforce: shop/Deployment/web in all.yaml would be refused: latest_tag
kube-devops: --enforce: shop/Job/batch in all.yaml would be refused: latest_tag
kube-devops: --enforce: 3 workloads would be refused
`
	if diff := cmp.Diff(withoutOrder(want), withoutOrder(stderr)); code != exitCrossed || diff != "" {
		t.Errorf("code %d (-want +got):\n%s", code, diff)
	}
	if !strings.Contains(stdout, "\nAdmission refuses 3 workloads; 2 findings warned about\n") || !strings.Contains(stdout, "\nlatest_tag  shop       Job/batch            main     creation\n") {
		t.Errorf("the table does not list what is refused:\n%s", stdout)
	}
	code, stdout, stderr = runScan(t, "", "good.yaml", "--policy", "table.yaml", "--enforce")
	if code != exitDone || stderr != leftOutOfDeny || !strings.Contains(stdout, "\nAdmission refuses 0 workloads; 1 finding warned about\n") {
		t.Errorf("without a refusal: code %d, %q:\n%s", code, stderr, stdout)
	}
	if code, stdout, _ = runScan(t, "", "all.yaml", "--policy", "table.yaml"); code != exitDone || strings.Contains(stdout, "Admission refuses") {
		t.Errorf("without --enforce: code %d:\n%s", code, stdout)
	}
}

// withoutOrder returns the lines of a text as a set.
func withoutOrder(text string) map[string]bool {
	lines := make(map[string]bool)
	for line := range strings.Lines(text) {
		lines[line] = true
	}
	return lines
}

func TestScanEnforceAsJSON(t *testing.T) {
	inFolder(t, map[string]string{"table.yaml": enforcing, "all.yaml": enforcedManifests()})
	_, stdout, _ := runScan(t, "", "all.yaml", "--policy", "table.yaml", "--enforce", "-o", "json")
	var document struct {
		Refusals []struct{ Action, When, Namespace, Workload, Check, File string }
	}
	if err := json.Unmarshal([]byte(stdout), &document); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range document.Refusals {
		got = append(got, strings.Join([]string{r.Action, r.When, r.Namespace, r.Workload, r.Check, r.File}, " "))
	}
	want := []string{
		"deny create shop Job/batch latest_tag all.yaml", "deny create shop Deployment/labelled latest_tag all.yaml", "deny create shop Deployment/web latest_tag all.yaml",
		"warn create shop Deployment/pinned no_probe all.yaml", "warn create shop Deployment/web no_probe all.yaml",
	}
	if diff := cmp.Diff(withoutOrder(strings.Join(want, "\n")+"\n"), withoutOrder(strings.Join(got, "\n")+"\n")); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
}

// TestScanEnforceAgainstBaseline checks that violations of the baseline are not refused, because an update of an object that has them is not refused.
func TestScanEnforceAgainstBaseline(t *testing.T) {
	before := template("Deployment", "shop", "web", "", "web:latest")
	inFolder(t, map[string]string{"table.yaml": enforcing, "before.yaml": before, "after.yaml": before + template("Deployment", "shop", "fresh", "", "web:latest")})
	if code, _, stderr := runScan(t, "", "before.yaml", "--policy", "table.yaml", "-o", "json=base.json", "-q"); code != exitDone {
		t.Fatal(stderr)
	}
	code, _, stderr := runScan(t, "", "after.yaml", "--policy", "table.yaml", "--enforce", "--baseline", "base.json", "--fail-on", "critical", "-q")
	want := "kube-devops: --enforce: shop/Deployment/fresh in after.yaml would be refused: latest_tag\nkube-devops: --enforce: 1 workload would be refused\n"
	if code != exitCrossed || stderr != want {
		t.Errorf("code %d, %q, want %q", code, stderr, want)
	}
	if code, _, stderr = runScan(t, "", "before.yaml", "--policy", "table.yaml", "--enforce", "--baseline", "base.json", "-q"); code != exitDone {
		t.Errorf("nothing is new: code %d, %q", code, stderr)
	}
}

// TestScanEnforceOfSkippedPods checks that pods that only the score skips are evaluated for admission, so that there is a result to compare.
func TestScanEnforceOfSkippedPods(t *testing.T) {
	table := strings.Replace(enforcing, "skip: [", `skip: [{reason: lab, when: {path: metadata.namespace, operator: equals, value: lab}}, `, 1)
	inFolder(t, map[string]string{
		"table.yaml": table, "bad.yaml": template("Job", "shop", "batch", "", "web:latest"), "good.yaml": template("Job", "shop", "batch", "", "web:1"),
		"skipped.yaml": template("Job", "lab", "batch", "", "web:latest"),
	})
	if code, _, stderr := runScan(t, "", "bad.yaml", "--policy", "table.yaml", "-o", "json=base.json", "-q"); code != exitDone {
		t.Fatal(stderr)
	}
	for _, test := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{"bad.yaml"}, exitCrossed, "kube-devops: --enforce: shop/Job/batch in bad.yaml would be refused: latest_tag\nkube-devops: --enforce: 1 workload would be refused\n"},
		{[]string{"good.yaml"}, exitDone, ""},
		{[]string{"good.yaml", "--baseline", "base.json"}, exitDone, ""},
		{[]string{"good.yaml", "--fail-on", "critical"}, exitFailed, "kube-devops: no pod was evaluated: there is nothing to compare with --fail-on\n"},
		{[]string{"skipped.yaml"}, exitFailed, "kube-devops: no pod was evaluated: there is nothing to compare with --enforce\n"},
	} {
		code, _, stderr := runScan(t, "", append(test.args, "--policy", "table.yaml", "--enforce", "-q")...)
		if code != test.code || stderr != test.stderr {
			t.Errorf("%v: code %d, want %d, %q, want %q", test.args, code, test.code, stderr, test.stderr)
		}
	}
}

// TestScanEnforceNeedsTheField checks that a table without enforced checks is an error, because it cannot refuse anything.
func TestScanEnforceNeedsTheField(t *testing.T) {
	code, _, stderr := runScan(t, badPod, "-", "--enforce")
	want := "kube-devops: --enforce: policy default: no check has the field enforce; set enforce: deny on a check, in the table or in one that extends it\n"
	if code != exitFailed || stderr != want {
		t.Errorf("code %d, %q, want %q", code, stderr, want)
	}
	inFolder(t, map[string]string{"table.yaml": strings.Replace(enforcing, "enforce: deny, forEach", "forEach", 1)})
	table := filepath.Join(".", "table.yaml")
	if code, _, stderr = runScan(t, badPod, "-", "--enforce", "--policy", table, "--check", "pending"); code != exitFailed || !strings.Contains(stderr, "none of its checks can be enforced") {
		t.Errorf("code %d, %q", code, stderr)
	}
}

// TestScanEnforceFromConfig checks that a configuration file can set --enforce.
func TestScanEnforceFromConfig(t *testing.T) {
	repository(t, map[string]string{".kube-devops.yaml": configHead + "enforce: true\npolicy: table.yaml\n", "table.yaml": enforcing})
	code, _, stderr := runScan(t, "", "pods")
	if code != exitCrossed || !strings.Contains(stderr, ".kube-devops.yaml sets enforce, policy") || !strings.Contains(stderr, "--enforce: shop/Pod/a in pods/a.json would be refused: latest_tag\n") {
		t.Errorf("code %d, %q", code, stderr)
	}
}

// TestScanEnforceOfAnnotations checks that an annotation accepts violations for warn, and not for deny.
func TestScanEnforceOfAnnotations(t *testing.T) {
	const table = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: annotated}
checks:
  - {id: latest_tag, weight: 1, enforce: %s, forEach: spec.containers, violation: {path: image, operator: imageTag, value: latest}}
annotationWaivers: {checks: [latest_tag], maxDays: 90}
`
	inFolder(t, map[string]string{"web.yaml": strings.Replace(template("Deployment", "shop", "web", "", "web:latest"), "labels: {}",
		`annotations: {kube-devops.io/waive: "latest_tag expires `+time.Now().AddDate(0, 0, 30).Format(time.DateOnly)+`: soon"}`, 1)})
	for enforce, want := range map[string][2]string{"warn": {"Admission refuses 0 workloads\n", ""}, "deny": {"Admission refuses 1 workload\n", `"enforce":"deny"`}} {
		if err := os.WriteFile("table.yaml", fmt.Appendf(nil, table, enforce), 0o600); err != nil {
			t.Fatal(err)
		}
		_, stdout, stderr := runScan(t, "", "web.yaml", "--policy", "table.yaml", "--enforce", "-o", "table", "-q")
		if !strings.Contains(stdout, want[0]) {
			t.Errorf("enforce %s: the table has no %q:\n%s%s", enforce, want[0], stdout, stderr)
		}
		_, stdout, _ = runScan(t, "", "web.yaml", "--policy", "table.yaml", "-o", "json", "-q")
		if strings.Contains(stdout, `"enforce"`) != (want[1] != "") || !strings.Contains(stdout, `"waiver":"kube-devops.io/waive"`) {
			t.Errorf("enforce %s: the report does not have %q:\n%s", enforce, want[1], stdout)
		}
	}
}
