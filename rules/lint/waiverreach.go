package lint

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
	"github.com/kube-devops/kube-devops/rules/suggest"
)

// acceptsNearlyAll reports whether all that a waiver asks for is what everything has.
func (l *linter) acceptsNearlyAll(entry *yaml.Node, w *rules.Waiver) bool {
	return strictyaml.Field(entry, "workload") == nil && l.acceptsAllBesideWorkload(entry, w)
}

// acceptsAllOfKind warns about a waiver of every violation of all workloads of a kind, and reports whether it did.
func (l *linter) acceptsAllOfKind(entry *yaml.Node, w *rules.Waiver) bool {
	kind, name, _ := strings.Cut(strictyaml.FieldValue(entry, "workload"), "/")
	if !matchesAllNames(name) || !l.acceptsAllBesideWorkload(entry, w) {
		return false
	}
	l.Errorf(entry, "the waiver accepts every violation of every %s; name the namespaces, workloads or checks that it is about", kind)
	return true
}

func (l *linter) acceptsAllBesideWorkload(entry *yaml.Node, w *rules.Waiver) bool {
	for _, check := range l.table.Checks() {
		if len(w.CheckIDs) > 0 && !slices.Contains(w.CheckIDs, check.ID) {
			return false
		}
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

// duplicates warns about entries that a list of a waiver has twice.
func (l *linter) duplicates(entry *yaml.Node, field string) {
	seen := make(map[string]bool)
	for _, node := range strictyaml.Entries(strictyaml.Field(entry, field)) {
		if seen[node.Value] {
			l.Errorf(node, "%s: %.64q is in the list already; remove it", field, node.Value)
		}
		seen[node.Value] = true
	}
}

// workloadKinds are the kinds of Kubernetes that are the workloads of pods.
var workloadKinds = []string{"CronJob", "DaemonSet", "Deployment", "Job", "Node", "Pod", "ReplicaSet", "ReplicationController", "StatefulSet"}

// workload warns about a workload that no pod has, or that the pod of the waiver does not have, and reports whether it did. accepting says that
// a recording has violations of the waiver.
func (l *linter) workload(node *yaml.Node, pod string, accepting bool) bool {
	if node == nil {
		return false
	}
	kind, name, _ := strings.Cut(node.Value, "/")
	if l.name(&yaml.Node{Kind: yaml.ScalarNode, Value: name, Line: node.Line}, "workload "+kind, ownerNames) {
		return true
	}
	if ofPod, template, ok := strings.Cut(pod, "/"); ok && isLiteral(ofPod) &&
		(ofPod != kind || isLiteral(template) && !rules.MatchGlob(name, template)) {
		l.Errorf(node, "the waiver has no effect: the workload of the pod %.64s is not %.64s; remove one of them", pod, node.Value)
		return true
	}
	stem, ofReplicas := strings.CutSuffix(name, "-*")
	switch known := suggest.Nearest(kind, workloadKinds); {
	case accepting:
		return false
	case known != "" && known != kind && !slices.Contains(workloadKinds, kind):
		l.Errorf(node, "workload: %.64q is not a kind of Kubernetes (did you mean %q?)", kind, known)
	case kind == "ReplicaSet" && ofReplicas && stem != "":
		l.Errorf(node, "workload: the workload of a pod of a Deployment is the Deployment, not its ReplicaSet; write workload: Deployment/%.64s, "+
			"or owner: {kind: ReplicaSet, name: %.64q}", stem, name)
	default:
		return false
	}
	return true
}

// subjectAsContainer warns where container can only be the name of a subject in a container, and reports whether it did.
func (l *linter) subjectAsContainer(node *yaml.Node) bool {
	if node == nil || containerNames.never(node.Value) == "" {
		return false
	}
	l.Errorf(node, "container: %.64q can match no container, only a subject in it; use subject: %.64s", node.Value, node.Value)
	return true
}
