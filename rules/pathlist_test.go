package rules_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
)

// TestPathList has a setting of a container that falls back to that of its pod.
func TestPathList(t *testing.T) {
	const seccomp = "path: [securityContext.seccompProfile.type, $.spec.securityContext.seccompProfile.type], operator: "
	table := tableOf(t, "spec.containers",
		"{"+seccomp+"notIn, value: [RuntimeDefault, Localhost]}",
		"{"+seccomp+"equals, value: Unconfined}",
		"{"+seccomp+"absent}",
		"{"+seccomp+"exists}",
		"{path: [ports.#.hostPort, $.spec.ports.#.hostPort], operator: equals, value: 80}",
		"{path: [$.spec.a, b, $.spec.c], operator: equals, value: x}",
	)
	pod := func(inPod, container string) string {
		return `{"spec":{` + inPod + `"containers":[{` + container + `}]}}`
	}
	const ofPod = `"securityContext":{"seccompProfile":{"type":"RuntimeDefault"}},`
	for _, test := range []struct{ name, pod, want string }{
		{"neither", pod("", ""), "T.T..."},
		{"the pod's", pod(ofPod, ""), "...T.."},
		{"the container's wins", pod(ofPod, `"securityContext":{"seccompProfile":{"type":"Unconfined"}}`), "TT.T.."},
		{"null is absent", pod(ofPod, `"securityContext":{"seccompProfile":{"type":null}}`), "...T.."},
		{"one of several values is enough", pod(`"ports":[{"hostPort":80}],`, `"ports":[{},{"hostPort":81}]`), "T.T..."},
		{"no value of several", pod(`"ports":[{"hostPort":80}],`, `"ports":[{},{"hostPort":null}]`), "T.T.T."},
		{"root first", pod(`"a":"y",`, `"b":"x"`), "T.T..."},
		{"subject second", pod(`"c":"y",`, `"b":"x"`), "T.T..T"},
		{"root last", pod(`"c":"x",`, ``), "T.T..T"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := holds(t, table, test.pod); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
	if got := table.Checks()[5].Violation(); got != "the pod's spec.a, else b, else the pod's spec.c, is x" {
		t.Errorf("described as %q", got)
	}
}

// The path that gave the value decides whether it may be a secret.
func TestDetailOfPathList(t *testing.T) {
	for _, test := range []struct {
		forEach, path, pod string
		want               rules.Detail
	}{
		{"", "[spec.a, metadata.annotations.a]", `{"spec":{"a":"x"},"metadata":{"annotations":{"a":"secret"}}}`, rules.Detail{Value: "x"}},
		{"", "[spec.a, metadata.annotations.a]", `{"spec":{},"metadata":{"annotations":{"a":"secret"}}}`, rules.Detail{Withheld: true}},
		{"spec.containers.#.env", "[value, $.spec.a]", `{"spec":{"a":"x","containers":[{"env":[{"value":"secret"}]}]}}`, rules.Detail{Withheld: true}},
		{"spec.containers.#.env", "[value, $.spec.a]", `{"spec":{"a":"x","containers":[{"env":[{}]}]}}`, rules.Detail{Value: "x"}},
		{"", "[spec.a.#.b, spec.c]", `{"spec":{"a":[{"b":1},{"b":2}],"c":"x"}}`, rules.Detail{}},
	} {
		table := tableOf(t, test.forEach, "{path: "+test.path+", operator: exists}")
		if diff := cmp.Diff([]rules.Detail{test.want}, detailsOf(t, table, []byte(test.pod))); diff != "" {
			t.Errorf("%s of %s (-want +got):\n%s", test.path, test.pod, diff)
		}
	}
}

// TestHostilePathList compares a long text of the pod for many containers: it is read once.
func TestHostilePathList(t *testing.T) {
	table := tableOf(t, "spec.containers", `{path: [image, $.spec.hostname], operator: contains, value: "x\u0000"}`)
	pod := []byte(`{"spec":{"hostname":"` + strings.Repeat(`x\u0001`, megabyte) + `","containers":[` + strings.TrimSuffix(strings.Repeat("{},", rules.MaxSubjects), ",") + `]}}`)
	var verdict rules.Verdict
	bytes := allocated(func() {
		if err := table.EvaluateInto(&verdict, pod); err != nil {
			t.Fatal(err)
		}
	})
	if len(verdict.Violations) != 0 || bytes > 32*megabyte {
		t.Errorf("%d violations and %d bytes allocated, want none and at most 32 MB", len(verdict.Violations), bytes)
	}
}
