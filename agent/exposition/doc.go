// Package exposition is the list of the metrics about scores: name, help, labels and values of each, from one snapshot of
// the state. The agent serves them, and a scan writes them to a file for the textfile collector of the node exporter.
//
// The package knows the state and Prometheus' formats. It must not know where a snapshot comes from, nor who scrapes.
package exposition
