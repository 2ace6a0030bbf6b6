package vap

import (
	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/schema"
)

// Options select what is exported, and how.
type Options struct {
	// Action exports every check with this action. If it is empty, each check with the field enforce is exported with its own action.
	Action rules.Enforce
	// Partial leaves out checks that cannot be enforced. Otherwise they are errors.
	Partial bool
	// WithoutPods and WithoutWorkloads leave out pods, and the templates of workloads.
	WithoutPods, WithoutWorkloads bool
	// Ignore admits a request if the policy cannot be evaluated. Otherwise such a request is a violation.
	Ignore bool
	// ControllerUsers are shell globs for the users that create objects from a template that the API server has evaluated. Deny does not
	// apply to these users.
	ControllerUsers []string
	// ExemptGroups are groups of users to which deny does not apply.
	ExemptGroups []string
	// NamespaceOptOut exempts namespaces whose label OptOutLabel has the value off.
	NamespaceOptOut bool
	// Command is the command line that generates the export, for the comment at the top.
	Command string
	// Pods has the types of the fields of a Pod, which make the expressions shorter. It may be nil.
	Pods *schema.Schema
}

// DefaultControllerUsers returns globs for the users of the built-in controllers that create pods and other objects with a pod template.
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
