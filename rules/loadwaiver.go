package rules

import (
	"fmt"
	"regexp"
	"slices"
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
	if n := len(waivers); n > maxWaivers {
		r.wrong(node, "there are %d waivers; %d are allowed", n, maxWaivers)
	}
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
	r.fields(node, "a waiver", []string{"id", "reason", "expires"}, map[string]func(*yaml.Node){
		"id": func(node *yaml.Node) {
			if id, ok := r.text(node, "id"); ok && !waiverID.MatchString(id) {
				r.wrong(node, "id %q must be 1 to 63 lower-case letters, digits and dashes, with no dash at its ends", id)
			}
		},
		"reason": func(node *yaml.Node) {
			var ok bool
			if w.Reason, ok = r.text(node, "reason"); ok && w.Reason == "" {
				r.wrong(node, "reason is empty: say why, and who answers for it")
			}
		},
		"expires":   func(node *yaml.Node) { w.Expires = r.date(node) },
		"namespace": globInto(&w.namespace, "namespace"),
		"pod":       globInto(&w.pod, "pod"),
		"container": globInto(&w.container, "container"),
		"labels":    func(node *yaml.Node) { w.labels = r.labels(node) },
		"owner": func(node *yaml.Node) {
			w.owner = new(ownerMatch)
			r.fields(node, "owner", nil, map[string]func(*yaml.Node){
				"kind": r.textInto(&w.owner.kind, "kind"),
				"name": globInto(&w.owner.name, "name"),
			})
		},
		"check": func(node *yaml.Node) { r.waivedChecks(node, w, t) },
	})
	if node.Kind == yaml.MappingNode && w.namespace == "" && w.pod == "" && w.container == "" && len(w.labels) == 0 &&
		w.owner == nil && len(w.checkIDs) == 0 {
		r.wrong(node, "the waiver would accept everything: name a namespace, pod, container, labels, owner or check")
	}
	return w
}

// date reads an RFC 3339 date, which means its first moment in UTC, or an RFC 3339 time.
func (r *reader) date(node *yaml.Node) time.Time {
	if node.Kind == yaml.ScalarNode {
		for _, layout := range []string{time.DateOnly, time.RFC3339} {
			if at, err := time.Parse(layout, node.Value); err == nil {
				return at
			}
		}
	}
	r.wrong(node, "expires must be a date as 2030-12-31, or a time as 2030-12-31T18:00:00Z, not %s", written(node))
	return time.Time{}
}

func (r *reader) labels(node *yaml.Node) map[string]string {
	labels := make(map[string]string)
	if node.Kind != yaml.MappingNode {
		r.wrong(node, "labels must be a mapping of names to values")
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if _, twice := labels[node.Content[i].Value]; twice {
			r.wrong(node.Content[i], "label %q stands here twice", node.Content[i].Value)
		}
		labels[node.Content[i].Value], _ = r.text(node.Content[i+1], "the value of a label")
	}
	return labels
}

// waivedChecks reads one id of a check, or a list of them.
func (r *reader) waivedChecks(node *yaml.Node, w *Waiver, t *Table) {
	entries := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		entries = node.Content
	}
	for _, entry := range entries {
		id, ok := r.text(entry, "check")
		if !ok {
			continue
		}
		index := slices.IndexFunc(t.checks, func(c Check) bool { return c.ID == id })
		if index < 0 {
			ids := make([]string, len(t.checks))
			for i := range t.checks {
				ids[i] = t.checks[i].ID
			}
			r.wrong(entry, "there is no check %q%s", id, didYouMean(id, ids))
		}
		w.checks = append(w.checks, index)
		w.checkIDs = append(w.checkIDs, id)
	}
}
