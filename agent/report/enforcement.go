package report

import (
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

// enforced returns the actions of the API server for violations. It returns nil if no check is enforced.
func (s *Scan) enforced() *vap.Actions {
	if !s.enforcementKnown {
		s.enforcement, s.enforcementKnown = vap.ActionsOf(s.Snapshot.Table), true
	}
	return s.enforcement
}

// enforcementNote describes how many violations the API server would refuse, warn about and audit. It returns "" if no check is enforced.
func (s *Scan) enforcementNote() string {
	e := s.enforced()
	if e == nil || len(s.Admission) > 0 {
		return "" // the report lists the refusals
	}
	counts := make(map[rules.Enforce]int)
	for v, waived := range s.Snapshot.AllViolations() {
		counts[e.Of(v.Check, acceptedBy(v, waived))]++
	}
	var words []string
	for _, action := range rules.Enforcements() {
		if n := counts[action]; n > 0 {
			words = append(words, english.Plural(n, "violation", "")+" "+outcomes[action])
		}
	}
	if len(words) == 0 {
		words = []string{"nothing"}
	}
	return "Admission, with the exported policies of this table: " + strings.Join(words, ", ") +
		", if the objects are created. An update is refused only for violations that the object did not have before."
}

// outcomes describes what happens to an object, by action.
var outcomes = map[rules.Enforce]string{rules.Deny: "refused", rules.Warn: "warned about", rules.Audit: "audited"}

// acceptedBy returns the waiver that accepts a violation; nil if the violation counts.
func acceptedBy(v state.PodViolation, waived bool) *rules.Waiver {
	if waived {
		return v.Waiver
	}
	return nil
}
