package vap

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
)

// An Exported is a table as objects of Kubernetes.
type Exported struct {
	// Text is YAML.
	Text       []byte
	Selections []Selection
	// Warnings are about limits of the API server.
	Warnings []string
}

// maxObject is the size of an object that etcd stores by default, less what the API server adds.
const maxObject = 1_500_000

// Export writes the ValidatingAdmissionPolicies and their bindings as YAML: for each action one, and beside deny one that audits what deny
// exempts. The text is the same for the same table and options.
func Export(t *rules.Table, o Options) (*Exported, error) {
	selections, err := Select(t, o)
	if err != nil {
		return nil, err
	}
	e := &Exported{Selections: selections}
	var b bytes.Buffer
	made := policiesOf(t, o, selections)
	b.WriteString(header(t, o, selections, made))
	for _, p := range made {
		object, err := p.object(t)
		if err != nil {
			return nil, err
		}
		e.Warnings = append(e.Warnings, costWarnings(object.Metadata.Name, object.Spec.Variables)...)
		before := b.Len()
		for _, document := range []any{object, p.binding(t)} {
			b.WriteString("---\n")
			encoder := yaml.NewEncoder(&b)
			encoder.SetIndent(2)
			if err := encoder.Encode(document); err != nil {
				return nil, fmt.Errorf("encode a policy: %w", err)
			}
		}
		if size := b.Len() - before; size > maxObject {
			e.Warnings = append(e.Warnings, fmt.Sprintf("%s has %d bytes, which is more than the API server stores; export fewer checks", object.Metadata.Name, size))
		}
	}
	e.Text = b.Bytes()
	return e, nil
}

// policiesOf are the policies of the selections, in the order of the actions.
func policiesOf(t *rules.Table, o Options, selections []Selection) []policy {
	var made []policy
	audit := policy{Options: o, action: rules.Audit, exempted: make(map[string]bool)}
	var audited []string
	for _, s := range selections {
		for _, c := range s.Table.Checks() {
			if s.Action != rules.Warn {
				audited = append(audited, c.ID)
			}
			if s.Action == rules.Deny {
				audit.exempted[c.ID] = true
			}
		}
		if s.Action != rules.Audit {
			made = append(made, policy{Options: o, action: s.Action, table: s.Table})
		}
	}
	if len(audited) > 0 {
		audit.table = observed(t, audited)
		made = append(made, audit)
	}
	return made
}

// header is the comment at the top.
func header(t *rules.Table, o Options, selections []Selection, made []policy) string {
	var b strings.Builder
	line := func(format string, args ...any) { b.WriteString("# " + fmt.Sprintf(format, args...) + "\n") }
	line("ValidatingAdmissionPolicies of the policy table %s, for Kubernetes 1.30 and later.", t.Name())
	line("Made by: %s", oneLine(o.Command))
	line("Hash: %s", t.Hash())
	line("Remove: kubectl delete validatingadmissionpolicies,validatingadmissionpolicybindings -l %s=%s", TableLabel, t.Name())
	if actions, names := others(t, made); len(names) > 0 {
		line("Not in this file: %s. Applying it does not delete such a policy of an earlier export. To do so:", strings.Join(actions, ", "))
		line("  kubectl delete validatingadmissionpolicy,validatingadmissionpolicybinding %s --ignore-not-found", strings.Join(names, " "))
	}
	for _, s := range selections {
		for i, l := range s.LeftOut {
			if i == 0 {
				line("Left out of %s:", s.Action)
			}
			line("  %s: %s", l.What, oneLine(l.Reason))
		}
	}
	return b.String()
}

// others are the actions that an export does not have, and the names of the objects that another export of the table has for them.
func others(t *rules.Table, made []policy) (actions, names []string) {
	for _, action := range rules.Enforcements() {
		if !slices.ContainsFunc(made, func(p policy) bool { return p.action == action }) {
			actions, names = append(actions, string(action)), append(names, objectName(t, action))
		}
	}
	return actions, names
}

// objectName is the name of the objects of an action.
func objectName(t *rules.Table, action rules.Enforce) string {
	return "kube-devops-" + t.Name() + "-" + string(action)
}

func (p *policy) objectName(t *rules.Table) string { return objectName(t, p.action) }

func (p *policy) object(t *rules.Table) (*policyObject, error) {
	variables, err := p.variables()
	if err != nil {
		return nil, err
	}
	failurePolicy := "Fail"
	if p.Ignore {
		failurePolicy = "Ignore"
	}
	return &policyObject{
		objectHead: p.head(t, "ValidatingAdmissionPolicy"),
		Spec: policySpec{
			FailurePolicy:    failurePolicy,
			MatchConstraints: p.constraints(),
			MatchConditions:  p.matchConditions(),
			Variables:        variables,
			Validations: []validation{{
				Expression:        "size(variables.failed) == 0",
				Message:           "The object violates the policy table " + t.Name() + ".",
				MessageExpression: "variables.message",
				Reason:            "Forbidden",
			}},
		},
	}, nil
}

func (p *policy) head(t *rules.Table, kind string) objectHead {
	digits := strings.TrimPrefix(t.Hash(), "sha256:")
	return objectHead{
		APIVersion: "admissionregistration.k8s.io/v1", Kind: kind,
		Metadata: metadata{
			Name:        p.objectName(t),
			Labels:      pairs{{"app.kubernetes.io/managed-by", "kube-devops"}, {HashLabel, digits[:min(len(digits), hashPrefixWidth)]}, {TableLabel, t.Name()}},
			Annotations: pairs{{HashAnnotation, t.Hash()}},
		},
	}
}

func (p *policy) binding(t *rules.Table) *bindingObject {
	actions := map[rules.Enforce]string{rules.Deny: "Deny", rules.Warn: "Warn", rules.Audit: "Audit"}
	return &bindingObject{
		objectHead: p.head(t, "ValidatingAdmissionPolicyBinding"),
		Spec:       bindingSpec{PolicyName: p.objectName(t), ValidationActions: []string{actions[p.action]}},
	}
}

// constraints are the resources that the policy judges. Subresources such as scale and status are not among them.
func (p *policy) constraints() constraints {
	create := []string{"CREATE", "UPDATE"}
	rule := func(operations []string, group string, resources ...string) resourceRule {
		return resourceRule{APIGroups: []string{group}, APIVersions: []string{"v1"}, Operations: operations, Resources: resources}
	}
	c := constraints{MatchPolicy: "Equivalent"}
	if !p.WithoutPods {
		c.ResourceRules = append(c.ResourceRules, rule(create, "", "pods"), rule([]string{"UPDATE"}, "", "pods/ephemeralcontainers", "pods/resize"))
	}
	if !p.WithoutWorkloads {
		c.ResourceRules = append(c.ResourceRules, rule(create, "", "replicationcontrollers"),
			rule(create, "apps", "daemonsets", "deployments", "replicasets", "statefulsets"), rule(create, "batch", "cronjobs", "jobs"))
	}
	if p.NamespaceOptOut {
		c.NamespaceSelector = &selector{[]requirement{{Key: OptOutLabel, Operator: "NotIn", Values: []string{"off"}}}}
	}
	return c
}
