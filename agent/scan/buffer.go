package scan

import (
	"bytes"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/agent/dump"
)

// held are the events of a file that are held back until it is read whole: of a file that turns out to be something else,
// or broken, nothing may count.
type eventBuffer struct {
	events []dump.Event // without their JSON
	ends   []int        // of their JSON in text
	text   []byte
}

func (h *eventBuffer) add(e dump.Event) {
	h.text = append(h.text, e.JSON...)
	e.JSON = nil
	h.events = append(h.events, e)
	h.ends = append(h.ends, len(h.text))
}

// size is about how many bytes are held.
func (h *eventBuffer) size() int {
	const event = 256
	return len(h.text) + event*len(h.events)
}

// each calls a function for each event, in their order, until it returns an error.
func (h *eventBuffer) each(fn func(dump.Event) error) error {
	start := 0
	for i, e := range h.events {
		e.JSON = h.text[start:h.ends[i]:h.ends[i]]
		start = h.ends[i]
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// reset forgets them all. What room a large file took is let go.
func (h *eventBuffer) reset() {
	clear(h.events)
	h.events, h.ends, h.text = h.events[:0], h.ends[:0], h.text[:0]
	if cap(h.text) > maxBuffered/4 {
		*h = eventBuffer{}
	}
}

// templated is the field of a manifest that holds an action of a template; empty where none does. What a cluster has
// recorded, and what only carries a template for another program, is no template.
func templatedField(e *dump.Event) string {
	switch {
	case e.Recorded || e.Op == dump.Delete:
		return ""
	case isTemplate(e.Name):
		return "name"
	case isTemplate(e.Namespace):
		return "namespace"
	case !bytes.Contains(e.JSON, []byte("{{")):
		return ""
	}
	for _, containers := range []string{"containers", "initContainers", "ephemeralContainers"} {
		if isTemplate(gjson.GetBytes(e.JSON, "spec."+containers+".#.image").Raw) {
			return "image"
		}
	}
	return ""
}

// isTemplate reports whether a text is for Helm, or a tool like it, to make something of.
func isTemplate(text string) bool { return strings.Contains(text, "{{") }
