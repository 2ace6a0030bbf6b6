// Package policytest runs the cases of policy tests: it finds the files tests.yaml in folders, evaluates the pods that they
// name under the policy that they name, and prints in what a pod's violations differ from the expected ones.
package policytest
