package rules

import (
	"cmp"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
)

// A subjectPath is a path of forEach, prepared for the walk over its subjects.
type subjectPath struct {
	*fieldpath.SubjectPath
	// paths are the paths of the first subjects, rendered in advance where the path walks one array.
	paths []string
}

const prerenderedPaths = 32

// newSubjectPaths prepares a path that has loaded without errors: several where it begins with an alias.
func newSubjectPaths(source string) []subjectPath {
	parsed, err := fieldpath.ParseSubjects(source)
	if err != nil {
		panic("a path that was loaded without an error: " + err.Error())
	}
	paths := make([]subjectPath, len(parsed))
	for i, p := range parsed {
		paths[i].SubjectPath = p
		if len(p.Steps) == 2 {
			for k := range prerenderedPaths {
				paths[i].paths = append(paths[i].paths, fieldpath.Render(p.Steps, []int{k}))
			}
		}
	}
	return paths
}

// restartPolicy is the field of a pod that says whether it runs to completion.
var restartPolicy = func() *fieldpath.Path {
	p, err := fieldpath.Parse("spec.restartPolicy")
	if err != nil {
		panic(err)
	}
	return p
}()

// applies reports whether the path may have subjects in the pod at hand: an alias may leave out pods that run to completion.
func (p *subjectPath) applies(e *evaluation) bool {
	if !p.LongRunning {
		return true
	}
	policy := e.get(e.pod, &restartPolicy.Steps[0])
	return !present(policy) || policy.Type == gjson.String && policy.Str == "Always"
}

// walk calls yield for each subject, whose position is in e.indexes, until yield returns false; it returns false when yield did.
// Objects, strings, numbers and booleans in an array are subjects. Nulls and arrays in it are not.
func (p *subjectPath) walk(e *evaluation, steps []fieldpath.Step, from gjson.Result, yield func(gjson.Result) bool) bool {
	if p.Container > 0 && len(p.Steps)-len(steps) == p.Container {
		e.container = from
	}
	if len(steps) == 0 {
		return !present(from) || from.IsArray() || yield(from)
	}
	s := &steps[0]
	if s.Kind == fieldpath.Keys {
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
	more := true
	from.ForEach(func(_, element gjson.Result) bool {
		e.indexes[depth]++
		if s.Kind != fieldpath.Each && !selects(s, element) {
			return true
		}
		more = p.walk(e, steps[1:], element, yield)
		return more && s.Kind != fieldpath.First
	})
	e.indexes = e.indexes[:depth]
	return more
}

// names returns the name of the container that a subject is, or is a part of, and the name of the subject within it. A subject
// without a name gets one that distinguishes it from its siblings: the text of a scalar, the number and protocol of a port, the key of a
// toleration, or its path.
func (p *subjectPath) names(e *evaluation, subject gjson.Result, path string) (container, name string) {
	within := path
	if p.Container > 0 {
		container = strings.Clone(textOf(e.container, "name"))
		if p.Container == len(p.Steps) {
			return container, ""
		}
		within = strings.Join(fieldpath.SplitKeys(path)[fieldpath.ContainerDepth:], ".")
	}
	if subject.Type != gjson.JSON {
		if fieldpath.MayBeSecret(p.Steps) {
			return container, within
		}
		text := subject.Raw
		if subject.Type == gjson.String {
			text = subject.Str
		}
		return container, cmp.Or(clipped(text), within)
	}
	if name = textOf(subject, "name"); name == "" {
		name = textOf(subject, "key")
	}
	if port := subject.Get("containerPort"); name == "" && port.Type == gjson.Number {
		return container, port.Raw + "/" + cmp.Or(textOf(subject, "protocol"), "TCP")
	}
	return container, cmp.Or(strings.Clone(name), within)
}

// path is the path of the subject at the indexes: keys and numbers only.
func (p *subjectPath) path(indexes []int) string {
	if len(indexes) == 1 && indexes[0] < len(p.paths) {
		return p.paths[indexes[0]]
	}
	return fieldpath.Render(p.Steps, indexes)
}
