// Package leaderservice keeps the address of the leader in the EndpointSlices of a Service without selector, so that the Service
// always leads to the replica that may publish.
//
// The slices exist already, one for each address family, as NAME-ipv4 and NAME-ipv6; the chart makes them empty. The leader reads
// and updates them by name, which is all that its account may do. It fills them when its term begins, and checks them every two
// seconds, so that it repairs what another client has changed, the labels too. The type of the addresses cannot be changed: another
// one is an error in the log. When the process stops, it takes its own address out. A replica that is killed, or that loses the Lease
// and goes on as a standby, leaves its address to the next leader to replace; until then clients get no connection, or status 503.
//
// The package must not know the Lease, what is published, nor HTTP: the agent begins the terms (Service.Lead) and answers whether
// this replica may write now (Options.Permitted).
//
// # Why an old leader cannot replace the address of a new one
//
// A write takes three steps: read the slice, ask for permission, write on condition that the slice still has the resourceVersion that
// was read. The order matters. If this replica is permitted after the read, no other replica was permitted before it, so none has
// written since with a permission of a later term. However late the write arrives, it fails with a conflict if a later leader has
// written in the meantime; if not, that leader's write fails, and it tries again on top of this one. The first write of a term always
// changes the slice, because it names the process in an annotation: otherwise a leader that finds its address already there would
// write nothing, and a late write could still succeed.
//
// The removal of the address when the process stops needs no permission. Its condition is that the slice was last written by this
// process.
package leaderservice
