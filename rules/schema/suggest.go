package schema

import (
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

// SuggestPath returns the existing path that a path which is not in the schema most likely means, relative to the subject where
// possible. It returns "" when there is none, or when another kind of step than a key is wrong.
func (s *Schema) SuggestPath(from *Type, path *fieldpath.Path, wrong *PathError) string {
	if from != s.Root && !path.Root {
		if _, outside := s.Root.Find(path.Steps); outside == nil {
			return "$." + path.Source
		}
	}
	if wrong.key == "" {
		return ""
	}
	prefix := ""
	if path.Root {
		prefix = "$."
	}
	if corrected := wrong.corrected(); corrected != "" {
		return prefix + corrected
	}
	// Fields with the name of the last key, wherever they are.
	last := path.Steps[len(path.Steps)-1]
	if last.Kind != fieldpath.Keys {
		return ""
	}
	keys := fieldpath.SplitKeys(last.Keys)
	name := keys[len(keys)-1]
	if fieldpath.IsIndex(name) {
		return ""
	}
	candidates := from.pathsTo(name)
	if len(candidates) == 0 && from != s.Root {
		candidates, prefix = s.Root.pathsTo(name), "$."
	}
	if len(candidates) == 0 {
		return ""
	}
	return prefix + slices.MinFunc(candidates, func(a, b string) int {
		return suggest.Distance(a, path.Source) - suggest.Distance(b, path.Source)
	})
}

// corrected replaces the unknown key by a similar one, if the rest of the path then exists.
func (e *PathError) corrected() string {
	var alternatives []string
	switch {
	case e.at.Items != nil && e.at.Items.Properties != nil:
		alternatives = []string{"#." + e.key}
	default:
		for _, name := range e.at.fieldNames() {
			if suggest.Similar(e.key, name) {
				alternatives = append(alternatives, name)
			}
		}
	}
	slices.SortStableFunc(alternatives, func(a, b string) int { return suggest.Distance(a, e.key) - suggest.Distance(b, e.key) })
	for _, name := range alternatives {
		p, err := fieldpath.Parse(name)
		if err != nil {
			continue
		}
		if _, wrong := e.at.Find(slices.Concat(p.Steps, e.rest)); wrong == nil {
			words := []string{e.before, name}
			for i := range e.rest {
				words = append(words, e.rest[i].String())
			}
			return strings.TrimPrefix(strings.Join(words, "."), ".")
		}
	}
	return ""
}

// pathsTo lists the paths below a type that end with a field of the name, ignoring case: the shortest first, at most one for each
// type that has the field.
func (t *Type) pathsTo(name string) []string {
	type entry struct {
		path string
		at   *Type
	}
	var found []string
	seen := map[*Type]bool{t: true}
	for queue := []entry{{"", t}}; len(queue) > 0; queue = queue[1:] {
		here := queue[0]
		for _, field := range here.at.fieldNames() {
			path := strings.TrimPrefix(here.path+"."+strings.ReplaceAll(field, ".", `\.`), ".")
			if strings.EqualFold(field, name) {
				found = append(found, path)
			}
			at := here.at.Properties[field]
			for at.Items != nil {
				path, at = path+".#", at.Items
			}
			if at.Properties != nil && !seen[at] {
				seen[at] = true
				queue = append(queue, entry{path, at})
			}
		}
	}
	return found
}
