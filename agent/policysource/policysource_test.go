package policysource

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/kube-devops/kube-devops/agent/reload"
	"github.com/kube-devops/kube-devops/policies"
	"github.com/kube-devops/kube-devops/rules"
)

// A change that is cut off because the agent stops is neither a failure nor a success, and logs no error.
func TestReloadEndsWithTheAgent(t *testing.T) {
	text, _ := policies.Shipped(policies.Default)
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.WarnLevel)
	s, _, err := New(t.Context(), Options{Policies: []string{file}, Log: zap.New(core), Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	set := func(ctx context.Context, _ *rules.Table) error {
		cancel()
		return ctx.Err()
	}
	s.changed(ctx, set, reload.Contents{Files: []string{file}, Texts: [][]byte{[]byte(strings.Replace(string(text), "name: default", "name: other", 1))}}, nil)
	if logs.Len() > 0 {
		t.Errorf("logged %v", logs.All())
	}
	if got := testutil.ToFloat64(s.successful); got != 1 {
		t.Errorf("%s is %v, want 1", "kube_devops_policy_last_reload_successful", got)
	}
}

func TestPolicyThatDoesNotExist(t *testing.T) {
	_, _, err := New(t.Context(), Options{Policies: []string{"none.yaml"}, Log: zap.NewNop(), Registerer: prometheus.NewRegistry()})
	if err == nil || !strings.Contains(err.Error(), "load policy: read none.yaml: no such file") || !strings.Contains(err.Error(), policies.Default) {
		t.Errorf("error %v, want that the file does not exist, and the names of the tables that ship", err)
	}
}
