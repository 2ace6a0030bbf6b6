package status

import (
	"sync"

	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

// enforced caches the actions of the API server for the last table, because computing them translates all checks.
type enforced struct {
	mu      sync.Mutex
	of      *rules.Table
	actions *vap.Actions
}

// actions returns the actions for the violations of a table, if its exported policies are installed.
func (v *Views) actions(table *rules.Table) *vap.Actions {
	e := &v.enforced
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.of != table {
		e.actions, e.of = vap.ActionsOf(table), table
	}
	return e.actions
}
