package lint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules"
	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

func (l *linter) waivers(entries []*yaml.Node) {
	for _, entry := range entries {
		id := strictyaml.FieldValue(entry, "id")
		l.At = "waiver " + id
		waivers := l.table.Waivers()
		i := slices.IndexFunc(waivers, func(w *rules.Waiver) bool { return w.ID == id })
		if i < 0 {
			continue
		}
		w := waivers[i]
		inside, outside, ofPod := l.subjects(w)
		l.duplicates(entry, "check")
		l.duplicates(entry, "namespace")
		switch {
		case !w.Active(l.Now):
			l.Errorf(cmp.Or(strictyaml.Field(entry, "expires"), entry), "the waiver expired at %s: its violations count", w.Expires.UTC().Format("2006-01-02 15:04 MST"))
		case l.waiverNames(entry, inside && !outside):
		case l.workload(strictyaml.Field(entry, "workload"), strictyaml.FieldValue(entry, "pod"), l.Accepting[w.ID]):
		case l.acceptsNearlyAll(entry, w):
			l.Errorf(entry, "the waiver accepts nearly every violation; name the namespaces, workloads or checks that it is about")
		case l.acceptsAllOfKind(entry, w):
		case l.superseded(entry, w):
		case l.excludedNamespaces(strictyaml.Entries(strictyaml.Field(entry, "namespace"))):
		case w.Container != "" && ofPod:
			l.Errorf(strictyaml.Field(entry, "container"), "the waiver has no effect: its checks look at pods, not at containers")
		case w.Container != "" && !inside:
			l.Errorf(strictyaml.Field(entry, "container"), "container matches the subjects of its checks, which are not in containers; use subject: %s", w.Container)
		case inside && l.subjectAsContainer(strictyaml.Field(entry, "container")):
		case w.Subject != "" && !outside:
			l.Errorf(strictyaml.Field(entry, "subject"), "the waiver has no effect: its checks look at pods or at whole containers; use container")
		case l.enforcedWaiver(entry):
		case l.Accepting != nil && !l.Accepting[w.ID]:
			l.Errorf(entry, "the waiver accepts no violation in %s", l.Recording)
		}
	}
	l.At = ""
}

// waiverNames warns about what no pod has, and reports whether it did. Without onlyContainers, container may be the name of a subject.
func (l *linter) waiverNames(entry *yaml.Node, onlyContainers bool) bool {
	before := l.Count()
	for _, glob := range strictyaml.Entries(strictyaml.Field(entry, "namespace")) {
		l.name(glob, "namespace", namespaceNames)
	}
	if pod := strictyaml.Field(entry, "pod"); pod != nil {
		if _, template, ok := strings.Cut(pod.Value, "/"); ok {
			pod = &yaml.Node{Kind: yaml.ScalarNode, Value: template, Line: pod.Line} // KIND/NAME: a pod template
		}
		l.name(pod, "pod", podNames)
	}
	if container := strictyaml.Field(entry, "container"); container != nil && onlyContainers {
		l.name(container, "container", containerNames)
	}
	owner := strictyaml.Field(entry, "owner")
	if name := strictyaml.Field(owner, "name"); name != nil {
		l.name(name, "owner", ownerNames)
	}
	if kind := strictyaml.Field(owner, "kind"); kind != nil {
		if why := neverOwns(kind.Value); why != "" {
			if name := cmp.Or(strictyaml.FieldValue(owner, "name"), "*"); betweenOwners[kind.Value] != "" {
				why += fmt.Sprintf("; write workload: %s/%s", kind.Value, name)
			}
			l.Errorf(kind, "owner: %s", why)
		}
	}
	if labels := strictyaml.Field(entry, "labels"); labels != nil && labels.Kind == yaml.MappingNode {
		for i := 1; i < len(labels.Content); i += 2 {
			if why := neverLabel(labels.Content[i].Value); why != "" {
				l.Errorf(labels.Content[i], "labels: %.64q can be the value of no label: %s", labels.Content[i].Value, why)
			}
		}
	}
	return l.Count() > before
}

// excludedNamespaces warns about namespaces of a waiver that the table does not evaluate, and reports whether that is all of them.
func (l *linter) excludedNamespaces(globs []*yaml.Node) bool {
	without := 0
	for _, node := range globs {
		glob, err := rules.ParseGlob(node.Value)
		what := ""
		switch {
		case err != nil || glob == "":
			continue
		case l.excludedBy(glob) != "":
			what = "the table excludes"
		case isLiteral(glob) && !l.table.Includes(glob):
			what = "the table does not include"
		default:
			continue
		}
		without++
		if len(globs) > 1 {
			l.Errorf(node, "namespace %q has no effect: %s it", glob, what)
		} else {
			l.Errorf(node, "the waiver has no effect: %s namespace %q", what, glob)
		}
	}
	return without > 0 && without == len(globs)
}

// subjects reports what the checks that a waiver is about look at: containers or parts of them, anything but whole containers and pods,
// or pods only.
func (l *linter) subjects(w *rules.Waiver) (inContainer, notContainer, onlyPods bool) {
	onlyPods = true
	for _, check := range l.table.Checks() {
		if len(w.CheckIDs) > 0 && !slices.Contains(w.CheckIDs, check.ID) {
			continue
		}
		for _, source := range check.ForEach {
			onlyPods = false
			for _, p := range subjectPaths(source) {
				inContainer = inContainer || p.Container > 0
				notContainer = notContainer || p.Container < len(p.Steps)
			}
		}
	}
	return inContainer, notContainer, onlyPods
}
