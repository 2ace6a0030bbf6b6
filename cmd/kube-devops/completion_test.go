package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompletion requests completions like the script of a shell.
func TestCompletion(t *testing.T) {
	kubeconfig := writeKubeconfig(t, unreachable)
	policy := filepath.Join(t.TempDir(), "ours.yaml")
	if err := os.WriteFile(policy, []byte("apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: ours}\nchecks:\n"+
		"- {id: ours, weight: 1, violation: {path: spec.x, operator: absent}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ args, want string }{
		{"scan --fail-on |", "critical high medium low any :36"},
		{"scan --color |", "auto always never :36"},
		{"scan --policy |", "default extended pss-baseline pss-restricted recommended :0"},
		{"scan --policy default,|", "default,extended default,pss-baseline default,pss-restricted default,recommended :6"},
		{"scan -o |", "table json yaml ndjson sarif junit github markdown html prometheus :38"},
		{"scan -o json=|", ":0"},
		{"scan --check |", "latest_tag missing_liveness missing_readiness :6"},
		{"scan --policy " + policy + " --check |", "ours :6"},
		{"scan --policy none --check |", ":6"},
		{"scan --check latest_tag,|", "latest_tag,missing_liveness latest_tag,missing_readiness :6"},
		{"scan " + shop + " --namespace |", "checkout legacy payments search storefront :6"},
		{"scan " + shop + " none.json -n legacy,|", "legacy,checkout legacy,payments legacy,search legacy,storefront :6"},
		{"scan ../../testdata/dumps --explain |", "checkout"},
		{"scan --cluster --context |", ":4"},
		{"scan --kubeconfig " + kubeconfig + " --context |", "c :4"},
		{"agent --kubeconfig " + kubeconfig + " --context |", "c :4"},
		{"agent --log-level |", "debug info warn error :36"},
		{"agent --policy |", "default extended pss-baseline pss-restricted recommended :0"},
		{"policy show |", "default extended pss-baseline pss-restricted recommended :0"},
		{"policy show default |", ":4"},
		{"policy show -o |", "yaml markdown :36"},
		{"policy diff |", "default extended pss-baseline pss-restricted recommended :0"},
		{"policy diff default |", "default extended pss-baseline pss-restricted recommended :0"},
		{"policy diff default recommended |", ":0"},
		{"policy lint --policy |", "default extended pss-baseline pss-restricted recommended :0"},
		{"policy |", "diff export lint list show test :4"},
		{"policy export |", "vap :4"},
		{"policy export vap --policy |", "default extended pss-baseline pss-restricted recommended :0"},
		{"policy export vap --action |", "deny warn audit :36"},
		{"policy export vap --kinds |", "pods workloads :6"},
		{"policy export vap --kinds pods,|", "pods,workloads :6"},
		{"policy export vap --failure-policy |", "Fail Ignore :36"},
	} {
		t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
		fields := strings.Fields(tt.args)
		fields[len(fields)-1] = strings.TrimSuffix(fields[len(fields)-1], "|")
		var stdout, stderr output
		if code := run(t.Context(), append([]string{"__complete"}, fields...), strings.NewReader(""), &stdout, &stderr); code != exitDone {
			t.Errorf("%s: code %d, %s", tt.args, code, stderr.String())
		}
		var words []string
		for line := range strings.Lines(stdout.String()) {
			word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			words = append(words, word)
		}
		if got := strings.Join(words, " "); got != tt.want && (strings.Contains(tt.want, ":") || !strings.Contains(got, tt.want)) {
			t.Errorf("%s: %q, want %q", tt.args, got, tt.want)
		}
	}
}

// TestCompletionOfACluster: there are no completions if the cluster cannot be reached.
func TestCompletionOfACluster(t *testing.T) {
	var stdout, stderr output
	if code := run(t.Context(), []string{"__complete", "scan", "--cluster", "--kubeconfig", writeKubeconfig(t, unreachable), "-n", ""}, nil, &stdout, &stderr); code != exitDone || stdout.String() != ":6\n" {
		t.Errorf("code %d, %q", code, stdout.String())
	}
}
