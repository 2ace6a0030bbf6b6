package vap_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

// everything is a table with skips and waivers that deny may and may not trust.
const everything = `
apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: ours}
namespaces: {include: [shop, "team-*"], exclude: [team-x]}
pods:
  skip:
    - reason: finished
      when: {path: status.phase, operator: equals, value: Succeeded}
    - reason: job
      when: {path: metadata.ownerReferences.#.kind, operator: equals, value: Job}
    - reason: windows
      when: {path: spec.os.name, operator: equals, value: windows}
checks:
  - id: latest_tag
    weight: 5
    remediation: Pin the image.
    enforce: deny
    forEach: spec.containers
    violation: {path: image, operator: hasSuffix, value: ":latest"}
  - id: host_network
    weight: 5
    enforce: audit
    violation: {path: spec.hostNetwork, operator: equals, value: true}
  - id: no_team
    weight: 2
    remediation: |
      Set the label "team".
      Ask the platform team for its name.
    enforce: warn
    violation: {path: metadata.labels.team, operator: absent}
  - id: scored
    weight: 1
    violation: {path: spec.hostPID, operator: equals, value: true}
annotationWaivers: {checks: [latest_tag], maxDays: 90}
waivers:
  - {id: legacy, reason: Ada, expires: 2099-01-01, namespace: team-legacy}
  - {id: web, reason: Ada, expires: 2099-01-01, workload: Deployment/web}
  - {id: team, reason: Ada, expires: 2099-01-01, labels: {team: a}}
  - {id: owned, reason: Ada, expires: 2099-01-01, owner: {kind: Job}}
`

func load(t *testing.T, text string) *rules.Table {
	t.Helper()
	table, err := rules.Load("ours.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func summary(table *rules.Table) string {
	if table == nil {
		return "none"
	}
	var words []string
	for _, c := range table.Checks() {
		words = append(words, c.ID)
	}
	for _, s := range table.Skips() {
		words = append(words, "skip:"+s.Reason)
	}
	for _, w := range table.Waivers() {
		words = append(words, "waiver:"+w.ID)
	}
	return strings.Join(words, " ")
}

// TestSelect checks that deny does not depend on fields that any user may write, and that the parts left out are reported.
func TestSelect(t *testing.T) {
	selections, err := vap.Select(load(t, everything), vap.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range selections {
		got = append(got, string(s.Action), summary(s.Table), summary(s.PodTable), summary(s.Controllers))
		for _, l := range s.LeftOut {
			got = append(got, l.What+": "+l.Reason)
		}
	}
	want := []string{
		"deny", "latest_tag skip:windows waiver:legacy waiver:web", "latest_tag skip:windows waiver:legacy",
		"latest_tag skip:job skip:windows waiver:legacy waiver:web waiver:team waiver:owned",
		"skip finished: it reads a field that is not known at admission, such as the status, so it is false",
		"skip job: it depends on the owner references, which any user may write",
		"annotationWaivers: any user may write the annotation",
		"waiver web for pods: any user may write the owner references that assign a pod to a workload; the waiver applies to the template of the workload",
		"waiver team: it depends on the labels, which any user may write",
		"waiver owned: it depends on the owner references, which any user may write",
		"warn", "no_team skip:job skip:windows waiver:legacy waiver:web waiver:team waiver:owned",
		"no_team skip:job skip:windows waiver:legacy waiver:web waiver:team waiver:owned", "none",
		"skip finished: it reads a field that is not known at admission, such as the status, so it is false",
		"audit", "host_network skip:job skip:windows waiver:legacy waiver:web waiver:team waiver:owned",
		"host_network skip:job skip:windows waiver:legacy waiver:web waiver:team waiver:owned", "none",
		"skip finished: it reads a field that is not known at admission, such as the status, so it is false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestSelectNothing checks that the error says how to export a check.
func TestSelectNothing(t *testing.T) {
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("n%0120d", i))
	}
	tests := []struct {
		name, checks, want string
		options            vap.Options
	}{
		{"no enforce", "{id: a, weight: 1, violation: {path: spec.a, operator: exists}}",
			"policy t: no check has the field enforce; set it, or use --action deny, warn or audit for every check", vap.Options{}},
		{"status", "{id: a, weight: 1, violation: {path: status.a, operator: exists}}",
			"check a cannot be enforced: it reads status, which is not known when the object is created (--partial leaves such checks out)", vap.Options{Action: rules.Deny}},
		{"status for each", "{id: a, weight: 1, forEach: status.containerStatuses, violation: {path: a, operator: exists}}",
			"check a cannot be enforced: it reads status, which is not known when the object is created (--partial leaves such checks out)", vap.Options{Action: rules.Warn}},
		{"nothing remains", "{id: a, weight: 1, violation: {path: status.a, operator: exists}}",
			"policy t: none of its checks can be enforced", vap.Options{Action: rules.Deny, Partial: true}},
	}
	tests = append(tests, []struct {
		name, checks, want string
		options            vap.Options
	}{
		{"the kind", "{id: a, weight: 1, violation: {path: kind, operator: equals, value: Pod}}",
			"check a cannot be enforced: it reads kind, which differs between a template and its pods: use --kinds pods (--partial leaves such checks out)", vap.Options{Action: rules.Deny}},
		{"the number of fields", "{id: a, weight: 1, violation: {path: metadata, operator: length, value: {min: 3}}}",
			"check a cannot be enforced: it reads metadata.resourceVersion, which is not known when the object is created (--partial leaves such checks out)", vap.Options{Action: rules.Deny}},
		{"a long expression", "{id: a, weight: 1, violation: {path: spec.schedulerName, operator: in, value: [" + strings.Join(names, ", ") + "]}}",
			"check a cannot be enforced: its CEL expression has", vap.Options{Action: rules.Deny}},
	}...)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := vap.Select(load(t, "apiVersion: kube-devops.io/v1\nkind: PolicyTable\nmetadata: {name: t}\nchecks:\n  - "+tt.checks+"\n"), tt.options)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}
