package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/rules/golden"
)

// TestPolicy compares the output of the policy commands with files in testdata/policy.
func TestPolicy(t *testing.T) {
	const (
		in      = "testdata/policy/"
		suites  = in + "suites/"
		extends = "testdata/extends/"
	)
	tests := []struct {
		name string
		args string
	}{
		{"help", ""},
		{"unknown-verb", "lnt x"},

		{"lint-shipped", "lint --strict ../../policies/default.yaml ../../policies/recommended.yaml ../../testdata/policies/ours.yaml --dump " + shop},
		{"lint-mistakes", "lint " + in + "bad.yaml " + in + "strict.yaml " + in + "suspicious.yaml"},
		{"lint-warnings", "lint " + in + "suspicious.yaml"},
		{"lint-warnings-strict", "lint --strict " + in + "suspicious.yaml " + in + "strict.yaml"},
		{"lint-waivers", "lint " + in + "waivers.yaml"},
		{"lint-waivers-dump", "lint " + in + "waivers.yaml " + in + "strict.yaml --policy default --dump " + shop},
		{"lint-waivers-of-table", "lint " + in + "waivers-strict.yaml " + in + "strict.yaml"},
		{"lint-waivers-of-tables", "lint " + in + "waivers-strict.yaml " + in + "strict.yaml " + in + "suspicious.yaml"},
		{"lint-waivers-of-mistakes", "lint " + in + "waivers-strict.yaml " + in + "bad.yaml"},
		{"lint-waivers-policy", "lint " + in + "waivers.yaml --policy recommended"},
		{"lint-waivers-mistakes", "lint " + in + "waivers-bad.yaml"},
		{"lint-waivers-no-policy", "lint " + in + "waivers.yaml --policy none.yaml"},
		{"lint-waivers-bad-policy", "lint " + in + "waivers.yaml --policy " + in + "bad.yaml"},
		{"lint-tests", "lint " + suites + "ok/tests.yaml " + suites + "broken/tests.yaml"},
		{"lint-tests-missing", "lint " + suites + "nopod/tests.yaml " + suites + "unknown/tests.yaml " + suites + "unknowncheck/tests.yaml " + suites + "nopolicy"},
		{"lint-built-in", "lint recommended"},
		{"lint-no-file", "lint none.yaml " + in + "bad.yaml " + in},
		{"lint-nothing", "lint"},
		{"lint-no-dump", "lint " + in + "strict.yaml --dump none.json"},
		{"lint-cut-dump", "lint " + in + "strict.yaml --dump -"},
		{"lint-flag", "lint --stict x"},

		{"lint-enforced", "lint --strict " + in + "enforced.yaml"},
		{"lint-admission", "lint --strict " + in + "admission.yaml"},
		{"lint-extends", "lint " + extends + "team.yaml " + extends + "part.yaml --dump " + shop},
		{"lint-extends-part", "lint " + extends + "part.yaml"},
		{"lint-extends-mistakes", "lint " + extends + "bad"},
		{"lint-extends-deep", "lint " + extends + "deep/7.yaml " + extends + "deep/8.yaml"},
		{"show-extends", "show " + extends + "team.yaml"},
		{"show-several", "show default," + extends + "part.yaml"},
		{"show-twice", "show " + extends + "team.yaml,default"},
		{"show-extends-waivers", "show " + extends + "team.yaml -o markdown --waivers " + in + "waivers.yaml"},
		{"test-extends", "test " + extends + "suite"},
		{"diff-extends", "diff default " + extends + "team.yaml " + shop},
		{"diff-several", "diff default default," + extends + "part.yaml " + shop},

		{"show-default", "show"},
		{"show-recommended", "show recommended"},
		{"show-file", "show " + in + "strict.yaml"},
		{"show-markdown", "show -o markdown " + in + "strict.yaml"},
		{"show-markdown-recommended", "show recommended -o markdown"},
		{"show-unknown", "show ours"},
		{"show-misspelled", "show recommendd"},
		{"show-no-extension", "show " + in + "strict"},
		{"show-bad", "show " + in + "bad.yaml"},
		{"show-format", "show -o xml"},
		{"show-waivers", "show " + in + "strict.yaml --waivers " + in + "waivers.yaml"},
		{"show-waivers-bad", "show --waivers " + in + "waivers-bad.yaml"},
		{"show-waivers-none", "show --waivers none.yaml"},
		{"show-two", "show default recommended"},

		{"list-file", "list " + in + "categories.yaml"},
		{"list-plain", "list " + in + "strict.yaml"},
		{"list-json", "list -o json " + in + "categories.yaml"},
		{"list-bad", "list " + in + "bad.yaml"},
		{"list-two", "list default recommended"},
		{"list-enforced", "list " + in + "enforced.yaml"},
		{"list-enforced-json", "list -o json " + in + "enforced.yaml"},
		{"show-enforced", "show " + in + "enforced.yaml"},
		{"show-enforced-markdown", "show -o markdown " + in + "enforced.yaml"},
		{"diff-enforced", "diff " + in + "strict.yaml " + in + "enforced.yaml " + shop},
		{"show-categories", "show -o markdown " + in + "categories.yaml"},

		{"export", "export"},
		{"export-vap-partial", "export vap --partial --action warn --exempt-group sre --kinds pods --policy testdata/export/status.yaml --waivers testdata/export/status-waivers.yaml"},
		{"export-vap-status", "export vap --action deny --policy recommended"},
		{"export-vap-no-enforce", "export vap"},
		{"export-vap-flags", "export vap --action refuse --kinds pod, --failure-policy fail --controller-user [ --exempt-group= x"},
		{"export-vap-no-policy", "export vap --policy none.yaml"},
		{"export-crd", "export rabc"},

		{"test-ok", "test " + suites + "ok"},
		{"test-file", "test " + suites + "ok/tests.yaml " + suites + "ok"},
		{"test-failing", "test " + suites + "ok " + suites + "failing"},
		{"test-failing-junit", "test " + suites + "ok " + suites + "failing -o junit"},
		{"test-broken", "test " + suites + "broken"},
		{"test-broken-junit", "test " + suites + "broken " + suites + "nopod -o junit"},
		{"test-no-cases", "test " + suites + "empty"},
		{"test-no-pod", "test " + suites + "nopod"},
		{"test-bad-policy", "test " + suites + "badpolicy"},
		{"test-no-policy", "test " + suites + "nopolicy"},
		{"test-no-waivers", "test " + suites + "unknown"},
		{"test-unknown-check", "test " + suites + "unknowncheck"},
		{"test-no-tests", "test " + suites + "ok " + suites + "none"},
		{"test-no-folder", "test " + suites + "nowhere"},
		{"test-nothing", "test"},
		{"test-format", "test . -o tap"},

		{"diff-text", "diff default " + in + "strict.yaml " + shop},
		{"diff-json", "diff default " + in + "strict.yaml " + shop + " -o json"},
		{"diff-enforce", "diff default " + in + "enforced.yaml " + in + "workloads.yaml --enforce"},
		{"diff-enforce-json", "diff default " + in + "enforced.yaml " + in + "workloads.yaml --enforce -o json"},
		{"diff-enforce-action", "diff default " + in + "admission.yaml " + shop + " --enforce --action deny"},
		{"diff-enforce-nothing", "diff " + in + "enforced.yaml default " + shop + " --enforce"},
		{"diff-enforce-no-dump", "diff default " + in + "enforced.yaml none.json --enforce"},
		{"diff-enforce-cut-dump", "diff default " + in + "enforced.yaml - --enforce"},
		{"diff-action-alone", "diff default recommended " + shop + " --action deny"},
		{"diff-same", "diff default ../../policies/default.yaml " + shop},
		{"diff-same-json", "diff default default " + shop + " -o json"},
		{"diff-waivers", "diff default ../../policies/recommended.yaml " + shop + " --waivers " + in + "waivers.yaml"},
		{"diff-old-waivers", "diff default default " + shop + " --waivers " + in + "waivers.yaml --old-waivers="},
		{"diff-waivers-bad", "diff default recommended " + shop + " --old-waivers " + in + "waivers-bad.yaml"},
		{"diff-no-dump", "diff default recommended none.json"},
		{"diff-cut-dump", "diff default recommended -"},
		{"diff-bad-policy", "diff default " + in + "bad.yaml " + shop},
		{"diff-two", "diff default recommended"},
		{"diff-four", "diff default recommended a b"},
	}
	outputs := make(map[string]bool)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := in + tt.name + ".txt"
			outputs[file] = true
			golden.Compare(t, file, transcript(t, "policy "+tt.args))
		})
	}
	files, err := filepath.Glob(in + "*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !outputs[file] {
			t.Errorf("%s does not belong to any test", file)
		}
	}
}

