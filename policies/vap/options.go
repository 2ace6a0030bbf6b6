package vap

import (
	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/schema"
)

// Options say what is exported and how.
type Options struct {
	// Action exports every check for this one action; empty: each check for its own.
	Action rules.Enforce
	// Partial leaves out what cannot be enforced, instead of refusing the table.
	Partial bool
	// WithoutPods and WithoutWorkloads leave out pods, and the templates of workloads.
	WithoutPods, WithoutWorkloads bool
	// Ignore admits a request for which the policy cannot be evaluated; otherwise it counts as a violation.
	Ignore bool
	// ControllerUsers are shell globs of the users that create the objects of a template that was judged before. Deny does not apply to them.
	ControllerUsers []string
	// ExemptGroups are the groups whose members deny does not apply to.
	ExemptGroups []string
	// NamespaceOptOut exempts the namespaces with the label OptOutLabel and the value off.
	NamespaceOptOut bool
	// Command is the command that makes the export, for its comment.
	Command string
	// Pods has the types of the fields of a Pod, which shorten the expressions; nil for none.
	Pods *schema.Schema
}

// DefaultControllerUsers are the users of the controllers of Kubernetes that create pods and other objects with a template.
func DefaultControllerUsers() []string {
	return []string{"system:serviceaccount:kube-system:*-controller", "system:kube-controller-manager"}
}

// The labels and annotations of what is exported, and of namespaces.
const (
	TableLabel      = "kube-devops.io/policy-table"
	HashLabel       = "kube-devops.io/policy-hash-prefix"
	HashAnnotation  = "kube-devops.io/policy-hash"
	OptOutLabel     = "kube-devops.io/enforce"
	hashPrefixWidth = 16
)
