// Package history keeps, for one term of leadership, the compliance of each namespace and of the cluster over the last 24 hours, and the last
// violations that were opened and resolved. Its memory is bounded.
//
// It reads snapshots of agent/state. It has no clock: the time is an argument. It must not depend on the source of the snapshots, on leader
// election, or on the readers of the history.
package history
