package rules

import (
	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

func (r *loader) severity(node *yaml.Node, what string) Severity {
	s := Severity(node.Value)
	if s.Rank() < 0 {
		r.Errorf(node, "%s must be critical, high, medium or low, got %s%s", what, strictyaml.Describe(node), severityHint(node.Value))
	}
	return s
}

func (r *loader) category(node *yaml.Node) Category {
	c := Category(node.Value)
	if c.Rank() == len(categories) {
		r.Errorf(node, "category must be security, reliability, efficiency or hygiene, got %s", strictyaml.Describe(node))
	}
	return c
}

func (r *loader) showValue(node *yaml.Node) *bool {
	s, err := strictyaml.ParseScalar(node)
	if err != nil || s.Kind != strictyaml.BoolScalar {
		r.Errorf(node, "showValue must be true or false, got %s", strictyaml.Describe(node))
		return nil
	}
	return &s.Bool
}
