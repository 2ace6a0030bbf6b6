package lint

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// acceptsNearlyAll reports whether all that a waiver asks for is what everything has.
func (l *linter) acceptsNearlyAll(entry *yaml.Node, w *rules.Waiver) bool {
	for _, check := range l.table.Checks() {
		if len(w.CheckIDs) > 0 && !slices.Contains(w.CheckIDs, check.ID) {
			return false
		}
	}
	if strictyaml.Field(entry, "workload") != nil {
		return false
	}
	if labels := strictyaml.Field(entry, "labels"); labels != nil && len(labels.Content) > 0 {
		return false
	}
	owner := strictyaml.Field(entry, "owner")
	if strictyaml.FieldValue(owner, "kind") != "" {
		return false
	}
	everything := func(glob string) bool { return glob == "" || matchesAllNames(glob) }
	for _, glob := range []string{w.Pod, w.Container, w.Subject, strictyaml.FieldValue(owner, "name")} {
		if !everything(glob) {
			return false
		}
	}
	return len(w.Namespaces) == 0 || slices.ContainsFunc(w.Namespaces, everything)
}

// superseded warns about a waiver that another one makes useless, and reports whether it did.
func (l *linter) superseded(entry *yaml.Node, w *rules.Waiver) bool {
	by := l.table.SupersededBy(w)
	if by == nil {
		return false
	}
	when := "expires later"
	if by.Expires.Equal(w.Expires) {
		when = "expires at the same time"
	}
	l.Errorf(entry, "the waiver has no effect: waiver %s accepts the same and %s", by.ID, when)
	return true
}

// workloadName warns about a workload that no pod has, and reports whether it did.
func (l *linter) workloadName(node *yaml.Node) bool {
	if node == nil {
		return false
	}
	kind, name, _ := strings.Cut(node.Value, "/")
	return l.name(&yaml.Node{Kind: yaml.ScalarNode, Value: name, Line: node.Line}, "workload "+kind, ownerNames)
}

// subjectAsContainer warns where container can only be the name of a subject in a container, and reports whether it did.
func (l *linter) subjectAsContainer(node *yaml.Node) bool {
	if node == nil || containerNames.never(node.Value) == "" {
		return false
	}
	l.Errorf(node, "container: %.64q can match no container, only a subject in it; use subject: %.64s", node.Value, node.Value)
	return true
}
