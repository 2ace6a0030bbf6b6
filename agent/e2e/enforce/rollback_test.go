package enforce_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
)

// TestRollBack rolls back to a revision with a violation that the current revision does not have. The rollback must be refused until the command
// that deploy/README.md names for an incident stops enforcement.
func TestRollBack(t *testing.T) {
	s := newScenario(t, "rollback")
	startControllers(t, "deployment-controller")
	revisions := func(want int) {
		t.Helper()
		err := cluster.Eventually(t.Context(), 30*time.Second, 50*time.Millisecond, func() error {
			found := strings.Fields(mustKubectl(t, "", "--namespace", s.namespace, "get", "replicasets", "-o", "name"))
			if len(found) != want {
				return fmt.Errorf("%d ReplicaSets, want %d", len(found), want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range []container{bad, good} {
		mustKubectl(t, text(t, workload("Deployment", s.namespace, "web", 0, c)), "apply", "-f", "-")
		revisions(i + 1)
	}
	s.enforce(t)
	undo := []string{"rollout", "undo", "deployment/web"}
	s.refused(t, "kubectl rollout undo", "", undo, "latest_tag/web")

	stop := ""
	for _, line := range block(t, "deploy/README.md", "stop") {
		if line = strings.TrimSpace(line); stop == "" && strings.HasPrefix(line, "kubectl ") {
			stop = line
		}
	}
	if res := shell(t, t.TempDir(), stop); res.code != 0 {
		t.Fatalf("%s: exit code %d\n%s", stop, res.code, res.stderr)
	}
	inForce(t)
	s.allowed(t, "kubectl rollout undo after "+stop, "", undo...)
}
