// Package history remembers, for one term of leadership, how the compliance of each namespace and of the cluster went in the last
// 24 hours, and which violations were opened and resolved last. Its memory is bounded, whatever happens in the cluster.
//
// It reads snapshots of agent/state. It has no clock: the time is an argument. It must not know where snapshots come from, who
// leads, or who reads the history.
package history
