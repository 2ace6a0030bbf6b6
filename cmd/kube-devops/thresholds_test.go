package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFailOnCountsUnknown: a violation that is unknown fails a scan like any other.
func TestFailOnCountsUnknown(t *testing.T) {
	code, _, stderr := runScan(t, "", "testdata/unknown/pod.json", "--policy", "testdata/unknown/policy.yaml", "--fail-on", "any")
	if code != exitCrossed || stderr != "kube-devops: --fail-on any: 1 violation, 1 of them unknown\n" {
		t.Errorf("code %d, %q", code, stderr)
	}
}

// TestThresholdsNeedPods: a scan with a threshold fails if no pod was evaluated.
func TestThresholdsNeedPods(t *testing.T) {
	base := filepath.Join(t.TempDir(), "base.json")
	if code, _, stderr := runScan(t, goodPod, "-", "-o", "json="+base); code != exitDone {
		t.Fatal(stderr)
	}
	for _, flag := range []string{"--fail-on any", "--fail-under 0", "--max-score 100", "--baseline " + base} {
		name, _, _ := strings.Cut(flag, " ")
		code, _, stderr := runScan(t, `{"kind":"Pod"}`, append(strings.Fields(flag), "-", "--keep-going")...)
		if code != exitFailed || !strings.Contains(stderr, "kube-devops: no pod was evaluated: there is nothing to compare with "+name+"\n") || !strings.Contains(stderr, "left out: stdin: item 1") {
			t.Errorf("%s: code %d, %q", flag, code, stderr)
		}
	}
}

func TestShowWaived(t *testing.T) {
	waivers := filepath.Join(t.TempDir(), "w.yaml")
	if err := os.WriteFile(waivers, []byte("apiVersion: kube-devops.io/v1\nkind: Waivers\nwaivers: [{id: w, reason: r, expires: 2099-01-01, pod: a}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]int{"--show-waived": 3, "--show-waived=false": 0} {
		_, stdout, stderr := runScan(t, badPod, "-", "-o", "sarif", "--waivers", waivers, flag)
		var log struct{ Runs []struct{ Results []any } }
		if err := json.Unmarshal([]byte(stdout), &log); err != nil || len(log.Runs) != 1 || len(log.Runs[0].Results) != want {
			t.Errorf("%s: %d results, want %d; %v, %q", flag, strings.Count(stdout, "ruleId"), want, err, stderr)
		}
	}
}
