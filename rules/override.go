package rules

import "strings"

// podSettings is where a pod has the settings that its containers may override, and containerSettings where they do.
const (
	podSettings       = "$.spec.securityContext."
	containerSettings = "securityContext."
)

// doubtOverride warns where a condition on containers joins a setting of the container and the pod's of the same name, so
// that the pod's still matters where the container has its own: Kubernetes then ignores the pod's.
func (d *doubter) doubtOverride(violation *condition) {
	t := &trial{at: make(map[*leaf][2]int)}
	if d.effort > maxEffort || !t.collect(violation) || !d.prepare(t) {
		return
	}
	defer func() { d.effort += t.tries }()
	for of, container := range t.variables {
		setting, ok := strings.CutPrefix(container.path, containerSettings)
		if !ok {
			continue
		}
		for pods, pod := range t.variables {
			if pod.path != podSettings+setting || !t.depends(violation, of, pods, 0) {
				continue
			}
			d.wrong(violation.leafOn(pod.path).node, "a container's %[1]s overrides the pod's, but here the pod's also decides for containers that have their own; "+
				"join the condition on the pod's by all with {path: %[1]s, operator: absent}", container.path)
			break
		}
	}
}

// depends tells whether, with a container's setting there, the answer may change with the pod's. It tries all worlds of the
// variables from the given one on; it is false where there are too many.
func (t *trial) depends(c *condition, container, pod, variable int) bool {
	if t.tries++; t.tries > maxTries {
		return false
	}
	t.assigned[pod] = -1
	if variable == len(t.variables) {
		answers := make(map[truth]bool)
		for w := range t.variables[pod].worlds {
			if t.assigned[pod] = w; t.consistent() {
				answers[t.answer(c)] = true
			}
		}
		t.assigned[pod] = -1
		return answers[isTrue] && answers[isFalse]
	}
	if variable == pod {
		return t.depends(c, container, pod, variable+1)
	}
	if t.answer(c) != unknown {
		return false
	}
	for w, world := range t.variables[variable].worlds {
		if variable == container && !world.there {
			continue
		}
		if t.assigned[variable] = w; t.consistent() && t.depends(c, container, pod, variable+1) {
			t.assigned[variable] = -1
			return true
		}
	}
	t.assigned[variable] = -1
	return false
}

// leafOn finds the first leaf on a path.
func (c *condition) leafOn(path string) *condition {
	if c.kind == isLeaf && c.path == path {
		return c
	}
	for _, part := range c.of {
		if found := part.leafOn(path); found != nil {
			return found
		}
	}
	return nil
}
