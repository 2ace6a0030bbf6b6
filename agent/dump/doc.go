// Package dump reads recorded pods and manifests: the output of `kubectl get pods -o json` (a List or a Pod), a PodList of the
// API, several of these in a row, JSON lines, a recorded watch (`kubectl get pods -A -o json --watch --output-watch-events`), the
// same in YAML, and manifests of workloads, whose pod templates it emits as pods on request. Any of them may be compressed with
// gzip or zstd. It also finds such files in folders.
//
// It splits the input into items without decoding them, and holds one item at a time, however long the input is. JSON is read at
// some GB/s if the caller checks the pods itself (Unchecked). YAML is converted to JSON in batches of 256 KiB on all processors,
// which is some fifty times slower.
//
// If reading fails, nothing of the input can be trusted, including the events before the error.
//
// The package must not know policies, scores or reports: it does not decide which pods count, and it prints nothing.
package dump
