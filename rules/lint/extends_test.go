package lint_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/lint"
)

// TestWarningsAboutExtendedTables: a warning names the file and the line where the text is that it is about.
func TestWarningsAboutExtendedTables(t *testing.T) {
	const head = "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\n"
	below := rules.Source{File: "team.yaml", Text: []byte(head + `namespaces: {exclude: [Team]}
checks:
  - id: tag
    weight: 1
    forEach: spec.containers
    violation: {path: image, operator: equals, value: "*:latest"}
  - {id: user, weight: 1, forEach: spec.containers, violation: {path: securityContext.runAsUser, operator: equals, value: 0}}
`)}
	top := rules.Source{File: "ours.yaml", Text: []byte(head + `namespaces: {excludeAlso: ["dev,test"]}
checks:
  - {id: tag, weight: 5}
  - {id: pod, weight: 1, violation: {path: kind, operator: equals, value: Job}}
  - {id: user, violation: {path: securityContext.runAsUser, operator: lessThan, value: 1}}
`)}
	table, err := rules.LoadAll(below, top)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, warning := range lint.Warnings(table, top.File, top.Text, lint.Options{Pods: podSchema(t), Now: newYear, Below: []rules.Source{below}}) {
		got = append(got, warning.String())
	}
	want := []string{
		`team.yaml:4: warning: namespaces.exclude: "Team" can match no namespace: names are in lower case; write "team"`,
		`team.yaml:9: warning: check tag: equals on "image": it compares text, and "*:latest" is not a pattern there; write {path: image, operator: hasSuffix, value: ":latest"}`,
		`ours.yaml:4: warning: namespaces.excludeAlso: "dev,test" can match no namespace: a shell glob has no commas and braces; write each name by itself`,
		`ours.yaml:7: warning: check pod: equals on "kind": the subject is always a Pod, never a Job; the owners of a pod are at metadata.ownerReferences.#.kind`,
		`ours.yaml:8: warning: check user: lessThan on "securityContext.runAsUser": a container without runAsUser has the pod's; write path: [securityContext.runAsUser, $.spec.securityContext.runAsUser]`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}
