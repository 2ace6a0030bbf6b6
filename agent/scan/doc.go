// Package scan evaluates recordings and manifests under a policy table, without a cluster: it returns the scores and violations
// that a live agent would report for the same pods.
//
// One goroutine reads the input and splits it into pods, several evaluate batches of pods, and one puts the verdicts into the
// state, in the order of the input. Batches are reused, so that the memory of a scan is what the state keeps of each pod, however
// large the input is.
//
// The package must not know command lines, thresholds, exit codes or report formats, and it does not log: it returns errors, and
// passes warnings to the caller.
package scan
