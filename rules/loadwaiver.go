package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/kube-devops/kube-devops/rules/strictyaml"
)

// WaiversKind is the kind of a file that holds only waivers.
const WaiversKind = "Waivers"

const (
	maxWaivers          = 1000
	maxWaivedNamespaces = 100 // of one waiver
)

var waiverID = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// WithWaivers returns a copy of the table with the waivers of a file added. The error is LoadErrors.
func (t *Table) WithWaivers(file string, text []byte) (*Table, error) {
	r := newLoader(file)
	r.about = " in table " + t.name
	root := r.Parse(text)
	if root == nil {
		return nil, r.Err()
	}
	with := *t
	with.warnings = slices.Clip(t.warnings)
	r.Fields(root, "a file of waivers", []string{"apiVersion", "kind", "waivers"}, map[string]func(*yaml.Node){
		"apiVersion": r.Constant("apiVersion", APIVersion),
		"kind":       r.Constant("kind", WaiversKind),
		"waivers":    func(node *yaml.Node) { with.waivers = slices.Concat(t.waivers, r.waivers(node, &with)) },
	})
	if err := r.Err(); err != nil {
		return nil, err
	}
	with.hash = hashOf([]byte(t.hash + hashOf(text)))
	return &with, nil
}

// waivers reads a list of waivers about the checks of a table.
func (r *loader) waivers(node *yaml.Node, t *Table) []*Waiver {
	if n := len(t.waivers) + len(node.Content); node.Kind == yaml.SequenceNode && n > maxWaivers {
		r.Errorf(node, "there are %d waivers; at most %d are allowed", n, maxWaivers)
		return nil
	}
	var waivers []*Waiver
	ids := make(map[string]bool)
	for _, w := range t.waivers {
		ids[w.ID] = true
	}
	places := make(map[string]*yaml.Node)
	r.Each(node, "waivers", func(i int, entry *yaml.Node) {
		w := r.waiver(i, entry, t)
		if waiverID.MatchString(w.ID) && ids[w.ID] {
			if first := places[w.ID]; first != nil {
				r.ErrorAt(entry, "waiver "+w.ID, "duplicate id; the first one is in %s", r.Place(first, entry))
			} else {
				r.ErrorAt(entry, "waiver "+w.ID, "another waiver has this id")
			}
		}
		ids[w.ID], places[w.ID] = true, entry
		waivers = append(waivers, w)
	})
	return waivers
}

func (r *loader) waiver(i int, node *yaml.Node, t *Table) *Waiver {
	w := &Waiver{ID: strictyaml.FieldValue(node, "id")}
	r.At = "waiver " + w.ID
	if !waiverID.MatchString(w.ID) {
		r.At = fmt.Sprintf("waiver %d", i+1)
	}
	defer func() { r.At = "" }()
	globInto := func(into *string, what string) func(*yaml.Node) {
		return func(node *yaml.Node) { *into = r.glob(node, what) }
	}
	valid := true // the fields that select violations
	matcher := func(read func(*yaml.Node)) func(*yaml.Node) {
		return func(node *yaml.Node) {
			before := r.Count()
			read(node)
			valid = valid && r.Count() == before
		}
	}
	r.Fields(node, "a waiver", []string{"id", "reason", "expires"}, map[string]func(*yaml.Node){
		"id": func(node *yaml.Node) {
			if id, ok := r.Text(node, "id"); ok && !waiverID.MatchString(id) {
				r.Errorf(node, "id %q must be 1 to 63 lower-case letters, digits and dashes, not starting or ending with a dash", id)
			}
		},
		"reason": func(node *yaml.Node) {
			var ok bool
			if w.Reason, ok = r.Text(node, "reason"); ok && strings.TrimSpace(w.Reason) == "" {
				r.Errorf(node, "reason must not be empty; say why, and who is responsible")
			}
		},
		"expires":   func(node *yaml.Node) { w.Expires = r.Time(node, "expires") },
		"namespace": matcher(func(node *yaml.Node) { w.Namespaces = r.waivedNamespaces(node) }),
		"pod":       matcher(globInto(&w.Pod, "pod")),
		"container": matcher(globInto(&w.Container, "container")),
		"subject":   matcher(globInto(&w.Subject, "subject")),
		"labels":    matcher(func(node *yaml.Node) { w.labels = r.labels(node) }),
		"owner": matcher(func(node *yaml.Node) {
			w.owner = new(ownerMatch)
			before := r.Count()
			r.Fields(node, "owner", nil, map[string]func(*yaml.Node){
				"kind": r.TextInto(&w.owner.kind, "kind"),
				"name": globInto(&w.owner.name, "name"),
			})
			if r.Count() == before && *w.owner == (ownerMatch{}) {
				r.Errorf(node, "owner must have a kind or a name")
			}
		}),
		"workload": matcher(func(node *yaml.Node) { w.workload = r.waivedWorkload(node) }),
		"check":    matcher(func(node *yaml.Node) { r.waivedChecks(node, w, t) }),
	})
	if node.Kind == yaml.MappingNode && valid && w.acceptsAll() {
		r.Errorf(node, "the waiver must not match everything; add a namespace, workload, pod, container, subject, labels, owner or check")
	}
	return w
}

