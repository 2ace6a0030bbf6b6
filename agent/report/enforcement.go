package report

import (
	"strings"

	"github.com/dustin/go-humanize/english"

	"github.com/kube-devops/kube-devops/agent/state"
	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

// An enforcement says what the API server does about violations, once the policies that the table is exported as are installed.
type enforcement struct {
	actions []rules.Enforce // by the index of the check; empty for one that is not exported
	// holding are the ids of the waivers that hold at admission, for each action.
	holding map[rules.Enforce]map[string]bool
}

// enforcementOf returns nil if no check of the table is enforced.
func enforcementOf(table *rules.Table) *enforcement {
	if !enforces(table) {
		return nil
	}
	selections, err := vap.Select(table, vap.Options{Partial: true})
	if err != nil {
		return nil // none of the checks can be enforced, which lint warns about
	}
	e := &enforcement{make([]rules.Enforce, len(table.Checks())), make(map[rules.Enforce]map[string]bool)}
	for _, s := range selections {
		exported := make(map[string]bool)
		for _, c := range s.Table.Checks() {
			exported[c.ID] = true
		}
		for i, c := range table.Checks() {
			if exported[c.ID] {
				e.actions[i] = s.Action
			}
		}
		e.holding[s.Action] = make(map[string]bool)
		for _, w := range s.Table.Waivers() {
			e.holding[s.Action][w.ID] = true
		}
		e.holding[s.Action][rules.WaiveAnnotation] = s.Table.AnnotationWaivers() != nil
	}
	return e
}

// of returns what the API server does about a violation of a check, which the waiver accepts unless it is nil.
func (e *enforcement) of(check int, w *rules.Waiver) rules.Enforce {
	if e == nil || w != nil && e.holding[e.actions[check]][w.ID] {
		return ""
	}
	return e.actions[check]
}

// enforced returns what the API server does about violations. It is nil if it does nothing.
func (s *Scan) enforced() *enforcement {
	if !s.enforcementKnown {
		s.enforcement, s.enforcementKnown = enforcementOf(s.Snapshot.Table), true
	}
	return s.enforcement
}

// enforcementNote counts what the API server would refuse and warn about. It is empty if no check is enforced.
func (s *Scan) enforcementNote() string {
	e := s.enforced()
	if e == nil || len(s.Admission) > 0 {
		return "" // what is refused is listed
	}
	counts := make(map[rules.Enforce]int)
	for v, waived := range s.Snapshot.AllViolations() {
		counts[e.of(v.Check, acceptedBy(v, waived))]++
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

// outcomes say what becomes of an object.
var outcomes = map[rules.Enforce]string{rules.Deny: "refused", rules.Warn: "warned about", rules.Audit: "audited"}

// acceptedBy returns the waiver that accepts a violation; nil if the violation counts.
func acceptedBy(v state.PodViolation, waived bool) *rules.Waiver {
	if waived {
		return v.Waiver
	}
	return nil
}
