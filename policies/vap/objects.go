package vap

import (
	"strings"

	"gopkg.in/yaml.v3"
)

// These types have their fields in the order in which kubectl prints them.
type (
	objectHead struct {
		APIVersion string   `yaml:"apiVersion"`
		Kind       string   `yaml:"kind"`
		Metadata   metadata `yaml:"metadata"`
	}
	metadata struct {
		Name        string `yaml:"name"`
		Labels      pairs  `yaml:"labels"`
		Annotations pairs  `yaml:"annotations"`
	}
	policyObject struct {
		objectHead `yaml:",inline"`
		Spec       policySpec `yaml:"spec"`
	}
	policySpec struct {
		FailurePolicy    string       `yaml:"failurePolicy"`
		MatchConstraints constraints  `yaml:"matchConstraints"`
		MatchConditions  []named      `yaml:"matchConditions"`
		Variables        []named      `yaml:"variables"`
		Validations      []validation `yaml:"validations"`
	}
	constraints struct {
		MatchPolicy       string         `yaml:"matchPolicy"`
		NamespaceSelector *selector      `yaml:"namespaceSelector,omitempty"`
		ResourceRules     []resourceRule `yaml:"resourceRules"`
	}
	selector struct {
		MatchExpressions []requirement `yaml:"matchExpressions"`
	}
	requirement struct {
		Key      string `yaml:"key"`
		Operator string `yaml:"operator"`
		Values   inLine `yaml:"values"`
	}
	resourceRule struct {
		APIGroups   inLine `yaml:"apiGroups"`
		APIVersions inLine `yaml:"apiVersions"`
		Operations  inLine `yaml:"operations"`
		Resources   inLine `yaml:"resources"`
	}
	validation struct {
		Expression        text   `yaml:"expression"`
		Message           string `yaml:"message"`
		MessageExpression text   `yaml:"messageExpression"`
		Reason            string `yaml:"reason"`
	}
	bindingObject struct {
		objectHead `yaml:",inline"`
		Spec       bindingSpec `yaml:"spec"`
	}
	bindingSpec struct {
		PolicyName        string `yaml:"policyName"`
		ValidationActions inLine `yaml:"validationActions"`
	}
)

// A text is a CEL expression. It is encoded as a literal block if quoting would make it harder to read.
type text string

// MarshalYAML implements yaml.Marshaler.
func (t text) MarshalYAML() (any, error) {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: string(t)}
	if strings.ContainsAny(string(t), "\n\"'") {
		node.Style = yaml.LiteralStyle
	}
	return node, nil
}

// inLine is a list that is encoded on one line.
type inLine []string

// MarshalYAML implements yaml.Marshaler.
func (l inLine) MarshalYAML() (any, error) {
	node := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, entry := range l {
		node.Content = append(node.Content, stringNode(entry))
	}
	return node, nil
}

// pairs is a mapping that keeps its order.
type pairs [][2]string

// MarshalYAML implements yaml.Marshaler.
func (p pairs) MarshalYAML() (any, error) {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, pair := range p {
		node.Content = append(node.Content, stringNode(pair[0]), stringNode(pair[1]))
	}
	return node, nil
}

// stringNode returns the node of a string, quoted if a YAML 1.1 or 1.2 parser could read it as another type.
func stringNode(s string) *yaml.Node {
	var node yaml.Node
	if err := node.Encode(s); err != nil {
		panic("encode a string: " + err.Error()) // impossible
	}
	return &node
}
