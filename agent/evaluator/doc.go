// Package evaluator keeps the state of the cluster up to date: it evaluates pods under the policy in force, exchanges the
// whole state when the policy changes, and logs what changed in the violations of each pod. Outside of a term of leadership
// there is no state, and pods pass by.
//
// It does not know where pods and policies come from, how the term was won, or who reads the state.
package evaluator
