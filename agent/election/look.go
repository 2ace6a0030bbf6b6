//go:build !nogate

package election

import "cmp"

// lookLocked returns the state of the gate at this moment. The gate's lock is held.
func (g *gate) lookLocked() view {
	t := g.term
	if t == nil {
		return view{reason: cmp.Or(g.barred, reasonNoLease), changed: g.changed}
	}
	now := g.clock()
	elapsed, agree := now.since(t.sent)
	remaining := g.lease - g.margin - elapsed
	if remaining <= 0 {
		g.endLocked(reasonExpired)
		return view{reason: reasonExpired, changed: g.changed}
	}
	v := view{term: t, epoch: t.epoch, wake: remaining, changed: g.changed}
	switch wait := t.notBefore - now.mono; {
	case g.stopping:
		v.reason = reasonStopping
	case wait > 0:
		v.reason, v.wake = reasonNotBefore, min(wait, remaining)
	case !agree:
		v.reason = reasonClocks
	case !t.admitted:
		v.ready, v.reason = true, reasonStarting
	default:
		v.ready, v.open, v.remaining = true, true, remaining
	}
	return v
}
