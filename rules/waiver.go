package rules

import (
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// A Waiver accepts violations that somebody answers for, until it expires. What it says nothing of it does not ask for.
type Waiver struct {
	// ID names the waiver in metrics and reports.
	ID string
	// Reason says why the violations are accepted, and by whom.
	Reason string
	// Expires is the first moment at which the violations count again.
	Expires time.Time

	// Shell globs; empty for any.
	Namespace, Pod, Container, Subject string
	// CheckIDs are the checks that the waiver is about; none: all. The caller must not change them.
	CheckIDs []string

	labels map[string]string
	owner  *ownerMatch
	checks []int // the indexes of CheckIDs in the table
}

// ownerMatch asks for an owner reference of the pod.
type ownerMatch struct{ kind, name string } // kind as it is written, name a glob; "" for any

// Active tells whether the waiver still holds at a moment.
func (w *Waiver) Active(now time.Time) bool { return now.Before(w.Expires) }

// An identity is what waivers ask of a pod, read once for all of them.
type identity struct {
	namespace, name string
	labels          map[string]string
	owners          []ownerMatch // as they are written in the pod
}

// waiver finds the waiver of a violation, of several the one that expires last.
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

// identify reads the identity of a pod. A pod without a namespace is in "default", as everywhere.
func identify(pod gjson.Result) identity {
	id := identity{namespace: "default", labels: make(map[string]string)}
	metadata := pod.Get("metadata")
	if !metadata.IsObject() {
		return id
	}
	if namespace := textOf(metadata, "namespace"); namespace != "" {
		id.namespace = namespace
	}
	id.name = textOf(metadata, "name")
	// A label has dots and slashes in its name, which a path would have to escape.
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
				id.owners = append(id.owners, ownerMatch{kind: textOf(reference, "kind"), name: textOf(reference, "name")})
			}
			return true
		})
	}
	return id
}

// textOf is the text of an object's field, "" where it is not there or no text.
func textOf(object gjson.Result, key string) string {
	if value := object.Get(key); value.Type == gjson.String {
		return value.Str
	}
	return ""
}

// isAbout tells whether the waiver is about a pod, whatever the check and the container.
func (w *Waiver) isAbout(pod *identity) bool {
	if w.Namespace != "" && !isNamed(pod.namespace, w.Namespace) || w.Pod != "" && !isNamed(pod.name, w.Pod) {
		return false
	}
	for name, want := range w.labels {
		if value, ok := pod.labels[name]; !ok || value != want {
			return false
		}
	}
	return w.owner == nil || slices.ContainsFunc(pod.owners, func(owner ownerMatch) bool {
		return (w.owner.kind == "" || w.owner.kind == owner.kind) && (w.owner.name == "" || isNamed(owner.name, w.owner.name))
	})
}

// concerns tells whether the waiver is about a violation, whatever the pod.
func (w *Waiver) concerns(v Violation) bool {
	return (len(w.checks) == 0 || slices.Contains(w.checks, v.Check)) &&
		(w.Container == "" || v.Path != "" && (isNamed(v.Container, w.Container) || isSubject(v.Subject, w.Container))) &&
		(w.Subject == "" || v.Subject != "" && isSubject(v.Subject, w.Subject))
}

// isSubject is isNamed for the name of a subject, in which a slash is a character as any other: 80/TCP, or the key of a
// toleration.
func isSubject(name, glob string) bool {
	if len(name) > maxNameBytes || !strings.Contains(name, "/") {
		return isNamed(name, glob)
	}
	return isNamed(withoutSlashes.Replace(name), withoutSlashes.Replace(glob))
}

// withoutSlashes puts a character that no name has in the place of slashes.
var withoutSlashes = strings.NewReplacer("/", "\x00")

// maxNameBytes is how long a name in Kubernetes may be.
const maxNameBytes = 253

// isNamed tells whether a glob matches a name. What is too long for a name matches none, so that a hostile one costs
// nothing, however many waivers there are.
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
