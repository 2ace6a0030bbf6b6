package rules

import "strings"

// overlaps tells whether two paths may lead to the same subject of a pod, which both would then count. They do not where
// they ask for different keys, different indexes, or different texts of the same key.
func (p *subjectPath) overlaps(other *subjectPath) bool {
	a, b := segments(p.steps), segments(other.steps)
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].meets(&b[i]) {
			return false
		}
	}
	return true
}

// segments are the steps with each run of keys taken apart.
func segments(steps []step) []step {
	var all []step
	for _, s := range steps {
		if s.kind != stepKeys {
			all = append(all, s)
			continue
		}
		for _, key := range splitKeys(s.keys) {
			all = append(all, step{kind: stepKeys, keys: key})
		}
	}
	return all
}

// meets tells whether a step of one path and a step of another may lead from one value to the same value.
func (s *step) meets(other *step) bool {
	switch {
	case s.kind == stepKeys && other.kind == stepKeys:
		return s.keys == other.keys
	case s.kind == stepKeys:
		return isIndex(s.keys)
	case other.kind == stepKeys:
		return isIndex(other.keys)
	case s.kind == stepEach || other.kind == stepEach:
		return true
	}
	return s.key != other.key || s.literal == other.literal
}

func isIndex(key string) bool { return strings.Trim(key, "0123456789") == "" }
