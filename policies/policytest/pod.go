package policytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxPodBytes is more than any pod has: etcd stores at most 1.5 MiB.
const maxPodBytes = 4 << 20

// readPod returns the JSON of the pod in a file, which is JSON or YAML, and its namespace.
func readPod(file string) (pod []byte, namespace string, err error) {
	text, err := readBounded(file)
	if err != nil {
		return nil, "", err
	}
	if pod = text; filepath.Ext(file) != ".json" {
		if pod, err = toJSON(text); err != nil {
			return nil, "", fmt.Errorf("%s: %w", file, err)
		}
	}
	var head struct {
		Kind     string
		Metadata struct{ Namespace string }
	}
	// The evaluation reports invalid JSON, and a value of another type counts as absent.
	_ = json.Unmarshal(pod, &head)
	if head.Kind != "" && head.Kind != "Pod" {
		return nil, "", fmt.Errorf("%s: kind must be Pod, got %.64q", file, head.Kind)
	}
	return pod, head.Metadata.Namespace, nil
}

func readBounded(file string) (text []byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	// Closing a file that was only read loses nothing.
	defer func() { _ = f.Close() }()
	text, err = io.ReadAll(io.LimitReader(f, maxPodBytes+1))
	if err == nil && len(text) > maxPodBytes {
		err = fmt.Errorf("%s: is larger than %d MiB", file, maxPodBytes>>20)
	}
	return text, err
}

// toJSON converts the one document of a YAML text. It refuses what JSON cannot express, anchors, aliases and merge keys, and leaves dates
// as the strings that they are in a pod.
func toJSON(text []byte) ([]byte, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New("is empty")
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("must hold one YAML document")
	}
	root := document.Content[0]
	if err := prepare(root); err != nil {
		return nil, err
	}
	var value any
	if err := root.Decode(&value); err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// prepare makes the types of a node those of JSON, or says why that is impossible.
func prepare(node *yaml.Node) error {
	seen := make(map[string]bool)
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 {
			switch {
			case child.Kind != yaml.ScalarNode || child.ShortTag() == "!!merge":
				return fmt.Errorf("line %d: a key must be a string", child.Line)
			case seen[child.Value]:
				return fmt.Errorf("line %d: duplicate field %.64q", child.Line, child.Value)
			}
			seen[child.Value] = true
			child.Tag = "!!str"
		}
		if err := prepare(child); err != nil {
			return err
		}
	}
	switch tag := node.ShortTag(); {
	case node.Kind == yaml.AliasNode || node.Anchor != "":
		return fmt.Errorf("line %d: anchors and aliases are not allowed; repeat the value instead", node.Line)
	case tag == "!!timestamp":
		node.Tag = "!!str"
	case tag == "!!float" && strings.ContainsAny(node.Value, "iInN"): // .inf, .nan
		return fmt.Errorf("line %d: %s is not a number in JSON", node.Line, node.Value)
	case !slices.Contains([]string{"!!map", "!!seq", "!!str", "!!null", "!!bool", "!!int", "!!float"}, tag):
		return fmt.Errorf("line %d: the tag %.64q is not allowed in a pod", node.Line, node.Tag)
	}
	return nil
}