// acceptsAll reports whether the waiver matches everything.
func (w *Waiver) acceptsAll() bool {
	return len(w.Namespaces) == 0 && w.workload == nil && w.Pod == "" && w.Container == "" && w.Subject == "" &&
		len(w.labels) == 0 && w.owner == nil && len(w.CheckIDs) == 0
}

// waivedNamespaces reads a shell glob, or a list of them.
func (r *loader) waivedNamespaces(node *yaml.Node) []string {
	entries := strictyaml.Entries(node)
	if len(entries) == 0 {
		r.Errorf(node, "namespace must not be empty; omit it to match all namespaces")
	} else if len(entries) > maxWaivedNamespaces {
		r.Errorf(node, "namespace has %d entries; at most %d are allowed", len(entries), maxWaivedNamespaces)
		return nil
	}
	var globs []string
	for _, entry := range entries {
		glob := r.glob(entry, "namespace")
		if glob == "" && node.Kind != yaml.SequenceNode {
			return nil // as if it were absent
		}
		if glob == "" && entry.ShortTag() == "!!str" {
			r.Errorf(entry, "an entry of namespace must not be empty; remove it, or write default for the namespace of that name")
		}
		globs = append(globs, glob)
	}
	return globs
}

var workloadKind = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,62}$`)

// waivedWorkload reads the kind of a workload and a shell glob of its name.
func (r *loader) waivedWorkload(node *yaml.Node) *ownerMatch {
	text, ok := r.Text(node, "workload")
	if !ok {
		return nil
	}
	kind, name, found := strings.Cut(text, "/")
	glob, err := ParseGlob(name)
	if !found || !workloadKind.MatchString(kind) || name == "" || strings.Contains(name, "/") || err != nil {
		r.Errorf(node, "workload must be a kind and a shell glob of its name, such as Deployment/web-*, got %q", text)
	}
	return &ownerMatch{kind, glob}
}

func (r *loader) labels(node *yaml.Node) map[string]string {
	labels := make(map[string]string)
	if node.Kind != yaml.MappingNode {
		r.Errorf(node, "labels must be a mapping of names to values")
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name := node.Content[i]
		if _, twice := labels[name.Value]; name.Kind != yaml.ScalarNode || name.Value == "" {
			r.Errorf(name, "the name of a label must be a non-empty string")
		} else if twice {
			r.Errorf(name, "duplicate label %q", name.Value)
		}
		labels[name.Value], _ = r.Text(node.Content[i+1], "the value of a label")
	}
	return labels
}

// waivedChecks reads the id of a check, or a list of ids.
func (r *loader) waivedChecks(node *yaml.Node, w *Waiver, t *Table) {
	entries := strictyaml.Entries(node)
	if len(entries) == 0 {
		r.Errorf(node, "check must not be empty; omit it to match all checks")
	}
	for _, entry := range entries {
		id, ok := r.Text(entry, "check")
		if !ok {
			continue
		}
		id, index := r.waivedCheck(entry, id, t)
		w.checks = append(w.checks, index)
		w.CheckIDs = append(w.CheckIDs, id)
	}
}

// waivedCheck returns the present id of a check that a waiver names, and its index: -1 for one that is disabled or was retired.
func (r *loader) waivedCheck(node *yaml.Node, named string, t *Table) (id string, index int) {
	if id = t.Resolve(named); id != named {
		t.warnings = append(t.warnings, r.About(node, r.At, "check %s is now called %s", named, id))
	}
	index = slices.IndexFunc(t.checks, func(c Check) bool { return c.ID == id })
	switch {
	case index >= 0:
	case slices.Contains(t.disabled, id):
		t.warnings = append(t.warnings, r.About(node, r.At, "check %s is disabled: the waiver accepts no violation of it", id))
	case slices.Contains(t.retired, id):
		t.warnings = append(t.warnings, r.About(node, r.At, "check %s was retired from the table that it belonged to", id))
	case len(t.checks) > 0: // a table without checks has an error already
		for i := len(r.checkIDs); i < len(t.checks); i++ {
			r.checkIDs = append(r.checkIDs, t.checks[i].ID)
		}
		r.Errorf(node, "unknown check %q%s%s", named, r.about, r.DidYouMean(id, r.checkIDs))
	}
	return id, index
}
