package rules

import (
	"slices"
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

	namespace, pod, container string // globs, "" for any
	labels                    map[string]string
	owner                     *ownerMatch
	checks                    []int // indexes in the table; none: all
	checkIDs                  []string
}

// ownerMatch asks for an owner reference of the pod.
type ownerMatch struct{ kind, name string } // kind as it is written, name a glob; "" for any

// Active tells whether the waiver still holds at a moment.
func (w *Waiver) Active(now time.Time) bool { return now.Before(w.Expires) }

// waiver finds the waiver of a violation, of several the one that expires last.
func (t *Table) waiver(e *evaluation, v Violation) *Waiver {
	if len(t.waivers) == 0 {
		return nil
	}
	if len(e.waivers) == 0 {
		e.waivers = append(e.waivers, make([]truth, len(t.waivers))...)
	}
	var last *Waiver
	for i, w := range t.waivers {
		if last != nil && !w.Expires.After(last.Expires) {
			continue
		}
		if len(w.checks) > 0 && !slices.Contains(w.checks, v.Check) || w.container != "" && (v.Path == "" || !matches(w.container, v.Name)) {
			continue
		}
		if e.waivers[i] == unknown {
			e.waivers[i] = isFalse
			if w.isAbout(e.pod) {
				e.waivers[i] = isTrue
			}
		}
		if e.waivers[i] == isTrue {
			last = w
		}
	}
	return last
}

// isAbout tells whether the waiver is about a pod, whatever the check and the container.
func (w *Waiver) isAbout(pod gjson.Result) bool {
	metadata := pod.Get("metadata")
	if !metadata.IsObject() {
		metadata = gjson.Result{Type: gjson.JSON, Raw: "{}"}
	}
	text := func(from gjson.Result, key string) string {
		if value := from.Get(key); value.Type == gjson.String {
			return value.Str
		}
		return ""
	}
	namespace := text(metadata, "namespace")
	if namespace == "" {
		namespace = "default"
	}
	if w.namespace != "" && !matches(w.namespace, namespace) || w.pod != "" && !matches(w.pod, text(metadata, "name")) {
		return false
	}
	return w.hasLabels(metadata.Get("labels")) && (w.owner == nil || w.owner.isAmong(metadata.Get("ownerReferences")))
}

func (w *Waiver) hasLabels(labels gjson.Result) bool {
	wanted := len(w.labels)
	if wanted == 0 {
		return true
	}
	if !labels.IsObject() {
		return false
	}
	// A label has dots and slashes in its name, which a path would have to escape.
	labels.ForEach(func(name, value gjson.Result) bool {
		if want, ok := w.labels[name.Str]; ok && value.Type == gjson.String && value.Str == want {
			wanted--
		}
		return wanted > 0
	})
	return wanted == 0
}

func (o *ownerMatch) isAmong(references gjson.Result) bool {
	found := false
	if references.IsArray() {
		references.ForEach(func(_, reference gjson.Result) bool {
			if !reference.IsObject() {
				return true
			}
			kind, name := reference.Get("kind"), reference.Get("name")
			found = (o.kind == "" || kind.Type == gjson.String && kind.Str == o.kind) &&
				(o.name == "" || name.Type == gjson.String && matches(o.name, name.Str))
			return !found
		})
	}
	return found
}
