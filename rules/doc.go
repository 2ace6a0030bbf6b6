// Package rules is the policy table and its engine: it loads a table of checks from YAML, compiles it, and evaluates
// pods, given as JSON, against it.
//
// A table that loads can run: every path, operator, value and pattern is checked and compiled by Load, and Load names
// every mistake at once. A compiled Table is immutable and safe for concurrent use. The package is pure: it reads no
// file, no clock and no network, and knows nothing of where a pod comes from.
package rules
