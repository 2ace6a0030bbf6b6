package vap

import "github.com/kube-devops/kube-devops/rules"

// Actions are what the API server does about violations of a table, once the policies that the table is exported as are installed.
type Actions struct {
	actions []rules.Enforce // by the index of the check; empty for one that is not exported
	// holding are the ids of the waivers that hold at admission, for each action.
	holding map[rules.Enforce]map[string]bool
}

// ActionsOf returns nil if no check of the table is enforced. It translates each check of the table: keep the result.
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

// Of returns what the API server does about a violation of a check, given by its index, which the waiver accepts unless it is nil.
// Empty: nothing, as always for nil actions.
func (a *Actions) Of(check int, w *rules.Waiver) rules.Enforce {
	if a == nil || w != nil && a.holding[a.actions[check]][w.ID] {
		return ""
	}
	return a.actions[check]
}
