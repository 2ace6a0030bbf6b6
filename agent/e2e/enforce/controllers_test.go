package enforce_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kube-devops/kube-devops/agent/e2e/cluster"
	"github.com/kube-devops/kube-devops/agent/e2e/process"
)

// startControllers runs kube-controller-manager with the given controllers until the test ends. Each controller has its own service account.
func startControllers(t *testing.T, controllers ...string) *process.Process {
	t.Helper()
	dir := filepath.Join(env.dir, "controllers-"+t.Name())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	proc, err := process.Start(process.Options{
		Name: "kube-controller-manager", Path: filepath.Join(env.bin, "kube-controller-manager"), Dir: dir,
		Env: []string{"HOME=" + dir},
		Args: []string{
			"--kubeconfig", env.Cluster.Kubeconfig(), "--leader-elect=false", "--use-service-account-credentials", "--secure-port=0",
			"--controllers=" + strings.Join(controllers, ","),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if proc.Ended() {
			t.Error(proc.Tail())
		}
		proc.Kill()
	})
	return proc
}

// podNames lists the pods of the scenario.
func (s *scenario) podNames(t *testing.T) []string {
	t.Helper()
	return strings.Fields(mustKubectl(t, "", "--namespace", s.namespace, "get", "pods", "-o", "name"))
}

// waitPods waits until the scenario has a number of pods whose names begin with the prefix.
func (s *scenario) waitPods(t *testing.T, prefix string, want int) {
	t.Helper()
	err := cluster.Eventually(t.Context(), 30*time.Second, 50*time.Millisecond, func() error {
		found := 0
		for _, name := range s.podNames(t) {
			if strings.HasPrefix(name, "pod/"+prefix) {
				found++
			}
		}
		if found != want {
			return fmt.Errorf("%d pods of %s, want %d", found, prefix, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An auditEvent has the fields of an audit log line that the tests read.
type auditEvent struct {
	Verb      string
	User      struct{ Username string }
	ObjectRef struct{ Resource, Namespace, Name string }
	Response  struct{ Code int } `json:"responseStatus"`

	Annotations map[string]string
}

// auditEvents reads the audit log.
func auditEvents(t *testing.T) []auditEvent {
	t.Helper()
	file, err := os.Open(env.auditLog)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var events []auditEvent
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var event auditEvent
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			continue // the last line may not be whole yet
		}
		events = append(events, event)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return events
}

// audited returns the violations that the audit policy of the scenario found in the pods that a user created, by pod.
func (s *scenario) audited(t *testing.T, user string) (found [][]string) {
	t.Helper()
	for _, event := range auditEvents(t) {
		if event.Verb != "create" || event.ObjectRef.Resource != "pods" || event.ObjectRef.Namespace != s.namespace || event.User.Username != user || event.Response.Code != 201 {
			continue
		}
		var violations []string
		for _, failure := range auditFailures(t, event) {
			if failure.Policy == "kube-devops-"+s.name+"-audit" {
				violations = violationsOf(t, failure.Message)
			}
		}
		found = append(found, violations)
	}
	return found
}

// An auditFailure is an entry of the audit annotation that a policy with the action Audit adds.
type auditFailure struct{ Message, Policy, Binding string }

func auditFailures(t *testing.T, event auditEvent) (failures []auditFailure) {
	t.Helper()
	if text := event.Annotations["validation.policy.admission.k8s.io/validation_failure"]; text != "" {
		if err := json.Unmarshal([]byte(text), &failures); err != nil {
			t.Fatal(err)
		}
	}
	return failures
}

// wantAudited checks that a user created a number of pods, and that each was audited with the given violations.
func (s *scenario) wantAudited(t *testing.T, user string, pods int, want ...string) {
	t.Helper()
	found := s.audited(t, user)
	if len(found) != pods {
		t.Errorf("%s has created %d pods, want %d: %v", user, len(found), pods, found)
	}
	for _, got := range found {
		if diff := differ(want, got); diff != "" {
			t.Errorf("a pod by %s: audited violations (-want +got):\n%s", user, diff)
		}
	}
}

const controllerUser = "system:serviceaccount:kube-system:"

// TestControllers lets the controllers of Kubernetes create pods from templates that are older than the policy. The pods must be admitted and
// audited, because otherwise scaling or draining would cause an outage.
func TestControllers(t *testing.T) {
	const node = "e2e-node"
	s := newScenario(t, "controllers")
	mustKubectl(t, `{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "`+node+`"}}`, "apply", "-f", "-")
	onNode := func(o object) string {
		o["spec"].(object)["template"].(object)["spec"].(object)["nodeName"] = node
		return text(t, o)
	}
	mustKubectl(t, onNode(workload("ReplicaSet", s.namespace, "rs", 0, bad)), "apply", "-f", "-")
	mustKubectl(t, onNode(workload("ReplicationController", s.namespace, "rc", 0, bad)), "apply", "-f", "-")
	startControllers(t, "replicaset-controller", "replicationcontroller-controller")
	s.enforce(t)

	s.allowed(t, "scaling up", "", "scale", "rs/rs", "rc/rc", "--replicas=2")
	s.waitPods(t, "rs-", 2)
	s.waitPods(t, "rc-", 2)
	s.wantAudited(t, controllerUser+"replicaset-controller", 2, "latest_tag/web")
	s.wantAudited(t, controllerUser+"replication-controller", 2, "latest_tag/web")
	s.refused(t, "the same pod by a person", text(t, newPod(s.namespace, "mine", bad)), []string{"apply", "-f", "-"}, "latest_tag/web")

	before := s.podNames(t)
	if res := s.kubectl(t, "", "drain", node, "--force", "--timeout=60s"); res.code != 0 {
		t.Fatalf("drain: %s%s", res.stdout, res.stderr)
	}
	s.waitPods(t, "rs-", 2)
	s.waitPods(t, "rc-", 2)
	for _, name := range before {
		if res := s.kubectl(t, "", "get", name); res.code == 0 {
			t.Errorf("%s is still there after the drain", name)
		}
	}
	s.wantAudited(t, controllerUser+"replicaset-controller", 4, "latest_tag/web")
	s.wantAudited(t, controllerUser+"replication-controller", 4, "latest_tag/web")
	mustKubectl(t, "", "--namespace", s.namespace, "scale", "rs/rs", "rc/rc", "--replicas=0")
	s.waitPods(t, "r", 0)
}

// as returns the kubectl flags to impersonate a user who has all permissions and one more group.
func as(user string, groups ...string) []string {
	flags := []string{"--as", user, "--as-group", "system:masters"}
	for _, group := range groups {
		flags = append(flags, "--as-group", group)
	}
	return flags
}

// TestExemptions creates a bad pod as exempt users, in namespaces that opt out, and as other users.
func TestExemptions(t *testing.T) {
	const operator = "system:serviceaccount:databases:operator"
	plain := newScenario(t, "plain")
	named := newScenario(t, "named", "--controller-user", "system:serviceaccount:databases:*", "--exempt-group", "breakglass", "--namespace-opt-out")
	install(t, plain.policies)
	named.enforce(t)
	create := func(flags []string) []string { return append([]string{"create", "-f", "-"}, flags...) }
	pod := func(s *scenario, name string) string { return text(t, newPod(s.namespace, name, bad)) }

	plain.refused(t, "an operator's account without --controller-user", pod(plain, "operator"), create(as(operator)), "latest_tag/web")
	plain.refused(t, "a group without --exempt-group", pod(plain, "breakglass"), create(as("ada", "breakglass")), "latest_tag/web")
	plain.refused(t, "an account that is named like a controller in another namespace", pod(plain, "fake"),
		create(as("system:serviceaccount:shop:replicaset-controller")), "latest_tag/web")
	plain.allowed(t, "kube-controller-manager without separate accounts", pod(plain, "manager"), create(as("system:kube-controller-manager"))...)
	plain.wantAudited(t, "admin", 1, "latest_tag/web")

	named.allowed(t, "an operator's account with --controller-user", pod(named, "operator"), create(as(operator))...)
	named.refused(t, "the template of an operator", text(t, workload("Deployment", named.namespace, "operator", 0, bad)), create(as("ada")), "latest_tag/web")
	named.allowed(t, "the group of --exempt-group", pod(named, "breakglass"), create(as("ada", "breakglass"))...)
	named.refused(t, "anybody else", pod(named, "ada"), create(as("ada", "developers")), "latest_tag/web")
	named.wantAudited(t, "admin", 2, "latest_tag/web")

	for _, s := range []*scenario{plain, named} {
		mustKubectl(t, "", "label", "namespace", s.namespace, "kube-devops.io/enforce=off")
	}
	// The API server reads the labels of a namespace from its cache.
	err := cluster.Eventually(t.Context(), forceTimeout, 50*time.Millisecond, func() error {
		if res := named.kubectl(t, pod(named, "opted-out"), create([]string{"--dry-run=server"})...); res.code != 0 {
			return errors.New(res.stderr)
		}
		return nil
	})
	if err != nil {
		t.Errorf("a namespace that opts out: %v", err)
	}
	plain.refused(t, "a label without --namespace-opt-out", pod(plain, "opted-out"), create(nil), "latest_tag/web")
}
