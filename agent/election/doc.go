// Package election lets one of several replicas publish, and never two at the same moment.
//
// It campaigns for a Lease through client-go's leaderelection, which "does not guarantee that only one client is
// acting as a leader": its callbacks come late, its IsLeader stays true after a loss, its release may wipe the Lease
// of another holder. So none of these is asked. Permission comes from a gate that knows one thing, the time at which
// the last successful write of the Lease was sent, and is asked for at each publication (Elector.Publish).
//
// # When the gate is open
//
// All of these hold:
//   - the last successful write was sent less than LeaseDuration - Margin ago, by the monotonic clock and by the wall
//     clock, and the two agree to a second; where they do not, the next renewal opens the gate again;
//   - no read since has shown that somebody else wrote the Lease: another holder, none, an edit under our name, or no
//     Lease at all;
//   - no earlier leader can still publish. A term that begins on top of an expired Lease begins after the whole time
//     that its holder had since this process saw the last change; on top of a release, at once; on top of anything
//     else (no Lease, an edit by hand) one LeaseDuration after its own first write. So the first install in a cluster
//     publishes after one LeaseDuration;
//   - this replica is not stopping.
//
// # Why no two gates are open at once
//
// Take two writes of two replicas that both hold their gates open, A's carried out before B's. A's gate closes
// LeaseDuration - Margin after A's write was sent. B's term began on top of A's write or of something later, as each
// write is conditional on the version that it builds upon. If that was a Lease held by another, B saw it after A's
// write was sent, and waits a whole lease; if it was a release, its writer had ended its work, and its own term had
// waited for A's; anything else waits a whole lease after an answer that came later still. Margin is left for clocks
// that run at different rates, and for the last bytes.
//
// # What stays open
//
// A release that is forged in all its fields is believed (see released). A process that is stopped between its last
// check and its write, for longer than the lease, writes when it wakes; publications carry a deadline against that.
// A Lease that is put back, field for field, to our own last write while another replica leads is taken for ours.
package election
