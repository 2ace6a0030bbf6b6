package rules

import (
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// Locator finds the subjects of the violations of one object by their paths. The paths of a check follow the order of the
// object, and a hostile pod has ten thousand containers: Locator goes through an array once, not again for each element.
type Locator struct {
	text  []byte
	root  found
	steps []found // what each step of the last path leads to
}

// found is a value, and the step from the value before that leads to it.
type found struct {
	step     string
	value    gjson.Result
	elements []gjson.Result // of an array, once a path leads into it
}

// Begin starts with another object. The text must stay as it is until End.
func (s *Locator) Begin(text []byte) {
	s.text, s.root, s.steps = text, found{value: parsed(text)}, s.steps[:0]
}

// End lets go of the object.
func (s *Locator) End() {
	clear(s.steps[:cap(s.steps)])
	*s = Locator{steps: s.steps[:0]}
}

// Offset is the index of the first byte of what a path leads to: keys and indexes between dots. A dot in a key has a
// backslash before it. It returns false where the path leads to nothing, and for the object itself.
func (s *Locator) Offset(path string) (int, bool) {
	at := s.find(path)
	if path == "" || !at.Exists() {
		return 0, false
	}
	// What was found is a part of the text, and nothing was copied.
	begin := uintptr(unsafe.Pointer(unsafe.StringData(at.Raw))) - uintptr(unsafe.Pointer(unsafe.SliceData(s.text)))
	return int(begin), begin < uintptr(len(s.text))
}

// find is what a path leads to; the object itself where the path is empty.
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

// cutStep is the first key or index of a path, and the rest.
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

// child is a field or an element of what was found.
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

// indexOf is the index that a step of digits is, of an array of a length.
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
