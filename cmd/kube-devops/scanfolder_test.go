package main

import (
	"strings"
	"testing"
)

// TestScanOfARepository: other files in a folder do not change the exit code.
func TestScanOfARepository(t *testing.T) {
	manifest := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {template: {spec: {containers: [{name: c, image: 'i:latest'}]}}}\n"
	skipped := "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\npods: {skip: [{reason: all, when: {path: kind, operator: exists}}]}\nchecks: [{id: a, weight: 1, violation: {path: x, operator: absent}}]\n"
	repository(t, map[string]string{
		"app/web.yaml": manifest, "app/values.yaml": "a: {{ b }}\n", "broken/b.yaml": "apiVersion: v1\nkind: Pod\nx: [\n", "docs/package.json": "{\n// x\n}", "skip.yaml": skipped,
		"system/a.yaml": strings.Replace(manifest, "shop", "kube-system", 1),
	})
	const broken = "kube-devops: read broken/b.yaml: item 1, byte 25: line 3: invalid YAML: did not find expected node content: fix the manifest, or leave out the file with --exclude\n"
	const none = "kube-devops: no pod was evaluated: there is nothing to compare with --fail-on\n"
	const system = "kube-devops: no pods that count: 1 pod in 1 namespace excluded by the policy: kube-system (kube-*)\n"
	for _, tt := range []struct {
		args   string
		code   int
		stderr string
	}{
		{". -o json", exitFailed, broken},
		{". --exclude broken --exclude system --exclude **/*.json --fail-on high -o json", exitCrossed, "kube-devops: warning: 1 template left out: app/values.yaml: render templates first (helm template . | kube-devops scan -)\n" +
			"kube-devops: warning: 4 files left out by --exclude; the first is broken/b.yaml\nkube-devops: --fail-on high: 1 violation\n"},
		{"broken/b.yaml --exclude broken -o json", exitFailed, strings.Replace(broken, ": fix the manifest, or leave out the file with --exclude", "", 1)},
		{"docs", exitFailed, "kube-devops: no pods and no workloads in docs/package.json: 1 file without apiVersion and kind; --allow-empty accepts that\n"},
		{"docs --allow-empty --fail-under 80 --fail-on any -o json", exitDone, "kube-devops: warning: 1 file without apiVersion and kind left out: docs/package.json\n"},
		{"app/web.yaml --policy skip.yaml --fail-on any -o json=/dev/null", exitFailed, none},
		{"app/web.yaml --policy skip.yaml --fail-under 80 -o json=/dev/null", exitFailed, strings.Replace(none, "--fail-on", "--fail-under", 1)},
		{"app/web.yaml --policy skip.yaml -o json=/dev/null", exitDone, ""},
		{"system --fail-on any", exitFailed, system},
		{"system --fail-under 80", exitFailed, system},
		{"app --exclude [", exitFailed, "kube-devops: --exclude \"[\": syntax error in pattern: write one such as charts or **/testdata (see kube-devops scan --help)\n"},
	} {
		code, _, stderr := runScan(t, "", strings.Fields(tt.args)...)
		if code != tt.code || stderr != tt.stderr {
			t.Errorf("scan %s: code %d, want %d; stderr:\n%s\nwant:\n%s", tt.args, code, tt.code, stderr, tt.stderr)
		}
	}
}

// TestScanKeepsThePolicy: a report replaces no file of the policy, not even one that a table extends. A built-in table is not such a file.
func TestScanKeepsThePolicy(t *testing.T) {
	t.Chdir(t.TempDir())
	writeText(t, "base.yaml", strictPolicy, 0o600)
	writeText(t, "mine.yaml", "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: mine}\nextends: [default, ./base.yaml]\n", 0o600)
	writeText(t, "default.yaml", "", 0o600)
	for file, want := range map[string]int{"base.yaml": exitFailed, "mine.yaml": exitFailed, "default.yaml": exitDone} {
		if code, _, stderr := runScan(t, badPod, "-", "--policy", "mine.yaml", "-o", "json="+file); code != want {
			t.Errorf("report to %s: code %d, want %d: %s", file, code, want, stderr)
		}
	}
}
