// Package rules loads policy tables from YAML, compiles them, and evaluates pods, given as JSON, against them.
//
// A table that loads can be evaluated: Load validates and compiles every path, operator, value and pattern, and reports all errors at
// once. A compiled Table is immutable and safe for concurrent use.
//
// The package must not know where a pod comes from, nor which fields a Pod has, nor what a table should say: that is in package lint. It
// reads no file, no clock and no network.
package rules
