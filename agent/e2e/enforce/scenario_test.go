package enforce_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A scenario is a namespace with a policy of its own, which judges nothing else.
type scenario struct {
	namespace string
	table     string // path
	name      string // of the table
	policies  string // as exported
}

// scenarioTable is the table of the scenarios, about three faults that a container can have each by itself.
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

// newScenario makes the namespace and exports the policies. They are not installed yet, so that there can be objects from before.
func newScenario(t *testing.T, name string, args ...string) *scenario {
	t.Helper()
	return newScenarioOf(t, name, scenarioTable, args...)
}

// newScenarioOf does that with a table, as a format of its name and its namespace.
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

// enforce installs the policies, and returns when they are in force.
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

// refused runs a command that the policy must refuse for exactly these violations, each as check/container.
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

// A container is one of the pods of the scenarios.
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

// newPod makes a pod that no node runs.
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

// workload makes an object of a kind with a template of these containers.
func workload(kind, namespace, name string, replicas int, containers ...container) object {
	o := workloadOf(kind, newPod(namespace, name, containers...))
	if kind != "DaemonSet" && kind != "Job" && kind != "CronJob" {
		o["spec"].(object)["replicas"] = replicas
	}
	return o
}
