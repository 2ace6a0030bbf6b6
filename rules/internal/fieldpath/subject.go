package fieldpath

import (
	"errors"
	"slices"
	"strings"
)

// A SubjectPath is where the subjects of a check are: the elements of the arrays that a path of forEach selects.
type SubjectPath struct {
	Source string // as it is written, perhaps with an alias
	Steps  []Step
	// Container is the number of steps that lead to a container of the pod: all of them when the subjects are containers, 0 when
	// the path leads to none.
	Container int
	// LongRunning: there are no subjects in a pod that runs to completion.
	LongRunning bool
}

// ParseSubjects parses a path of forEach: one path, or several for an alias. Its errors continue a sentence that begins with the path.
func ParseSubjects(source string) ([]*SubjectPath, error) {
	p, err := Parse(source)
	if err != nil {
		return nil, err
	}
	if p.Root {
		return nil, errors.New("begins with $.: forEach always starts at the pod, leave it out")
	}
	paths, err := p.expand()
	if err != nil {
		return nil, err
	}
	if paths == nil {
		paths = []*SubjectPath{{Source: source, Steps: p.Steps}}
	}
	for _, s := range paths {
		switch last := s.Steps[len(s.Steps)-1]; last.Kind {
		case Keys:
			s.Steps = append(s.Steps, Step{Kind: Each})
		case Length:
			return nil, errors.New("ends with #: forEach always walks the elements of an array, leave it out")
		case First:
			return nil, errors.New("ends with a query for one element: write #(...)# for all")
		}
		s.findContainer()
	}
	return paths, nil
}

// containerLists are the lists of a pod whose elements are containers.
var containerLists = []string{"spec.containers", "spec.initContainers", "spec.ephemeralContainers"}

// ContainerDepth is the number of keys and indexes of the path of a container, such as spec.containers.0.
const ContainerDepth = 3

// findContainer finds the step that ends at a container. It splits a run of keys that continues below a container.
func (p *SubjectPath) findContainer() {
	first := p.Steps[0]
	if slices.Contains(containerLists, first.Keys) {
		p.Container = 2 // the list, and the step over its elements
		return
	}
	keys := SplitKeys(first.Keys)
	if len(keys) < ContainerDepth || !slices.Contains(containerLists, strings.Join(keys[:2], ".")) || !IsIndex(keys[2]) {
		return
	}
	p.Container = 1
	if len(keys) > ContainerDepth {
		split := []Step{{Keys: strings.Join(keys[:ContainerDepth], ".")}, {Keys: strings.Join(keys[ContainerDepth:], ".")}}
		for i := range split {
			split[i].splitFirst()
		}
		p.Steps = slices.Concat(split, p.Steps[1:])
	}
}
