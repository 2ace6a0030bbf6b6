package enforce_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A scenario is a namespace with a policy that applies only to it.
type scenario struct {
	namespace string
	table     string // path
	name      string // of the table
	policies  string // as exported
}

// scenarioTable is the table of the scenarios. It has checks for three independent faults of a container.
const scenarioTable = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: %s}
namespaces: {include: [%s], exclude: []}
checks:
  - id: latest_tag
    remediation: Pin the image to a version or a digest.
    weight: 5
    forEach: allContainers
    violation: {path: image, operator: imageTag, value: latest}
  - id: missing_liveness
    remediation: Add a livenessProbe.
    weight: 3
    forEach: spec.containers
    violation: {path: livenessProbe, operator: absent}
  - id: privileged
    remediation: Remove securityContext.privileged.
    weight: 10
    forEach: allContainers
    violation: {path: securityContext.privileged, operator: equals, value: true}
`

// newScenario creates the namespace and exports the policies. It does not install them, so that a test can create objects before that.
func newScenario(t *testing.T, name string, args ...string) *scenario {
	t.Helper()
	return newScenarioOf(t, name, scenarioTable, args...)
}

// newScenarioOf is like newScenario with another table, given as a format string for its name and its namespace.
func newScenarioOf(t *testing.T, name, table string, args ...string) *scenario {
	t.Helper()
	s := &scenario{name: "e2e-" + name, namespace: namespace(t, "e2e-"+name, nil)}
	s.table = writeFile(t, "table.yaml", fmt.Sprintf(table, s.name, s.namespace))
	if !slices.Contains(args, "--action") {
		args = append(args, "--action", "deny")
	}
	s.policies = export(t, s.table, args...).stdout
	return s
}

// enforce installs the policies, and waits until the API server enforces them.
func (s *scenario) enforce(t *testing.T) {
	t.Helper()
	install(t, s.policies)
	inForce(t)
}

// kubectl runs kubectl in the namespace of the scenario.
func (s *scenario) kubectl(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return kubectl(t, stdin, append([]string{"--namespace", s.namespace}, args...)...)
}

// allowed runs a command that must succeed.
func (s *scenario) allowed(t *testing.T, what, stdin string, args ...string) {
	t.Helper()
	if res := s.kubectl(t, stdin, args...); res.code != 0 {
		t.Errorf("%s is refused: %s", what, res.stderr)
	}
}

// refused runs a command that the policy must refuse for exactly the given violations, each as check/container.
func (s *scenario) refused(t *testing.T, what, stdin string, args []string, want ...string) {
	t.Helper()
	res := s.kubectl(t, stdin, args...)
	if res.code == 0 {
		t.Errorf("%s is not refused: %s%s", what, res.stdout, res.stderr)
		return
	}
	prefix := fmt.Sprintf("ValidatingAdmissionPolicy '%s' with binding '%[1]s' denied request: ", "kube-devops-"+s.name+"-deny")
	_, message, ok := strings.Cut(res.stderr, prefix)
	if !ok {
		t.Errorf("%s: the answer is not a refusal by the policy: %s", what, res.stderr)
		return
	}
	if diff := differ(want, violationsOf(t, message)); diff != "" {
		t.Errorf("%s: refused for other violations (-want +got):\n%s\n%s", what, diff, message)
	}
}

// A container is a container of the scenarios' pods.
type container struct {
	name, image      string
	live, privileged bool
}

func (c container) object() object {
	o := object{"name": c.name, "image": c.image}
	if c.live {
		o["livenessProbe"] = object{"exec": object{"command": []any{"true"}}}
	}
	if c.privileged {
		o["securityContext"] = object{"privileged": true}
	}
	return o
}

// newPod returns a pod that no node runs.
func newPod(namespace, name string, containers ...container) object {
	var all []any
	for _, c := range containers {
		all = append(all, c.object())
	}
	return object{
		"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name, "namespace": namespace},
		"spec": object{"containers": all, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false},
	}
}

var (
	good = container{name: "web", image: "registry.example.com/web:1.29", live: true}
	bad  = container{name: "web", image: "registry.example.com/web:latest", live: true}
)

// workload returns an object of a kind whose template has the given containers.
func workload(kind, namespace, name string, replicas int, containers ...container) object {
	o := workloadOf(kind, newPod(namespace, name, containers...))
	if kind != "DaemonSet" && kind != "Job" && kind != "CronJob" {
		o["spec"].(object)["replicas"] = replicas
	}
	return o
}
