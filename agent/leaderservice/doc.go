// Package leaderservice keeps the address of the leader in the EndpointSlices of a Service without a selector, so that the Service sends
// requests to the replica that may publish.
//
// The chart creates the slices empty, one for each address family, with the names NAME-ipv4 and NAME-ipv6. The leader reads and updates them
// by name, because its account has no other permissions. It fills the slices when its term begins. It then checks them every two seconds, and
// repairs the addresses, ports and labels that another client has changed. The address type of a slice is immutable: a wrong type is an error
// in the log. When the process stops, it removes its own address. A replica that is killed, or that loses the Lease and becomes a standby,
// leaves its address until the next leader replaces it. Until then, clients get no connection, or status 503.
//
// The package must not depend on the Lease, on the published data, or on HTTP: the agent begins the terms (Service.Lead) and decides whether
// this replica may write (Options.Permitted).
//
// # Why an old leader cannot replace the address of a new leader
//
// A write has three steps: read the slice, check the permission, and update the slice on the condition that it still has the resourceVersion
// that was read. The order matters. If this replica is permitted after the read, then no replica of a later term was permitted before the
// read, so no later leader had written the slice. If a later leader writes before this write arrives, this write fails with a conflict, however
// late it arrives. If this write arrives first, the later leader replaces it: if it read the slice before, its write fails, and it retries.
//
// The first write of a term always changes the slice, because it sets an annotation with the identity of the process. Otherwise a leader whose
// address is already in the slice would not write, and a late write of an old leader could still succeed.
//
// The removal of the address when the process stops needs no permission. Its condition is that this process was the last to write the slice.
package leaderservice
