package rules

import (
	"slices"
	"strings"

	"github.com/kube-devops/kube-devops/rules/suggest"
)

// nearest is the path that exists and is most like one that does not, relative to the subject where it can be; empty
// where none is like it, or what is wrong is no key.
func (s *Schema) nearest(from *schemaType, path *valuePath, wrong *misstep) string {
	if wrong.key == "" {
		return ""
	}
	prefix := ""
	if path.root {
		prefix = "$."
	}
	if corrected := wrong.corrected(); corrected != "" {
		return prefix + corrected
	}
	// The fields that are called as the last key is, wherever they stand.
	last := path.steps[len(path.steps)-1]
	if last.kind != stepKeys {
		return ""
	}
	keys := splitKeys(last.keys)
	name := keys[len(keys)-1]
	if strings.Trim(name, "0123456789") == "" {
		return ""
	}
	candidates := from.pathsTo(name)
	if len(candidates) == 0 && from != s.root {
		candidates, prefix = s.root.pathsTo(name), "$."
	}
	best := ""
	for _, candidate := range candidates {
		if best == "" || suggest.Distance(candidate, path.source) < suggest.Distance(best, path.source) {
			best = candidate
		}
	}
	if best == "" {
		return ""
	}
	return prefix + best
}

// corrected replaces the key that is wrong by one that is spelled alike, if the rest of the path then leads somewhere.
func (m *misstep) corrected() string {
	var alternatives []string
	switch {
	case m.at.kinds == anArray && m.at.of.fields != nil:
		alternatives = []string{"#." + m.key}
	case m.at.fields != nil:
		for name := range m.at.fields {
			if suggest.Similar(m.key, name) {
				alternatives = append(alternatives, name)
			}
		}
	}
	slices.SortFunc(alternatives, func(a, b string) int {
		if d := suggest.Distance(a, m.key) - suggest.Distance(b, m.key); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for _, name := range alternatives {
		p, err := parsePath(name)
		if err != nil {
			continue
		}
		if _, wrong := m.at.find(slices.Concat(p.steps, m.rest)); wrong == nil {
			words := []string{m.before, name}
			for i := range m.rest {
				words = append(words, m.rest[i].String())
			}
			return strings.TrimPrefix(strings.Join(words, "."), ".")
		}
	}
	return ""
}

// pathsTo lists the paths below a type that end with a field of the name, whatever its letters' case: the shortest
// first, at most one for each type that has the field.
func (t *schemaType) pathsTo(name string) []string {
	type way struct {
		path string
		at   *schemaType
	}
	var found []string
	seen := map[*schemaType]bool{t: true}
	for queue := []way{{"", t}}; len(queue) > 0; queue = queue[1:] {
		here := queue[0]
		names := make([]string, 0, len(here.at.fields))
		for field := range here.at.fields {
			names = append(names, field)
		}
		slices.Sort(names)
		for _, field := range names {
			path := strings.TrimPrefix(here.path+"."+strings.ReplaceAll(field, ".", `\.`), ".")
			if strings.EqualFold(field, name) {
				found = append(found, path)
			}
			at := here.at.fields[field].schemaType
			for at.kinds == anArray {
				path, at = path+".#", at.of
			}
			if at.fields != nil && !seen[at] {
				seen[at] = true
				queue = append(queue, way{path, at})
			}
		}
	}
	return found
}
