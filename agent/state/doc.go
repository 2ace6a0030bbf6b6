// Package state keeps the live state of a cluster: which pods it has, the verdict of each, the counts of each namespace, and
// the scores that follow from the counts. It must not know where pods come from, what is done with the scores, or what time
// it is: it imports neither Kubernetes nor the packages that read, watch or report, and has no clock.
//
// The invariant: the state after any sequence of events equals the state computed from scratch from the pods that remain. It
// holds because the state keeps the verdict of each pod, and subtracts it from the counts before another verdict, or none,
// replaces it.
//
// One lock, ClusterState.mu, guards everything that changes. It is never held during the evaluation of a pod, and no code of
// another package runs under it. Snapshots share only immutable data with the state, and need no lock.
package state
