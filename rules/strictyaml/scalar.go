package strictyaml

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"gopkg.in/yaml.v3"
)

// ScalarKind is the type of a Scalar.
type ScalarKind uint8

// The kinds of scalars.
const (
	TextScalar ScalarKind = iota
	IntScalar
	FloatScalar
	BoolScalar
)

// A Scalar is a string, a number or a boolean.
type Scalar struct {
	Kind  ScalarKind
	Text  string
	Int   int64
	Float float64 // also set for an IntScalar
	Bool  bool
}

// IsNumber reports whether s is an integer or a float.
func (s *Scalar) IsNumber() bool { return s.Kind == IntScalar || s.Kind == FloatScalar }

// ErrOutOfRange is the error of ParseScalar for an integer that does not fit into 64 bits.
var ErrOutOfRange = errors.New("is too big for an integer of 64 bits (-9223372036854775808 to 9223372036854775807)")

// ParseScalar reads a scalar. Its errors continue a sentence that begins with the name of the value.
func ParseScalar(node *yaml.Node) (Scalar, error) {
	wrongType := fmt.Errorf("must be a string in quotes, a number or a boolean, got %s", Describe(node))
	if node.Kind != yaml.ScalarNode {
		return Scalar{}, wrongType
	}
	switch node.ShortTag() {
	case "!!str":
		return Scalar{Kind: TextScalar, Text: node.Value}, nil
	case "!!bool":
		s := Scalar{Kind: BoolScalar}
		if err := node.Decode(&s.Bool); err != nil {
			return Scalar{}, wrongType
		}
		return s, nil
	case "!!int":
		s := Scalar{Kind: IntScalar}
		if err := node.Decode(&s.Int); err != nil && node.Style&yaml.TaggedStyle != 0 {
			return Scalar{}, wrongType
		} else if err != nil {
			return Scalar{}, ErrOutOfRange
		}
		s.Float = float64(s.Int)
		return s, nil
	case "!!float":
		// YAML resolves integers that do not fit into 64 bits as floats, which would no longer be exact.
		if strings.Trim(node.Value, "+-0123456789_") == "" {
			if digits := strings.TrimLeft(node.Value, "+-"); digits[0] == '0' {
				return Scalar{}, errors.New("is not a number in all versions of YAML; leave out the leading zeros")
			}
			return Scalar{}, ErrOutOfRange
		}
		s := Scalar{Kind: FloatScalar}
		if err := node.Decode(&s.Float); err != nil || math.IsNaN(s.Float) || math.IsInf(s.Float, 0) {
			return Scalar{}, errors.New("must be a finite number")
		}
		return s, nil
	}
	return Scalar{}, wrongType
}

// ParseText reads a string. Its error continues a sentence that begins with the name of the value.
func ParseText(node *yaml.Node) (string, error) {
	if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!str" {
		return "", fmt.Errorf("must be a string in quotes, got %s", Describe(node))
	}
	return node.Value, nil
}

// Describe says what a node holds, for messages.
func Describe(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case node.Kind == yaml.MappingNode:
		return "a mapping"
	case node.ShortTag() == "!!null":
		return "an empty value"
	case node.ShortTag() == "!!str" || node.Style != 0:
		return fmt.Sprintf("the string %.64q", node.Value)
	}
	return node.Value
}
