// This file replaces agent/election/gatestate.go in the binary of binaries.UngatedAgent.

package election

import "cmp"

// stateLocked opens the gate whenever client-go's elector would report leadership: the last holder that was seen may
// publish, however old the last renewal is, and no matter who led before.
func (g *gate) stateLocked() gateState {
	t := g.term
	if t == nil {
		return gateState{reason: cmp.Or(g.excluded, reasonNoLease), changed: g.changed}
	}
	v := gateState{term: t, epoch: t.epoch, wake: g.lease, changed: g.changed}
	switch {
	case g.stopping:
		v.reason = reasonStopping
	case !t.admitted:
		v.ready, v.reason = true, reasonStarting
	default:
		v.ready, v.open, v.remaining = true, true, g.lease
	}
	return v
}
