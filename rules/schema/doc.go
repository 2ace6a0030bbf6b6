// Package schema knows the fields of a Kubernetes object and their types, and finds where a path of a policy table leads in it. It must
// not know what a table says about that place, nor read files: package policies embeds the schema of a Pod.
package schema
