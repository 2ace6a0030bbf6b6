// Package vap writes the checks of a policy table as ValidatingAdmissionPolicies and their bindings, so that the API server enforces them
// without a webhook. Package cel translates the checks to CEL. Package vap reads no cluster, no file and no clock.
package vap
