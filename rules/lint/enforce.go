package lint

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// A LeftOut is a part of the table that the API server does not judge once the table is exported.
type LeftOut struct {
	Action rules.Enforce
	// Part is "check ID", "skip REASON", "waiver ID" or "annotationWaivers".
	Part, Reason string
}

// leftOut returns the actions that leave out a part, and why; no actions for a part that is exported.
func (l *linter) leftOut(part string) (actions, reason string) {
	var words []string
	for _, left := range l.LeftOut {
		if left.Part == part {
			words, reason = append(words, string(left.Action)), left.Reason
		}
	}
	return strings.Join(words, " and "), reason
}

// enforcedSkip warns about a skip that does not hold at admission.
func (l *linter) enforcedSkip(entry *yaml.Node) {
	if actions, why := l.leftOut("skip " + strictyaml.FieldValue(entry, "reason")); actions != "" {
		l.Errorf(entry, "%s ignores the skip, and applies to these pods, too: %s", actions, why)
	}
}

// enforcedWaiver warns about a waiver that does not hold at admission.
func (l *linter) enforcedWaiver(entry *yaml.Node) bool {
	actions, why := l.leftOut("waiver " + strictyaml.FieldValue(entry, "id"))
	if actions != "" {
		l.Errorf(entry, "%s ignores the waiver, and applies to these violations, too: %s; name namespaces, pods or containers", actions, why)
	}
	return actions != ""
}

// enforcedAnnotations is the same for the waivers of annotations.
func (l *linter) enforcedAnnotations(node *yaml.Node) {
	if actions, why := l.leftOut("annotationWaivers"); node != nil && actions != "" {
		l.Errorf(node, "%s ignores annotationWaivers, and applies to these violations, too: %s", actions, why)
	}
}

// enforcedCheck warns about a check that cannot be enforced, and about a deny that the author of a pod can avoid without a change of what
// the pod does.
func (l *linter) enforcedCheck(check *yaml.Node) {
	node := strictyaml.Field(check, "enforce")
	if node == nil || l.Removed(node) {
		return
	}
	if actions, why := l.leftOut("check " + strictyaml.FieldValue(check, "id")); actions != "" {
		l.Errorf(node, "the check cannot be enforced: %s; remove enforce, or leave the check out of the export with --partial", why)
		return
	}
	if node.Value != string(rules.Deny) {
		return
	}
	forEach := strictyaml.Field(check, "forEach")
	ofPod := forEach == nil || l.Removed(forEach)
	if when := strictyaml.Field(check, "when"); when != nil && !l.Removed(when) {
		if c := writtenIn(when, ofPod); c.vetoes {
			l.Errorf(when, "deny depends on the %s in when: any user may write them, and so avoid the check; remove when, or use enforce: warn", c.what())
		}
	}
	violation := strictyaml.Field(check, "violation")
	if c := writtenIn(violation, ofPod); c.vetoes && c.others {
		l.Errorf(violation, "deny depends on the %s in the violation: any user may write them, and so avoid the check; remove them, or use enforce: warn", c.what())
	}
}

// A written says what the fields that any user may write make of a predicate.
type written struct {
	// vetoes: they alone can make it false. forces: they alone can make it true.
	vetoes, forces bool
	// others: the predicate reads other fields, too.
	others bool
	names  []string
}

func (w *written) what() string {
	slices.Sort(w.names)
	return strings.Join(slices.Compact(w.names), " and the ")
}

// userWritten are the fields of metadata that any user may write, whatever the pod does.
var userWritten = map[string]string{"labels": "labels", "annotations": "annotations", "ownerReferences": "owner references"}

// writtenIn finds the fields that a predicate depends on. Its subject may be the pod.
func writtenIn(node *yaml.Node, ofPod bool) written {
	for _, word := range []string{"all", "any"} {
		of := strictyaml.Field(node, word)
		if of == nil {
			continue
		}
		every := written{vetoes: true, forces: true}
		var any written
		for _, entry := range strictyaml.Entries(of) {
			part := writtenIn(entry, ofPod)
			every.vetoes, every.forces = every.vetoes && part.vetoes, every.forces && part.forces
			any.vetoes, any.forces, any.others = any.vetoes || part.vetoes, any.forces || part.forces, any.others || part.others
			any.names = append(any.names, part.names...)
		}
		if word == "all" {
			any.forces = every.forces
		} else {
			any.vetoes = every.vetoes
		}
		return any
	}
	if of := strictyaml.Field(node, "not"); of != nil {
		w := writtenIn(of, ofPod)
		w.vetoes, w.forces = w.forces, w.vetoes
		return w
	}
	for _, word := range []string{"some", "every"} {
		if of := strictyaml.Field(node, word); of != nil {
			if w := writtenAt(strictyaml.Entries(strictyaml.Field(of, "in")), ofPod); len(w.names) > 0 {
				return w
			}
			return writtenIn(strictyaml.Field(of, "is"), false)
		}
	}
	return writtenAt(strictyaml.Entries(strictyaml.Field(node, "path")), ofPod)
}

// writtenAt is writtenIn for the value at the first of some paths that has one: who may write that decides.
func writtenAt(paths []*yaml.Node, ofPod bool) written {
	if len(paths) == 0 {
		return written{others: true}
	}
	var w written
	for i, node := range paths {
		path, _ := fieldpath.Parse(node.Value) // loaded without an error
		name := ""
		if (path.Root || ofPod) && path.Steps[0].FirstKey == "metadata" {
			name = userWritten[path.Steps[0].SecondKey]
		}
		if name == "" {
			w.others = true
			continue
		}
		w.names = append(w.names, name)
		if i == 0 {
			w.vetoes, w.forces = true, true
		}
	}
	return w
}
