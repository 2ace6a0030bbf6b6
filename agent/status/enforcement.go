package status

import (
	"sync"

	"github.com/kube-devops/kube-devops/policies/vap"
	"github.com/kube-devops/kube-devops/rules"
)

// enforced keeps what the API server does about the violations of the last table: to find it out takes a translation of all checks.
type enforced struct {
	mu      sync.Mutex
	of      *rules.Table
	actions *vap.Actions
}

// actions are those of a table, once its exported policies are installed.
func (v *Views) actions(table *rules.Table) *vap.Actions {
	e := &v.enforced
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.of != table {
		e.actions, e.of = vap.ActionsOf(table), table
	}
	return e.actions
}
