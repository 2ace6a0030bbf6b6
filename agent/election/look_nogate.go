//go:build nogate

package election

import "cmp"

// lookLocked makes a gate that believes what client-go's elector believes: who was last seen to hold the Lease may
// publish, however long ago that was, and whoever may have led before. No released binary has it: it shows that the
// fault matrix finds two publishers where there are two.
func (g *gate) lookLocked() view {
	t := g.term
	if t == nil {
		return view{reason: cmp.Or(g.barred, reasonNoLease), changed: g.changed}
	}
	v := view{term: t, epoch: t.epoch, wake: g.lease, changed: g.changed}
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
