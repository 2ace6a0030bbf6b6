package rules

import (
	"strconv"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// canonical copies an operand with each integer in decimal digits, which the engine, a description and an encoded table then agree on:
// 0777 is 511 in YAML 1.1 and 777 in YAML 1.2.
func canonical(node *yaml.Node) *yaml.Node {
	if node == nil {
		return nil
	}
	copied := *node
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!int" && node.Style&yaml.TaggedStyle == 0 {
		if s, err := strictyaml.ParseScalar(node); err == nil {
			copied.Value = strconv.FormatInt(s.Int, 10)
		}
	}
	copied.Content = make([]*yaml.Node, len(node.Content))
	for i, child := range node.Content {
		copied.Content[i] = canonical(child)
	}
	return &copied
}
