// Package faults tests the agent against the fault matrix. Two replicas run as processes, each behind its own proxy, with a real
// API server. Each row is one fault. Two oracles observe every row from beginning to end:
//
//   - double publish: both replicas are scraped every 50 ms, and the time in which both export scores must be 0.0 s. The time without
//     an answered scrape of a running replica is bounded too;
//   - recompute: the agent must serve the scores of a consistent list of the pods, as computed by package oracle, within 5 s of the
//     last change.
//
// In addition, no replica may panic, exit, log its token, or log the same warning more than once per second, unless the row says so.
//
//	go test ./faults                                   the rows for every merge, with a lease duration of 6 s
//	go test ./faults -args -rows=all -lease=full       all rows, with a lease duration of 15 s
//	go test ./faults -args -rows=4,5                   selected rows
//	... -args -write                                   write the results to deploy/RELIABILITY.md
//
// This package must not import the product: it tests the binary.
package faults
