// Package election lets one of several replicas publish, and never two at the same moment.
//
// It campaigns for a Lease with client-go's leaderelection, which "does not guarantee that only one client is acting as a
// leader": its callbacks are late, its IsLeader stays true after a loss, and its release may wipe the Lease of another holder. So
// this package uses none of them. A gate, which knows only when the last successful write of the Lease was sent, permits each
// publication (Elector.Publish).
//
// The package must not know what is published, nor pods, rules or HTTP: it takes functions for the guarded work (Options.Lead)
// and for the question whether this replica has anything to publish (Options.InSync).
//
// # When the gate is open
//
// All of these conditions hold:
//   - The last successful write was sent less than LeaseDuration - Margin ago, by the monotonic clock and by the wall clock, and
//     the two agree to a second. If they do not, the next renewal opens the gate again.
//   - No read since has shown a write by another client: another holder, no holder, an edit under our name, or no Lease at all.
//   - No earlier leader can still publish. A term that begins on top of an expired Lease waits until its holder's whole time has
//     passed since this process saw the last change. On top of a release it begins at once. On top of anything else (no Lease,
//     an edit by hand) it waits for one LeaseDuration after its own first write, so the first installation in a cluster publishes
//     after one LeaseDuration.
//   - This replica is not stopping.
//
// # Why no two gates are open at once
//
// Take two writes of two replicas A and B that both hold their gates open, A's carried out before B's. A's gate closes
// LeaseDuration - Margin after A's write was sent. B's term began on top of A's write or of something later, because each write
// is conditional on the version on which it builds. If that was a Lease held by another, B saw it after A's write was sent, and
// waits for a whole lease. If it was a release, its writer had ended its work, and its own term had waited for A's. Anything else
// waits for a whole lease after a response that came later still. Margin is for clocks that run at different rates, and for the
// last bytes.
//
// # What is not covered
//
//   - A release that is forged in all its fields is accepted (see released).
//   - A process that is stopped between its last check and its write, for longer than the lease, writes when it wakes. The
//     deadlines of publications limit that.
//   - If the Lease is set back, field for field, to our own last write while another replica leads, we take it for ours.
package election
