package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExplainSeveral(t *testing.T) {
	code, stdout, stderr := runScan(t, "", shop, "-q", "--explain", "legacy", "--explain", "pay*,search")
	for _, name := range []string{"legacy", "payments", "search"} {
		if strings.Count(stdout, "Namespace "+name+":") != 1 {
			t.Errorf("%s is not explained exactly once", name)
		}
	}
	if code != exitDone || stderr != "" || strings.Contains(stdout, "Namespace checkout:") {
		t.Errorf("code %d, %q in:\n%s", code, stderr, stdout)
	}
	file := filepath.Join(t.TempDir(), "report.json")
	for _, args := range [][]string{{"-o", "json"}, {"-o", "json", "-o", "yaml=" + file}} {
		code, stdout, stderr = runScan(t, "", append(args, shop, "-q", "--explain", "legacy,search")...)
		var explained struct{ Namespaces []struct{ Namespace string } }
		if err := json.Unmarshal([]byte(stdout), &explained); err != nil || code != exitDone || stderr != "" || len(explained.Namespaces) != 2 || strings.Contains(stdout, `"inputs"`) {
			t.Errorf("%q: code %d, %v, %q:\n%s", args, code, err, stderr, stdout)
		}
	}
	// A report in a file is written in addition to the explanation.
	code, stdout, _ = runScan(t, "", shop, "--explain", "legacy", "-o", "json="+file)
	if text, err := os.ReadFile(file); err != nil || code != exitDone || !strings.Contains(string(text), `"inputs"`) || !strings.HasPrefix(stdout, "Namespace legacy") {
		t.Errorf("code %d, %v:\n%s", code, err, stdout)
	}
	for _, tt := range []struct{ args, want string }{
		{"--explain legcy", `did you mean "legacy"?`},
		{"--explain [", `--explain "[" is not a name or a pattern such as`},
		{"--explain legacy -o sarif", "two reports go to standard output"},
	} {
		if code, stdout, stderr := runScan(t, "", append(strings.Fields(tt.args), shop)...); code != exitFailed || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: code %d, %q, want %q", tt.args, code, stderr, tt.want)
		}
	}
}
