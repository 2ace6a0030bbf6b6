package election

import "cmp"

// stateLocked returns the current state of the gate. The caller holds g.mu. The function has a file of its own because the
// end-to-end tests build a binary in which a gate without these checks replaces it.
func (g *gate) stateLocked() gateState {
	t := g.term
	if t == nil {
		return gateState{reason: cmp.Or(g.excluded, reasonNoLease), changed: g.changed}
	}
	now := g.clock()
	elapsed, agree := now.since(t.sent)
	remaining := g.lease - g.margin - elapsed
	if remaining <= 0 {
		g.endLocked(reasonExpired)
		return gateState{reason: reasonExpired, changed: g.changed}
	}
	v := gateState{term: t, epoch: t.epoch, wake: remaining, changed: g.changed}
	switch wait := t.notBefore - now.mono; {
	case g.stopping:
		v.reason = reasonStopping
	case wait > 0:
		v.reason, v.wait, v.wake = reasonNotBefore, wait, min(wait, remaining)
	case !agree:
		v.reason = reasonClocks
	case !t.admitted:
		v.ready, v.reason = true, reasonStarting
	default:
		v.ready, v.open, v.remaining = true, true, remaining
	}
	return v
}
