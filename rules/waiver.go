package rules

import (
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// A Waiver accepts violations until it expires. A field that is empty matches everything.
type Waiver struct {
	// ID names the waiver in metrics and reports.
	ID string
	// Reason says why the violations are accepted, and who is responsible.
	Reason string
	// Expires is the first moment at which the violations count again.
	Expires time.Time

	// Shell globs; empty for any. One of Namespaces must match.
	Namespaces              []string
	Pod, Container, Subject string
	// CheckIDs are the checks that the waiver is about; none: all. The caller must not change them.
	CheckIDs []string

	labels   map[string]string
	owner    *ownerMatch
	workload *ownerMatch // by its exact kind and a glob of its name
	checks   []int       // the indexes of CheckIDs in the table
}

// An ownerMatch selects pods by an owner reference, or by their workload.
type ownerMatch struct{ kind, name string } // the exact kind, and a glob for the name; "" for any

// Active reports whether the waiver has not expired yet.
func (w *Waiver) Active(now time.Time) bool { return now.Before(w.Expires) }

// An identity is what waivers select pods by. It is read once for all of them.
type identity struct {
	namespace, name string
	labels          map[string]string
	owners          []Workload
	workload        Workload
}

// waiver returns the waiver of a violation: of several, the one that expires last.
func (t *Table) waiver(e *evaluation, v Violation) *Waiver {
	if len(t.waivers) == 0 {
		return nil
	}
	if len(e.waivers) == 0 {
		e.waivers = append(e.waivers, make([]truth, len(t.waivers))...)
		e.identity = identify(e.pod)
	}
	var last *Waiver
	for i, w := range t.waivers {
		if last != nil && !w.Expires.After(last.Expires) {
			continue
		}
		if e.waivers[i] == unasked {
			e.waivers[i] = truthOf(w.isAbout(&e.identity))
		}
		if e.waivers[i] == isTrue && w.concerns(v) {
			last = w
		}
	}
	return last
}

// identify reads the identity of a pod. As in Kubernetes, a pod without a namespace is in "default".
func identify(pod gjson.Result) identity {
	id := identity{namespace: "default", labels: make(map[string]string), workload: Workload{Kind: "Pod"}}
	metadata := pod.Get("metadata")
	if !metadata.IsObject() {
		return id
	}
	if namespace := textOf(metadata, "namespace"); namespace != "" {
		id.namespace = namespace
	}
	id.name = textOf(metadata, "name")
	id.workload.Name = id.name
	if of := workloadOf(metadata); of != (Workload{}) {
		id.workload = of
	}
	// The names of labels contain dots and slashes, which a path would have to escape.
	if labels := metadata.Get("labels"); labels.IsObject() {
		labels.ForEach(func(name, value gjson.Result) bool {
			if value.Type == gjson.String {
				id.labels[name.Str] = value.Str
			}
			return true
		})
	}
	if references := metadata.Get("ownerReferences"); references.IsArray() {
		references.ForEach(func(_, reference gjson.Result) bool {
			if reference.IsObject() {
				id.owners = append(id.owners, Workload{textOf(reference, "kind"), textOf(reference, "name")})
			}
			return true
		})
	}
	return id
}

// textOf returns the string in an object's field; "" when there is none. gjson would look for the field inside a string too.
func textOf(object gjson.Result, key string) string {
	if !object.IsObject() {
		return ""
	}
	if value := object.Get(key); value.Type == gjson.String {
		return value.Str
	}
	return ""
}

// isAbout reports whether the waiver matches a pod, regardless of check and container.
func (w *Waiver) isAbout(pod *identity) bool {
	if !w.IsAboutNamespace(pod.namespace) {
		return false
	}
	if w.workload != nil && !w.workload.matches(pod.workload) || w.Pod != "" && !isNamed(pod.name, w.Pod) {
		return false
	}
	for name, want := range w.labels {
		if value, ok := pod.labels[name]; !ok || value != want {
			return false
		}
	}
	return w.owner == nil || slices.ContainsFunc(pod.owners, w.owner.matches)
}

func (m *ownerMatch) matches(of Workload) bool {
	return (m.kind == "" || m.kind == of.Kind) && (m.name == "" || isNamed(of.Name, m.name))
}

// concerns reports whether the waiver matches a violation, regardless of the pod.
func (w *Waiver) concerns(v Violation) bool {
	return (len(w.checks) == 0 || slices.Contains(w.checks, v.Check)) &&
		(w.Container == "" || v.Path != "" && (isNamed(v.Container, w.Container) || isSubject(v.Subject, w.Container))) &&
		(w.Subject == "" || v.Subject != "" && isSubject(v.Subject, w.Subject))
}

// isSubject is isNamed for the name of a subject, in which a slash is an ordinary character: 80/TCP, or the key of a toleration.
func isSubject(name, glob string) bool {
	if len(name) > maxNameBytes || !strings.Contains(name, "/") {
		return isNamed(name, glob)
	}
	return isNamed(withoutSlashes.Replace(name), withoutSlashes.Replace(glob))
}

// withoutSlashes replaces slashes by a character that no name contains.
var withoutSlashes = strings.NewReplacer("/", "\x00")

// maxNameBytes is the maximum length of a name in Kubernetes.
const maxNameBytes = 253

// isNamed reports whether a glob matches a name. It does not match longer texts, so a hostile one costs nothing however many waivers there
// are.
func isNamed(name, glob string) bool { return len(name) <= maxNameBytes && matches(glob, name) }

// Accepting lists the waivers that accept a violation of a pod, including expired ones and those that another waiver supersedes. The
// verdict is the table's own of the pod.
func (t *Table) Accepting(pod []byte, verdict Verdict) []*Waiver {
	if len(t.waivers) == 0 || len(verdict.Violations) == 0 {
		return nil
	}
	id := identify(parsed(pod))
	var accepting []*Waiver
	for _, w := range t.waivers {
		if w.isAbout(&id) && slices.ContainsFunc(verdict.Violations, w.concerns) {
			accepting = append(accepting, w)
		}
	}
	return accepting
}
