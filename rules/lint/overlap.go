package lint

import (
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
)

// overlaps warns of paths that may select the same subject, which then counts once for each of them.
func (l *linter) overlaps(forEach []*yaml.Node) {
	paths := make([][]*fieldpath.SubjectPath, len(forEach))
	for i, entry := range forEach {
		paths[i] = subjectPaths(entry.Value)
		for _, earlier := range paths[:i] {
			if anyOverlap(paths[i], earlier) {
				l.Errorf(entry, "forEach: path %q may select the same subjects as %q, which then count twice", entry.Value, earlier[0].Source)
				break
			}
		}
	}
}

func anyOverlap(some, others []*fieldpath.SubjectPath) bool {
	return slices.ContainsFunc(some, func(p *fieldpath.SubjectPath) bool {
		return slices.ContainsFunc(others, func(q *fieldpath.SubjectPath) bool { return overlap(p, q) })
	})
}

// overlap reports whether two paths may select the same subject of a pod. They do not when they ask for different keys, different
// indexes, or different values of the same key.
func overlap(p, q *fieldpath.SubjectPath) bool {
	a, b := splitSteps(p.Steps), splitSteps(q.Steps)
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !stepsOverlap(&a[i], &b[i]) {
			return false
		}
	}
	return true
}

// splitSteps returns the steps with a step for each key.
func splitSteps(steps []fieldpath.Step) []fieldpath.Step {
	var all []fieldpath.Step
	for _, s := range steps {
		if s.Kind != fieldpath.Keys {
			all = append(all, s)
			continue
		}
		for _, key := range fieldpath.SplitKeys(s.Keys) {
			all = append(all, fieldpath.Step{Kind: fieldpath.Keys, Keys: key})
		}
	}
	return all
}

func stepsOverlap(a, b *fieldpath.Step) bool {
	switch {
	case a.Kind == fieldpath.Keys && b.Kind == fieldpath.Keys:
		return a.Keys == b.Keys
	case a.Kind == fieldpath.Keys:
		return fieldpath.IsIndex(a.Keys)
	case b.Kind == fieldpath.Keys:
		return fieldpath.IsIndex(b.Keys)
	case a.Kind == fieldpath.Each || b.Kind == fieldpath.Each:
		return true
	}
	return a.Key != b.Key || a.Literal == b.Literal
}
