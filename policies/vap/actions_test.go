package vap_test

import (
	"testing"

	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

// TestActionsOf checks that a violation has the action of its check unless a waiver that applies at admission accepts it. Waivers that depend on
// labels, owner references and annotations do not apply to deny, because any user may write these fields.
func TestActionsOf(t *testing.T) {
	table := load(t, everything)
	actions := vap.ActionsOf(table)
	checks := make(map[string]int)
	for i, c := range table.Checks() {
		checks[c.ID] = i
	}
	waivers := map[string]*rules.Waiver{"none": nil, "annotation": {ID: rules.WaiveAnnotation}}
	for _, w := range table.Waivers() {
		waivers[w.ID] = w
	}
	for check, want := range map[string]map[string]rules.Enforce{
		"latest_tag":   {"none": rules.Deny, "legacy": "", "web": "", "team": rules.Deny, "owned": rules.Deny, "annotation": rules.Deny},
		"host_network": {"none": rules.Audit, "legacy": "", "web": "", "team": "", "owned": ""},
		"no_team":      {"none": rules.Warn, "legacy": "", "web": "", "team": "", "owned": ""},
		"scored":       {"none": "", "legacy": ""},
	} {
		for waiver, action := range want {
			if got := actions.Of(checks[check], waivers[waiver]); got != action {
				t.Errorf("%s, accepted by %s: %q, want %q", check, waiver, got, action)
			}
		}
	}
	plain := load(t, `
apiVersion: kube-devops.io/v1
kind: PolicyTable
metadata: {name: plain}
checks: [{id: scored, weight: 1, violation: {path: spec.hostPID, operator: equals, value: true}}]
`)
	if actions := vap.ActionsOf(plain); actions != nil || actions.Of(0, nil) != "" {
		t.Errorf("without enforce: %v", actions)
	}
}