// transcript returns the output of a command, and its exit code unless that is 0.
func transcript(t *testing.T, args string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), strings.Fields(args), strings.NewReader(`{"kind":"List","items":[{"kind":"Pod","metadata":{"name":"a"}},{"kind"`), &stdout, &stderr)
	if warned := strings.HasPrefix(stderr.String(), "kube-devops: warning: "); (code == exitDone) != (stderr.Len() == 0 || warned) {
		t.Errorf("exit code %d with %q on stderr", code, stderr.String())
	}
	text := "$ kube-devops " + strings.TrimSpace(args) + "\n" + stdout.String()
	if stderr.Len() > 0 {
		text += "-- stderr\n" + stderr.String()
	}
	if code != exitDone {
		text += fmt.Sprintf("-- exit code %d\n", code)
	}
	return text
}

// TestPolicyBuiltInTables runs the policy tests of the built-in tables.
func TestPolicyBuiltInTables(t *testing.T) {
	if got := transcript(t, "policy test ../../testdata/checks"); !strings.Contains(got, " passed, 0 failed\n") || strings.Contains(got, "-- ") {
		t.Error(got)
	}
}

// TestPolicyDiffOfManifests: pod templates count as in a scan.
func TestPolicyDiffOfManifests(t *testing.T) {
	const bookshop = "../../testdata/manifests/bookshop.yaml"
	var difference, scanned struct {
		Cluster struct {
			Before           struct{ Pods int }
			Pods, Namespaces int
		}
	}
	for _, of := range []struct {
		args []string
		into any
	}{{[]string{"policy", "diff", "default", "recommended", bookshop, "-o", "json"}, &difference}, {[]string{"scan", bookshop, "-o", "json"}, &scanned}} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), of.args, nil, &stdout, &stderr); code != exitDone {
			t.Fatalf("%q: exit code %d: %s", of.args, code, stderr.String())
		}
		if err := json.Unmarshal(stdout.Bytes(), of.into); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := difference.Cluster.Before.Pods, scanned.Cluster.Pods; got != want || want != 6 {
		t.Errorf("diff has %d pods, scan has %d, want 6", got, want)
	}
}

