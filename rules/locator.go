package rules

import (
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// A Locator finds the subjects of violations in one object by their paths. It reads each array once, not once for each element, because a
// hostile pod has ten thousand containers. That works because the paths of a check follow the order of the object.
type Locator struct {
	text  []byte
	root  found
	steps []found // the value of each step of the last path
}

// found is a value, and the step that selects it in the value before.
type found struct {
	step     string
	value    gjson.Result
	elements []gjson.Result // of an array, once a path selects an element
}

// Begin starts with an object. The text must not change until End.
func (s *Locator) Begin(text []byte) {
	s.text, s.root, s.steps = text, found{value: parsed(text)}, s.steps[:0]
}

// End drops all references to the object.
func (s *Locator) End() {
	clear(s.steps[:cap(s.steps)])
	*s = Locator{steps: s.steps[:0]}
}

// Offset returns the index of the first byte of the value of a path, which has keys and indexes between dots; a dot in a key is escaped
// by a backslash. It returns false when there is no such value, and for the object itself.
func (s *Locator) Offset(path string) (int, bool) {
	at := s.find(path)
	if path == "" || !at.Exists() {
		return 0, false
	}
	// The value is a part of the text, not a copy.
	begin := uintptr(unsafe.Pointer(unsafe.StringData(at.Raw))) - uintptr(unsafe.Pointer(unsafe.SliceData(s.text)))
	return int(begin), begin < uintptr(len(s.text))
}

// find returns the value of a path; the object itself for an empty path.
func (s *Locator) find(path string) gjson.Result {
	last := &s.root
	for depth := 0; path != ""; depth++ {
		var step string
		step, path = cutStep(path)
		if depth == len(s.steps) || s.steps[depth].step != step {
			s.steps = append(s.steps[:depth], found{step: step, value: last.child(step)})
		}
		last = &s.steps[depth]
	}
	return last.value
}

// cutStep returns the first key or index of a path, and the rest.
func cutStep(path string) (step, rest string) {
	step, rest, _ = strings.Cut(path, ".")
	if strings.IndexByte(step, '\\') < 0 {
		return step, rest
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path):
			i++
			b.WriteByte(path[i])
		case c == '.':
			return b.String(), path[i+1:]
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// child returns a field or an element of the value.
func (f *found) child(step string) (child gjson.Result) {
	if f.value.IsArray() {
		if f.elements == nil {
			f.elements = f.value.Array()
		}
		if i, ok := indexOf(step, len(f.elements)); ok {
			return f.elements[i]
		}
		return child
	}
	if f.value.IsObject() {
		f.value.ForEach(func(key, value gjson.Result) bool {
			if key.Str == step {
				child = value
			}
			return !child.Exists()
		})
	}
	return child
}

// indexOf parses a step as an index of an array of the length.
func indexOf(step string, length int) (int, bool) {
	i := 0
	for _, c := range []byte(step) {
		if c < '0' || c > '9' || i >= length {
			return 0, false
		}
		i = i*10 + int(c-'0')
	}
	return i, step != "" && i < length
}
