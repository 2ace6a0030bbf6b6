package main

import (
	"strings"
	"testing"

	"github.com/kube-devops/kube-devops/agent/report"
)

func TestColor(t *testing.T) {
	for _, tt := range []struct {
		flag     string
		terminal bool
		env      string
		want     bool
	}{
		{"auto", true, "", true},
		{"auto", false, "", false},
		{"auto", true, "NO_COLOR=1", false},
		{"auto", true, "TERM=dumb", false},
		{"auto", false, "FORCE_COLOR=1", true},
		{"auto", true, "FORCE_COLOR=0", false},
		{"auto", true, "TERM=dumb FORCE_COLOR=1", true},
		{"auto", true, "FORCE_COLOR=1 NO_COLOR=1", false},
		{"always", false, "NO_COLOR=1 TERM=dumb", true},
		{"never", true, "FORCE_COLOR=1", false},
	} {
		env := make(map[string]string)
		for _, pair := range strings.Fields(tt.env) {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
		var on screen
		if tt.terminal {
			on.width = 80
		}
		if got := useColor(tt.flag, on, func(name string) string { return env[name] }); got != tt.want {
			t.Errorf("%+v: %t", tt, got)
		}
	}
	for flag, want := range map[string]bool{"always": true, "never": false} {
		if _, stdout, _ := runScan(t, "", shop, "--color", flag); strings.Contains(stdout, "\x1b[") != want {
			t.Errorf("--color %s: %q", flag, stdout)
		}
	}
}

// TestScreen: a report on a terminal is short unless --top is set; elsewhere it lists everything.
func TestScreen(t *testing.T) {
	terminal := screen{width: 80, height: 24}
	for _, tt := range []struct {
		on             screen
		top            int
		want, findings int
	}{{terminal, topUnset, terminalTop, terminalFindings}, {terminal, 0, 0, 0}, {terminal, 3, 3, 0}, {screen{}, topUnset, 0, 0}, {screen{}, 5, 5, 0}} {
		got := tt.on.fit(report.Options{Top: max(0, tt.top)}, tt.top)
		if got.Top != tt.want || got.Findings != tt.findings || got.Width != tt.on.width {
			t.Errorf("%+v: top %d, findings %d, width %d", tt, got.Top, got.Findings, got.Width)
		}
	}
}

func TestQuiet(t *testing.T) {
	code, stdout, stderr := runScan(t, badPod+badPod, "-", "-q", "--fail-on", "any")
	if code != exitCrossed || stderr != "kube-devops: --fail-on any: 3 violations\n" || stdout == "" {
		t.Errorf("code %d, stderr %q", code, stderr)
	}
}
