package policytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

// maxPodBytes is more than any pod has: a cluster stores at most 1.5 MiB.
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
	// What is no JSON is told of by the evaluation, and what is no text is as good as absent.
	_ = json.Unmarshal(pod, &head)
	if head.Kind != "" && head.Kind != "Pod" {
		return nil, "", fmt.Errorf("%s: is a %.64q, and no Pod", file, head.Kind)
	}
	return pod, head.Metadata.Namespace, nil
}

func readBounded(file string) (text []byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	// The file is only read: closing it loses nothing.
	defer func() { _ = f.Close() }()
	text, err = io.ReadAll(io.LimitReader(f, maxPodBytes+1))
	if err == nil && len(text) > maxPodBytes {
		err = fmt.Errorf("%s: is larger than %d MiB, which no pod is", file, maxPodBytes>>20)
	}
	return text, err
}

// toJSON writes the one document of a YAML text as JSON. Anchors, merge keys and tags that JSON knows nothing of are
// refused, and dates are the text that they are in a pod.
func toJSON(text []byte) ([]byte, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New("is empty")
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("holds more than one document")
	}
	var b bytes.Buffer
	if err := writeJSON(&b, document.Content[0]); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func writeJSON(b *bytes.Buffer, node *yaml.Node) error {
	switch node.Kind {
	case yaml.MappingNode:
		return writeObject(b, node)
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, entry := range node.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, entry); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case yaml.ScalarNode:
		return writeScalar(b, node)
	}
	return fmt.Errorf("line %d: anchors and aliases are not allowed: write it out", node.Line)
}

func writeObject(b *bytes.Buffer, node *yaml.Node) error {
	b.WriteByte('{')
	seen := make(map[string]bool)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge":
			return fmt.Errorf("line %d: a key must be a string", key.Line)
		case seen[key.Value]:
			return fmt.Errorf("line %d: field %.64q stands here twice", key.Line, key.Value)
		case i > 0:
			b.WriteByte(',')
		}
		seen[key.Value] = true
		writeText(b, key.Value)
		b.WriteByte(':')
		if err := writeJSON(b, node.Content[i+1]); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func writeScalar(b *bytes.Buffer, node *yaml.Node) error {
	var value any
	switch node.ShortTag() {
	case "!!str", "!!timestamp":
		writeText(b, node.Value)
		return nil
	case "!!null", "!!bool", "!!int", "!!float":
		if err := node.Decode(&value); err != nil {
			return err
		}
		if f, isFloat := value.(float64); isFloat && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return fmt.Errorf("line %d: %s is no number that JSON has", node.Line, node.Value)
		}
	default:
		return fmt.Errorf("line %d: the tag %.64q means nothing in a pod", node.Line, node.Tag)
	}
	text, err := json.Marshal(value)
	b.Write(text)
	return err
}

func writeText(b *bytes.Buffer, text string) {
	quoted, _ := json.Marshal(text) // a string can always be written
	b.Write(quoted)
}
