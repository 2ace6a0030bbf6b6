package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-devops/kube-devops/agent/report"
)

// fromTable is a policy whose only waiver expires in the middle of 2030.
const fromTable = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: dated}
checks:
  - {id: latest, weight: 5, severity: high, forEach: spec.containers, violation: {path: image, operator: hasSuffix, value: ":latest"}}
waivers:
  - {id: accepted, check: latest, reason: replaced soon, expires: 2030-06-30, namespace: shop}
`

// TestSourceDateEpoch: with SOURCE_DATE_EPOCH each output has the same bytes on any day, and that day is not in any of them. Without
// it the outputs of two days differ, so this test would notice a date from the clock.
func TestSourceDateEpoch(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	policy, pods := write("policy.yaml", fromTable), write("pods.json", badPod)
	write("pod.json", badPod)
	write("tests.yaml", `{apiVersion: kube-devops.io/v1, kind: PolicyTest, policy: policy.yaml, cases: [{name: waived, pod: pod.json, violations: []}]}`)
	commands := map[string][]string{
		"lint":       {"policy", "lint", policy},
		"test":       {"policy", "test", folder},
		"test junit": {"policy", "test", folder, "-o", "junit"},
		"diff":       {"policy", "diff", policy, "default", pods},
		"diff json":  {"policy", "diff", policy, "default", pods, "-o", "json"},
		"explain":    {"scan", pods, "--policy", policy, "--explain", "shop"},
	}
	for _, format := range report.Formats() {
		commands[format.Name] = []string{"scan", pods, "--policy", policy, "-o", format.Name, "--show-waived"}
	}
	outputs := func(t *testing.T) map[string]string {
		found := make(map[string]string)
		for name, args := range commands {
			var stdout, stderr output
			code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
			found[name] = fmt.Sprintf("exit code %d\n%s\n%s", code, stdout.String(), stderr.String())
		}
		return found
	}
	// The clock of the bubble: the waiver counts on the first day, and has expired on the second.
	twoDays := func(t *testing.T) (before, after map[string]string) {
		synctest.Test(t, func(t *testing.T) {
			before = outputs(t)
			<-time.After(40 * 365 * 24 * time.Hour)
			after = outputs(t)
		})
		return before, after
	}
	before, after := twoDays(t)
	for name := range commands {
		if before[name] == after[name] {
			t.Errorf("%s is the same on two days without SOURCE_DATE_EPOCH, so this test shows nothing:\n%s", name, after[name])
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	before, after = twoDays(t)
	for name := range commands {
		if before[name] != after[name] {
			t.Errorf("%s depends on the clock:\n%s\n%s", name, before[name], after[name])
		}
		for _, day := range []string{"2000-01-01", "2039-12"} {
			if strings.Contains(before[name]+after[name], day) {
				t.Errorf("%s has the day of the clock, %s", name, day)
			}
		}
	}
	if !strings.Contains(before["html"], "2023-11-14 22:13 UTC") {
		t.Error("the page does not have the date of SOURCE_DATE_EPOCH")
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1900000000") // in March 2030
	early := outputs(t)
	t.Setenv("SOURCE_DATE_EPOCH", "1910000000") // in July 2030
	late := outputs(t)
	for name := range commands {
		if early[name] == late[name] {
			t.Errorf("%s: SOURCE_DATE_EPOCH does not decide whether the waiver has expired", name)
		}
	}
}

func TestSourceDateEpochErrors(t *testing.T) {
	for _, epoch := range []string{"yesterday", "-1", "+1", "1.5", "99999999999999", "99999999999999999999"} {
		t.Setenv("SOURCE_DATE_EPOCH", epoch)
		want := `kube-devops: SOURCE_DATE_EPOCH must be seconds since 1970, got "` + epoch + "\"\n"
		for _, args := range [][]string{
			{"scan", shop}, {"policy", "lint", "default"}, {"policy", "test", "../../testdata/policies"}, {"policy", "diff", "default", "default", shop},
		} {
			var stdout, stderr output
			if code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != exitFailed || stdout.String() != "" || stderr.String() != want {
				t.Errorf("%s: code %d, %q, %q", args, code, stdout.String(), stderr.String())
			}
		}
	}
}
