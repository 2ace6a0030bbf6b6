package enforce_test

import (
	"encoding/json"
	"testing"
)

func text(t *testing.T, o object) string {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestRatchet changes objects that are older than the policy and have violations. Only new violations must be refused.
func TestRatchet(t *testing.T) {
	s := newScenario(t, "ratchet")
	apply := []string{"apply", "-f", "-"}
	broken := container{name: "web", image: "registry.example.com/web:latest", privileged: true} // three faults
	for _, o := range []object{
		newPod(s.namespace, "old", bad),
		newPod(s.namespace, "fixed", bad),
		workload("Deployment", s.namespace, "web", 0, broken),
		workload("Deployment", s.namespace, "two", 0, broken),
		workload("CronJob", s.namespace, "nightly", 0, broken),
	} {
		mustKubectl(t, text(t, o), apply...)
	}
	s.enforce(t)

	s.refused(t, "a new pod", text(t, newPod(s.namespace, "new", bad)), apply, "latest_tag/web")
	s.allowed(t, "a new pod without a violation", text(t, newPod(s.namespace, "good", good)), apply...)
	s.refused(t, "a new Deployment", text(t, workload("Deployment", s.namespace, "new", 0, broken)), apply,
		"latest_tag/web", "missing_liveness/web", "privileged/web")

	t.Run("debug", func(t *testing.T) {
		debug := func(name, image string) []string {
			return []string{"debug", "old", "--image", image, "--container", name, "--profile", "general", "--attach=false"}
		}
		s.allowed(t, "kubectl debug on an old pod", "", debug("shell", "registry.example.com/sh:1.37")...)
		s.refused(t, "kubectl debug with a violation", "", debug("other", "registry.example.com/sh:latest"), "latest_tag/other")
	})

	t.Run("mend", func(t *testing.T) {
		s.allowed(t, "fixing the image of an old pod", "", "set", "image", "pod/fixed", "web=registry.example.com/web:1.29")
		s.refused(t, "restoring the old image", "", []string{"set", "image", "pod/fixed", "web=registry.example.com/web:latest"}, "latest_tag/web")

		s.allowed(t, "fixing one of three violations", "", "set", "image", "deployment/web", "web=registry.example.com/web:1.29")
		s.refused(t, "going back with a Deployment", "", []string{"set", "image", "deployment/web", "web=registry.example.com/web:latest"}, "latest_tag/web")
		s.allowed(t, "a change without a new violation", "", "set", "env", "deployment/web", "LEVEL=debug")
		s.allowed(t, "fixing one of three violations of a CronJob", "", "set", "image", "cronjob/nightly", "web=registry.example.com/web:1.29")
		s.refused(t, "going back with a CronJob", "", []string{"set", "image", "cronjob/nightly", "web=registry.example.com/web:latest"}, "latest_tag/web")
	})

	t.Run("second container", func(t *testing.T) {
		second := container{name: "sidecar", image: "registry.example.com/proxy:latest"}
		s.refused(t, "a second container with violations", text(t, workload("Deployment", s.namespace, "two", 0, broken, second)), apply,
			"latest_tag/sidecar", "missing_liveness/sidecar")
		second = container{name: "sidecar", image: "registry.example.com/proxy:1", live: true}
		s.allowed(t, "a second container without violations", text(t, workload("Deployment", s.namespace, "two", 0, broken, second)), apply...)
		renamed := broken
		renamed.name = "site"
		s.refused(t, "another name for the old container", text(t, workload("Deployment", s.namespace, "two", 0, renamed, second)), apply,
			"latest_tag/site", "missing_liveness/site", "privileged/site")
	})

	t.Run("not the template", func(t *testing.T) {
		s.allowed(t, "scale", "", "scale", "deployment/web", "--replicas=3")
		s.allowed(t, "replicas by a patch", "", "patch", "deployment/web", "--patch", `{"spec": {"replicas": 2}}`)
		s.allowed(t, "a label", "", "label", "pod/old", "deployment/web", "cronjob/nightly", "team=shop")
		s.allowed(t, "an annotation", "", "annotate", "pod/old", "deployment/web", "note=x")
		s.allowed(t, "adding a finalizer", "", "patch", "pod/old", "deployment/two", "--patch", `{"metadata": {"finalizers": ["example.com/hold"]}}`)
		s.allowed(t, "delete", "", "delete", "--wait=false", "pod/old", "deployment/two", "cronjob/nightly")
		s.allowed(t, "removing a finalizer", "", "patch", "pod/old", "deployment/two", "--type=json", "--patch", `[{"op": "remove", "path": "/metadata/finalizers"}]`)
		for _, gone := range []string{"pod/old", "deployment/two"} {
			if res := s.kubectl(t, "", "get", gone); res.code == 0 {
				t.Errorf("%s is still there", gone)
			}
		}
	})
}

// TestRatchetOfResize changes the resources of running pods through pods/resize, the other subresource that changes a pod's spec.
func TestRatchetOfResize(t *testing.T) {
	s := newScenarioOf(t, "resize", `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: %s}
namespaces: {include: [%s], exclude: []}
checks:
  - id: much_memory
    remediation: Ask for less.
    weight: 1
    forEach: spec.containers
    violation: {path: resources.limits.memory, operator: quantityGreaterThan, value: 1Gi}
`)
	sized := func(name, memory string) string {
		pod := newPod(s.namespace, name, good)
		pod["spec"].(object)["containers"].([]any)[0].(object)["resources"] = object{"limits": object{"memory": memory, "cpu": "1"}}
		return text(t, pod)
	}
	resize := func(memory string) string {
		return `{"spec": {"containers": [{"name": "web", "resources": {"limits": {"memory": "` + memory + `"}, "requests": {"memory": "` + memory + `"}}}]}}`
	}
	mustKubectl(t, sized("old", "2Gi"), "apply", "-f", "-")
	s.enforce(t)
	mustKubectl(t, sized("new", "512Mi"), "apply", "-f", "-")
	patch := func(pod, memory string) []string {
		return []string{"patch", "pod", pod, "--subresource", "resize", "--patch", resize(memory)}
	}
	s.refused(t, "a resize with a new violation", "", patch("new", "2Gi"), "much_memory/web")
	s.allowed(t, "a resize of an old pod with the same violation", "", patch("old", "3Gi")...)
	s.allowed(t, "a resize that mends", "", patch("old", "512Mi")...)
	s.refused(t, "a resize that goes back", "", patch("old", "2Gi"), "much_memory/web")
}

// TestRatchetCounts adds a second violation to an old object. Its subject has the same name as that of the first violation.
func TestRatchetCounts(t *testing.T) {
	s := newScenarioOf(t, "counts", `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: %s}
namespaces: {include: [%s], exclude: []}
checks:
  - id: insecure_argument
    remediation: Remove it.
    weight: 1
    forEach: spec.containers.#.args
    violation: {operator: hasPrefix, value: "--insecure"}
  - id: latest_tag
    remediation: Pin the image.
    weight: 1
    forEach: spec.containers
    violation: {path: image, operator: imageTag, value: latest}
`)
	withArgs := func(image string, args ...any) string {
		deployment := workload("Deployment", s.namespace, "web", 0, container{name: "web", image: image, live: true})
		containers := deployment["spec"].(object)["template"].(object)["spec"].(object)["containers"].([]any)
		containers[0].(object)["args"] = args
		return text(t, deployment)
	}
	apply := []string{"apply", "-f", "-"}
	mustKubectl(t, withArgs(bad.image, "--insecure-a", "--quiet"), apply...)
	s.enforce(t)
	s.refused(t, "a second argument with the violation", withArgs(bad.image, "--insecure-a", "--insecure-b"), apply, "insecure_argument/web/args", "insecure_argument/web/args")
	s.allowed(t, "another argument", withArgs(bad.image, "--insecure-a", "--verbose"), apply...)
	s.allowed(t, "another value of the old violation", withArgs(bad.image, "--verbose", "--insecure-c"), apply...)
	s.allowed(t, "no argument with the violation", withArgs(bad.image, "--verbose"), apply...)
	s.refused(t, "going back", withArgs(bad.image, "--insecure-a"), apply, "insecure_argument/web/args")
}

// TestRatchetOfSkipped changes an old object so that the table does not skip it any more. All of its violations then are new.
func TestRatchetOfSkipped(t *testing.T) {
	s := newScenarioOf(t, "unskipped", `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: %s}
namespaces: {include: [%s], exclude: []}
pods:
  skip:
    - {reason: node_agent, when: {path: spec.hostNetwork, operator: equals, value: true}}
checks:
  - id: latest_tag
    remediation: Pin the image.
    weight: 1
    forEach: spec.containers
    violation: {path: image, operator: imageTag, value: latest}
`)
	s.enforce(t)
	deployment := func(c container, hostNetwork bool) string {
		o := workload("Deployment", s.namespace, "web", 0, c)
		o["spec"].(object)["template"].(object)["spec"].(object)["hostNetwork"] = hostNetwork
		return text(t, o)
	}
	apply := []string{"apply", "-f", "-"}
	s.allowed(t, "an object that is skipped", deployment(bad, true), apply...)
	s.refused(t, "the same, no longer skipped", deployment(bad, false), apply, "latest_tag/web")
	s.allowed(t, "without the violation", deployment(good, false), apply...)
	s.allowed(t, "with the violation, skipped again", deployment(bad, true), apply...)
}
