package rules

import (
	"errors"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// A subjectPath is where the subjects of a check are: the elements of the arrays that a path leads to.
type subjectPath struct {
	source string
	steps  []step
	// containers says that the subjects are containers.
	containers bool
	names      []string // the paths of the first subjects, made beforehand for a path that walks one array
}

const namesBeforehand = 32

func parseSubjectPath(source string) (*subjectPath, error) {
	p, err := parsePath(source)
	if err != nil {
		return nil, err
	}
	if p.root {
		return nil, errors.New("begins with $.: forEach starts at the pod as it is, leave it out")
	}
	s := &subjectPath{source: source, steps: p.steps}
	switch last := p.steps[len(p.steps)-1]; last.kind {
	case stepKeys:
		s.steps = append(s.steps, step{kind: stepEach})
	case stepLength:
		return nil, errors.New("ends with #: forEach walks the elements of an array as it is, leave it out")
	case stepFirst:
		return nil, errors.New("ends with a query for one element: write #(...)# for all")
	}
	switch source {
	case "spec.containers", "spec.initContainers", "spec.ephemeralContainers":
		s.containers = true
	}
	if len(s.steps) == 2 {
		for i := range namesBeforehand {
			s.names = append(s.names, s.render([]int{i}))
		}
	}
	return s, nil
}

// walk calls yield for each subject, with e.indexes telling where it is, until yield returns false; it returns false
// when yield did. A null, a number or a text in an array is no subject.
func (p *subjectPath) walk(e *evaluation, steps []step, from gjson.Result, yield func(gjson.Result) bool) bool {
	if len(steps) == 0 {
		return !from.IsObject() || yield(from)
	}
	s := &steps[0]
	if s.kind == stepKeys {
		if !from.IsObject() && !from.IsArray() {
			return true
		}
		return p.walk(e, steps[1:], e.get(from, s), yield)
	}
	if !from.IsArray() {
		return true
	}
	depth := len(e.indexes)
	e.indexes = append(e.indexes, -1)
	goOn := true
	from.ForEach(func(_, element gjson.Result) bool {
		e.indexes[depth]++
		if s.kind != stepEach && !s.selects(element) {
			return true
		}
		goOn = p.walk(e, steps[1:], element, yield)
		return goOn && s.kind != stepFirst
	})
	e.indexes = e.indexes[:depth]
	return goOn
}

// name is the path of the subject at the indexes: keys and numbers alone.
func (p *subjectPath) name(indexes []int) string {
	if len(indexes) == 1 && indexes[0] < len(p.names) {
		return p.names[indexes[0]]
	}
	return p.render(indexes)
}

func (p *subjectPath) render(indexes []int) string {
	var parts []string
	for i := range p.steps {
		if s := &p.steps[i]; s.kind == stepKeys {
			parts = append(parts, s.keys)
		} else {
			parts = append(parts, strconv.Itoa(indexes[0]))
			indexes = indexes[1:]
		}
	}
	return strings.Join(parts, ".")
}
