package agent

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kube-devops/kube-devops/agent/report"
)

// validateNamespaces names the mistakes in --namespaces.
func (o *Options) validateNamespaces() error {
	var mistakes []error
	for i, name := range o.Namespaces {
		if wrong := validation.IsDNS1123Label(name); len(wrong) > 0 {
			mistakes = append(mistakes, fmt.Errorf("--namespaces: %.64q is not the name of a namespace; patterns are for the policy table", name))
		}
		if slices.Contains(o.Namespaces[:i], name) {
			mistakes = append(mistakes, fmt.Errorf("--namespaces: %s appears twice", name))
		}
	}
	if len(o.Namespaces) > 0 && o.Replay != "" {
		mistakes = append(mistakes, errors.New("--namespaces and --replay exclude each other: a recording has the namespaces that it has"))
	}
	return errors.Join(mistakes...)
}

// namespaceFile is where Kubernetes mounts the name of the pod's own namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// ownLeaseNamespace moves the Lease to the pod's own namespace where an agent watches some namespaces alone, since it is
// likely to have no rights elsewhere. A namespace that was named stays.
func (o *Options) ownLeaseNamespace(file string) {
	if len(o.Namespaces) == 0 || o.leaseNamespaceNamed() {
		return
	}
	if text, err := os.ReadFile(file); err == nil {
		if name := strings.TrimSpace(string(text)); name != "" {
			o.Election.Namespace = name
		}
	}
}

// scope is what the report says of the namespaces that are watched; nil where that is the whole cluster.
func (a *Agent) scope() *report.Scope {
	if len(a.options.Namespaces) == 0 {
		return nil
	}
	return &report.Scope{
		Namespaces: slices.Sorted(slices.Values(a.options.Namespaces)),
		Forbidden:  append([]string{}, a.watch.Forbidden()...), // an empty list is not null
	}
}

func (o *Options) leaseNamespaceNamed() bool {
	return o.leaseNamespaceFlag != nil && o.leaseNamespaceFlag.Changed
}
