// Package vap writes the checks of a policy table as a ValidatingAdmissionPolicy and its binding, so that the API server enforces them
// without a webhook. It must not know how a check is written in CEL, which package cel knows, and it reads no cluster, no file and no clock.
package vap
