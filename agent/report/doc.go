// Package report prints the result of a scan, or the state of an agent, in the format that a reader wants: a table for a
// terminal, JSON, YAML, SARIF, JUnit, annotations and comments for GitHub, an HTML page, and metrics. Each printer writes
// one report to one io.Writer. All text that comes from pods and policies is escaped for its format, because anyone may have
// written it. The package also compares a scan with an older report, and the scores of two policies.
//
// It reads snapshots of agent/state. It must not know where pods come from, nor open files, clusters or sockets.
package report