func TestPolicyDiffStdin(t *testing.T) {
	recording, err := os.ReadFile(shop)
	if err != nil {
		t.Fatal(err)
	}
	var fromStdin, stderr bytes.Buffer
	if code := run(t.Context(), []string{"policy", "diff", "default", "recommended", "-"}, bytes.NewReader(recording), &fromStdin, &stderr); code != exitDone {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	want := transcript(t, "policy diff default recommended "+shop)
	if !strings.HasSuffix(want, "\n"+fromStdin.String()) {
		t.Errorf("from standard input:\n%s\nfrom the file:\n%s", fromStdin.String(), want)
	}
}

// TestExportWarnsOfExpiredWaivers: an export warns as lint does. What it prints does not depend on the day.
func TestExportWarnsOfExpiredWaivers(t *testing.T) {
	args := []string{"policy", "export", "vap", "--action", "deny", "--waivers", "testdata/policy/waivers.yaml"}
	var texts []string
	for _, tt := range []struct{ day, want string }{
		{"946684800", ""}, // 2000-01-01
		{"978307200", "kube-devops: warning: waiver old: the waiver expired at 2001-01-01 00:00 UTC: its violations count\n"},
	} {
		day, want := tt.day, tt.want
		t.Setenv("SOURCE_DATE_EPOCH", day)
		var stdout, stderr output
		if code := run(t.Context(), args, nil, &stdout, &stderr); code != exitDone || stderr.String() != want {
			t.Errorf("on day %s: code %d, stderr %q, want %q", day, code, stderr.String(), want)
		}
		texts = append(texts, stdout.String())
	}
	if texts[0] != texts[1] || texts[0] == "" {
		t.Error("the export depends on the day")
	}
	var stdout, stderr output
	run(t.Context(), []string{"policy", "lint", "testdata/policy/waivers.yaml"}, nil, &stdout, &stderr)
	if want := "warning: waiver old: the waiver expired at 2001-01-01 00:00 UTC: its violations count\n"; !strings.Contains(stdout.String(), want) {
		t.Errorf("lint prints %q, want %q", stdout.String(), want)
	}
}
