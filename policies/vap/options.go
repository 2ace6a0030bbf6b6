package vap

import "github.com/kube-devops/kube-devops/rules"

// Options say what is exported and how.
type Options struct {
	// Action exports every check for this one action; empty: each check for its own.
	Action rules.Enforce
	// Partial leaves out what cannot be enforced, instead of refusing the table.
	Partial bool
}
