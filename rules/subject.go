package rules

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// A subjectPath is where the subjects of a check are: the elements of the arrays that a path leads to.
type subjectPath struct {
	source string
	steps  []step
	// container is how many steps lead to a container of the pod: all of them where the subjects are containers, 0 where
	// the path leads to none.
	container int
	paths     []string // the paths of the first subjects, made beforehand for a path that walks one array
}

const pathsBeforehand = 32

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
	s.findContainer()
	if len(s.steps) == 2 {
		for i := range pathsBeforehand {
			s.paths = append(s.paths, s.render([]int{i}))
		}
	}
	return s, nil
}

// containerLists are the lists of a pod whose elements are containers.
var containerLists = []string{"spec.containers", "spec.initContainers", "spec.ephemeralContainers"}

// containerDepth is how many keys and indexes lead to a container: "spec.containers.0".
const containerDepth = 3

// findContainer finds the step that ends at a container. Where an index ends there in the middle of a run of keys, the run
// is split.
func (p *subjectPath) findContainer() {
	first := p.steps[0]
	if slices.Contains(containerLists, first.keys) {
		p.container = 2 // the list, and the step over its elements
		return
	}
	keys := splitKeys(first.keys)
	if len(keys) < containerDepth || !slices.Contains(containerLists, strings.Join(keys[:2], ".")) || !isIndex(keys[2]) {
		return
	}
	p.container = 1
	if len(keys) > containerDepth {
		split := []step{{keys: strings.Join(keys[:containerDepth], ".")}, {keys: strings.Join(keys[containerDepth:], ".")}}
		for i := range split {
			split[i].takeApart()
		}
		p.steps = slices.Concat(split, p.steps[1:])
	}
}

// walk calls yield for each subject, with e.indexes telling where it is, until yield returns false; it returns false
// when yield did. A null, a number or a text in an array is no subject.
func (p *subjectPath) walk(e *evaluation, steps []step, from gjson.Result, yield func(gjson.Result) bool) bool {
	if p.container > 0 && len(p.steps)-len(steps) == p.container {
		e.container = from
	}
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

// names returns the names of the container that a subject is, or is a part of, and of the subject within it. A subject
// without a name has a word that tells it from its neighbours: the port and protocol of a port, the key of a toleration, or
// else its path.
func (p *subjectPath) names(e *evaluation, subject gjson.Result, path string) (container, name string) {
	within := path
	if p.container > 0 {
		container = strings.Clone(textOf(e.container, "name"))
		if p.container == len(p.steps) {
			return container, ""
		}
		within = strings.Join(splitKeys(path)[containerDepth:], ".")
	}
	if name = textOf(subject, "name"); name == "" {
		name = textOf(subject, "key")
	}
	if port := subject.Get("containerPort"); name == "" && port.Type == gjson.Number {
		return container, port.Raw + "/" + cmp.Or(textOf(subject, "protocol"), "TCP")
	}
	return container, cmp.Or(strings.Clone(name), within)
}

// path is the path of the subject at the indexes: keys and numbers alone.
func (p *subjectPath) path(indexes []int) string {
	if len(indexes) == 1 && indexes[0] < len(p.paths) {
		return p.paths[indexes[0]]
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
