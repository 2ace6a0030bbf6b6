// Package faults holds the agent to its fault matrix: two replicas as processes, each behind a proxy of its own, before a
// real API server; one fault a row (rows_test.go and night_test.go). Two oracles watch every row from its beginning to its end:
//
//   - double publish: both replicas are scraped every 50 ms, and the time in which both export scores must be 0.0 s. How long
//     nothing was known of a replica that ran is bounded too;
//   - recompute: the scores of a consistent list of the pods, computed by the oracle package, must be served within 5 s of the
//     last change.
//
// Besides, no replica panics, ends, logs its token or one warning more than once a second, unless its row says so.
//
//	go test ./faults                                   the rows of every merge, with a Lease of 6 s
//	go test ./faults -args -rows=all -lease=full       all rows, with a Lease of 15 s
//	go test ./faults -args -rows=4,5                   single rows
//	... -args -write                                   put what was measured into deploy/RELIABILITY.md
package faults
