// Package policytest runs policy tests: it finds the files of kind PolicyTest in folders, evaluates the pods that they name with the
// policy that they name, and prints how the violations differ from the expected ones. It must not know how a table is evaluated, nor
// where pods come from other than files.
package policytest
