package vap

import "github.com/kube-devops/kube-devops/rules"

// Actions are the actions that the API server takes for the violations of a table, once the exported policies of the table are installed.
type Actions struct {
	actions []rules.Enforce // by the index of the check; empty for one that is not exported
	// holding has, for each action, the ids of the waivers that apply at admission.
	holding map[rules.Enforce]map[string]bool
}

// ActionsOf returns the actions for a table, and nil if none of its checks is enforced. It translates each check, which is slow: callers
// should keep the result.
func ActionsOf(table *rules.Table) *Actions {
	selections, err := Select(table, Options{Partial: true})
	if err != nil {
		return nil // no check has the field enforce, or none can be enforced, which lint warns about
	}
	a := &Actions{make([]rules.Enforce, len(table.Checks())), make(map[rules.Enforce]map[string]bool)}
	for _, s := range selections {
		exported := make(map[string]bool)
		for _, c := range s.Table.Checks() {
			exported[c.ID] = true
		}
		for i, c := range table.Checks() {
			if exported[c.ID] {
				a.actions[i] = s.Action
			}
		}
		a.holding[s.Action] = make(map[string]bool)
		for _, w := range s.Table.Waivers() {
			a.holding[s.Action][w.ID] = true
		}
		a.holding[s.Action][rules.WaiveAnnotation] = s.Table.AnnotationWaivers() != nil
	}
	return a
}

// Of returns the action for a violation of the check with an index. w is the waiver that accepts the violation, or nil. Of returns "" if the
// API server takes no action, and always if a is nil.
func (a *Actions) Of(check int, w *rules.Waiver) rules.Enforce {
	if a == nil || w != nil && a.holding[a.actions[check]][w.ID] {
		return ""
	}
	return a.actions[check]
}
