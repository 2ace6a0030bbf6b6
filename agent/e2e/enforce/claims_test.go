package enforce_test

import (
	"testing"
	"time"
)

// TestClaimsAreNotTrusted creates bad pods with owner references, labels and annotations that a skip or a waiver of the table accepts. Deny must
// not trust these fields of a pod, because any user may write them. It trusts the template of the workload, and warn and audit trust both.
func TestClaimsAreNotTrusted(t *testing.T) {
	const table = `apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: %s}
namespaces: {include: [%s], exclude: []}
pods:
  skip:
    - {reason: job, when: {path: metadata.ownerReferences.#.kind, operator: equals, value: Job}}
    - {reason: labelled, when: {path: metadata.labels.skip, operator: equals, value: "yes"}}
    - {reason: annotated, when: {path: metadata.annotations.skip, operator: exists}}
checks:
  - {id: latest_tag, weight: 5, forEach: allContainers, violation: {path: image, operator: imageTag, value: latest}}
waivers:
  - {id: by-label, reason: a test, expires: 2099-06-30, labels: {waived: "yes"}}
  - {id: by-owner, reason: a test, expires: 2099-06-30, owner: {kind: ReplicaSet, name: "web*"}}
  - {id: by-workload, reason: a test, expires: 2099-06-30, workload: Deployment/web}
annotationWaivers: {checks: [latest_tag], maxDays: 90}
`
	s := newScenarioOf(t, "claims", table)
	warn := newScenarioOf(t, "claims-warn", table, "--action", "warn")
	install(t, warn.policies)
	s.enforce(t)
	owner := func(kind, name string) object {
		return object{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "0d3a8f0e-6a7e-4c5c-9f52-000000000000", "controller": true}
	}
	soon := time.Now().AddDate(0, 0, 30).Format(time.DateOnly)
	create := []string{"create", "--dry-run=server", "-f", "-"}
	for _, claim := range []struct {
		name     string
		metadata object
	}{
		{"an owner that is skipped", object{"ownerReferences": []any{owner("Job", "import")}}},
		{"a label that is skipped", object{"labels": object{"skip": "yes"}}},
		{"an annotation that is skipped", object{"annotations": object{"skip": "yes"}}},
		{"a label that is waived", object{"labels": object{"waived": "yes"}}},
		{"an owner that is waived", object{"ownerReferences": []any{owner("ReplicaSet", "web-1")}}},
		{"a workload that is waived", object{"ownerReferences": []any{owner("ReplicaSet", "web-5d9c7b")}, "labels": object{"pod-template-hash": "5d9c7b"}}},
		{"an annotation that waives", object{"annotations": object{"kube-devops.io/waive": "latest_tag expires " + soon + ": because"}}},
	} {
		pod := func(namespace string) string {
			pod := newPod(namespace, "claims", bad)
			merged(pod["metadata"].(object), claim.metadata)
			return text(t, pod)
		}
		s.refused(t, claim.name, pod(s.namespace), create, "latest_tag/web")
		res := warn.kubectl(t, pod(warn.namespace), create...)
		if res.code != 0 || res.stderr != "" {
			t.Errorf("%s, with --action warn: exit code %d: %s", claim.name, res.code, res.stderr)
		}
	}
	s.allowed(t, "the template of the workload that is waived", text(t, workload("Deployment", s.namespace, "web", 0, bad)), create...)
	s.refused(t, "the template of another workload", text(t, workload("Deployment", s.namespace, "shop", 0, bad)), create, "latest_tag/web")
}
