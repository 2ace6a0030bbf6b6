package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// WaiversKind is the kind of a file of waivers alone.
const WaiversKind = "Waivers"

const maxWaivers = 1000

var waiverID = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// WithWaivers returns the table with the waivers of a file beside it. The table itself stays as it is. Where anything is
// wrong the error is Mistakes.
func (t *Table) WithWaivers(file string, text []byte) (*Table, error) {
	r := &reader{reporter: reporter{file: file}}
	root := r.parse(text)
	if root == nil {
		return nil, r.err()
	}
	with := *t
	r.fields(root, "a file of waivers", []string{"apiVersion", "kind", "waivers"}, map[string]func(*yaml.Node){
		"apiVersion": r.literally("apiVersion", APIVersion),
		"kind":       r.literally("kind", WaiversKind),
		"waivers":    func(node *yaml.Node) { with.waivers = slices.Concat(t.waivers, r.waivers(node, t)) },
	})
	if err := r.err(); err != nil {
		return nil, err
	}
	with.hash = hashOf([]byte(t.hash + hashOf(text)))
	return &with, nil
}

// waivers reads a list of waivers about the checks of a table.
func (r *reader) waivers(node *yaml.Node, t *Table) []*Waiver {
	if n := len(t.waivers) + len(node.Content); node.Kind == yaml.SequenceNode && n > maxWaivers {
		r.wrong(node, "there are %d waivers; %d are allowed", n, maxWaivers)
		return nil
	}
	var waivers []*Waiver
	ids := make(map[string]bool)
	for _, w := range t.waivers {
		ids[w.ID] = true
	}
	r.each(node, "waivers", func(i int, entry *yaml.Node) {
		w := r.waiver(i, entry, t)
		if w.ID != "" && ids[w.ID] {
			r.add(entry, "waiver "+w.ID, "another waiver has this id")
		}
		ids[w.ID] = true
		waivers = append(waivers, w)
	})
	return waivers
}

func (r *reader) waiver(i int, node *yaml.Node, t *Table) *Waiver {
	w := &Waiver{ID: fieldValue(node, "id")}
	r.at = "waiver " + w.ID
	if !waiverID.MatchString(w.ID) {
		r.at = fmt.Sprintf("waiver %d", i+1)
	}
	defer func() { r.at = "" }()
	globInto := func(into *string, what string) func(*yaml.Node) {
		return func(node *yaml.Node) { *into = r.glob(node, what) }
	}
	sound := true // what the waiver says of the violations that it matches
	matcher := func(read func(*yaml.Node)) func(*yaml.Node) {
		return func(node *yaml.Node) {
			before := r.count()
			read(node)
			sound = sound && r.count() == before
		}
	}
	r.fields(node, "a waiver", []string{"id", "reason", "expires"}, map[string]func(*yaml.Node){
		"id": func(node *yaml.Node) {
			if id, ok := r.text(node, "id"); ok && !waiverID.MatchString(id) {
				r.wrong(node, "id %q must be 1 to 63 lower-case letters, digits and dashes, with no dash at its ends", id)
			}
		},
		"reason": func(node *yaml.Node) {
			var ok bool
			if w.Reason, ok = r.text(node, "reason"); ok && strings.TrimSpace(w.Reason) == "" {
				r.wrong(node, "reason is empty: say why, and who answers for it")
			}
		},
		"expires":   func(node *yaml.Node) { w.Expires = r.date(node, "expires") },
		"namespace": matcher(globInto(&w.namespace, "namespace")),
		"pod":       matcher(globInto(&w.pod, "pod")),
		"container": matcher(globInto(&w.container, "container")),
		"subject":   matcher(globInto(&w.subject, "subject")),
		"labels":    matcher(func(node *yaml.Node) { w.labels = r.labels(node) }),
		"owner": matcher(func(node *yaml.Node) {
			w.owner = new(ownerMatch)
			before := r.count()
			r.fields(node, "owner", nil, map[string]func(*yaml.Node){
				"kind": r.textInto(&w.owner.kind, "kind"),
				"name": globInto(&w.owner.name, "name"),
			})
			if r.count() == before && *w.owner == (ownerMatch{}) {
				r.wrong(node, "owner needs a kind or a name")
			}
		}),
		"check": matcher(func(node *yaml.Node) { r.waivedChecks(node, w, t) }),
	})
	if node.Kind == yaml.MappingNode && sound && w.acceptsAll() {
		r.wrong(node, "the waiver would accept everything: name a namespace, pod, container, subject, labels, owner or check")
	}
	return w
}

// acceptsAll tells whether the waiver asks for nothing at all.
func (w *Waiver) acceptsAll() bool {
	return w.namespace == "" && w.pod == "" && w.container == "" && w.subject == "" && len(w.labels) == 0 && w.owner == nil && len(w.checkIDs) == 0
}

// date reads an RFC 3339 date, which means its first moment in UTC, or an RFC 3339 time.
func (r *reader) date(node *yaml.Node, what string) time.Time {
	if node.Kind == yaml.ScalarNode {
		for _, layout := range []string{time.DateOnly, time.RFC3339} {
			if at, err := time.Parse(layout, node.Value); err == nil {
				return at
			}
		}
	}
	r.wrong(node, "%s must be a date as 2030-12-31, or a time as 2030-12-31T18:00:00Z, not %s", what, written(node))
	return time.Time{}
}

func (r *reader) labels(node *yaml.Node) map[string]string {
	labels := make(map[string]string)
	if node.Kind != yaml.MappingNode {
		r.wrong(node, "labels must be a mapping of names to values")
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name := node.Content[i]
		if _, twice := labels[name.Value]; name.Kind != yaml.ScalarNode || name.Value == "" {
			r.wrong(name, "the name of a label must be a string")
		} else if twice {
			r.wrong(name, "label %q stands here twice", name.Value)
		}
		labels[name.Value], _ = r.text(node.Content[i+1], "the value of a label")
	}
	return labels
}

// waivedChecks reads one id of a check, or a list of them.
func (r *reader) waivedChecks(node *yaml.Node, w *Waiver, t *Table) {
	entries := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		if entries = node.Content; len(entries) == 0 {
			r.wrong(node, "check is an empty list; leave it out for all checks")
		}
	}
	var ids []string
	for _, entry := range entries {
		id, ok := r.text(entry, "check")
		if !ok {
			continue
		}
		index := slices.IndexFunc(t.checks, func(c Check) bool { return c.ID == id })
		if index < 0 && len(t.checks) > 0 { // without checks that has been told
			for i := len(ids); i < len(t.checks); i++ {
				ids = append(ids, t.checks[i].ID)
			}
			r.wrong(entry, "there is no check %q%s", id, r.didYouMean(id, ids))
		}
		w.checks = append(w.checks, index)
		w.checkIDs = append(w.checkIDs, id)
	}
}
