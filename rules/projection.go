package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/kube-devops/kube-devops/rules/internal/fieldpath"
)

// A Projection is what a table reads of a pod, and what identifies the pod. It is immutable.
//
// A pod reduced to it is many times smaller and has the same verdict. It keeps name, namespace, uid, resourceVersion and owners, and
// whatever a condition, a subject, a waiver or a detail of the table may look at. Of a value whose presence alone matters it keeps only
// the type. Elements of arrays keep their positions.
type Projection struct {
	root *wanted
	// version: a condition reads metadata.resourceVersion, which is otherwise kept only to identify the pod.
	version bool
}

// wanted is what is wanted of one value. The zero value still keeps whether there is a value, and whether it is an object or an array.
type wanted struct {
	// whole: all of it.
	whole bool
	// scalar: its text, if it is a string, a number or a boolean.
	scalar bool
	// brief: its text, if its JSON has at most maxAnnotationBytes; of a longer one only that it is there.
	brief bool
	// counted: how many elements, keys or characters it has.
	counted bool
	// entries is what is wanted of each value of an object, whatever its key; nil when only fields are wanted.
	entries *wanted
	// hidden is the same for the values whose key says that they may be secrets.
	hidden *wanted
	// fields of an object, sorted by key. They include what is wanted of each value.
	fields []wantedField
	// each is what is wanted of each element of an array; nil when the array may lose its elements.
	each *wanted
	// at is what is wanted of single elements of an array, sorted by index. It includes what is wanted of each.
	at []wantedElement
}

type wantedField struct {
	key string
	of  *wanted
}

type wantedElement struct {
	index int
	of    *wanted
}

// Projection derives from the table what it reads of a pod.
func (t *Table) Projection() *Projection {
	return t.projection(nil)
}

// ProjectionWith is Projection, and also keeps the values of paths that start at the pod.
func (t *Table) ProjectionWith(paths ...string) (*Projection, error) {
	compiled := make([]*fieldpath.Path, len(paths))
	for i, text := range paths {
		var err error
		if compiled[i], err = fieldpath.Parse(text); err != nil {
			return nil, fmt.Errorf("path %q %w", text, err)
		}
	}
	return t.projection(compiled), nil
}

func (t *Table) projection(extra []*fieldpath.Path) *Projection {
	root := new(wanted)
	for i := range extra {
		root.follow(extra[i].Steps).whole = true
	}
	for _, s := range t.skips {
		root.add(s.when, root, notShown)
	}
	for i := range t.groups {
		g := &t.groups[i]
		for k, subject := range root.subjects(g) {
			shown := func(p *place) bool { return !fieldpath.MayBeSecret(g.stepsTo(k, p)) }
			for _, c := range g.checks {
				root.add(t.checks[c].when, subject, notShown)
				root.add(t.checks[c].violation, subject, shown)
			}
		}
	}
	metadata := root.field("metadata")
	p := &Projection{root: root, version: metadata.whole || metadata.field("resourceVersion").whole}
	for _, key := range []string{"name", "namespace", "uid", "resourceVersion"} {
		metadata.field(key).whole = true
	}
	owner := metadata.field("ownerReferences").element()
	owner.field("kind").whole, owner.field("name").whole = true, true
	for _, w := range t.waivers {
		for name := range w.labels {
			metadata.field("labels").field(name).whole = true
		}
		if w.workload != nil {
			owner.field("controller").whole, metadata.field("labels").field("pod-template-hash").whole = true, true
		}
	}
	if t.annotations != nil {
		metadata.field("annotations").field(WaiveAnnotation).brief = true
		metadata.field("creationTimestamp").whole = true
	}
	root.finish()
	return p
}

// ReadsVersion reports whether a verdict may depend on the pod's resourceVersion. If not, two versions of a pod that differ in nothing
// else have the same verdict.
func (p *Projection) ReadsVersion() bool { return p.version }

// subjects returns what is wanted of a group's subjects: of the pod itself when there is no forEach.
func (w *wanted) subjects(g *group) []*wanted {
	if len(g.forEach) == 0 {
		return []*wanted{w}
	}
	var places []*wanted
	for i := range g.forEach {
		where := &g.forEach[i]
		if where.LongRunning {
			w.follow(restartPolicy.Steps).whole = true
		}
		if where.Container > 0 {
			w.follow(where.Steps[:where.Container]).field("name").scalar = true
		}
		subject := w.follow(where.Steps)
		if where.Container < len(where.Steps) {
			for _, key := range []string{"name", "key", "containerPort", "protocol"} {
				subject.field(key).scalar = true
			}
			subject.scalar = subject.scalar || !fieldpath.MayBeSecret(where.Steps) // its text is its name
		}
		places = append(places, subject)
	}
	return places
}

// stepsTo returns the steps from the pod to where a path of a leaf leads, for a subject of the path k of the group.
func (g *group) stepsTo(k int, p *place) []fieldpath.Step {
	if p.Root || len(g.forEach) == 0 {
		return p.Steps
	}
	return slices.Concat(g.forEach[k].Steps, p.Steps)
}

// notShown is for leaves whose values details never show.
func notShown(*place) bool { return false }

// add adds what a predicate reads of a subject and of the pod, which is w. Details show the values of some of its leaves.
func (w *wanted) add(p predicate, subject *wanted, shown func(*place) bool) {
	switch p := p.(type) {
	case allOf:
		for _, q := range p {
			w.add(q, subject, shown)
		}
	case anyOf:
		for _, q := range p {
			w.add(q, subject, shown)
		}
	case notOf:
		w.add(p.predicate, subject, notShown)
	case *quantified:
		from := subject
		if p.in.Root {
			from = w
		}
		if p.every {
			shown = notShown
		}
		element := new(wanted)
		w.add(p.is, element, func(at *place) bool {
			if at.Root {
				return shown(at)
			}
			return shown(&p.in) && !fieldpath.MayBeSecret(at.Steps)
		})
		from.follow(p.in.Steps).quantify(element)
	case *leaf:
		for i := range p.paths {
			at, from := &p.paths[i], subject
			if at.Root {
				from = w
			}
			p.want(from.follow(at.Steps), at, shown)
		}
		if p.from != nil {
			from := subject
			if p.from.Root {
				from = w
			}
			p.want(from.follow(p.from.Steps), &p.from.place, shown)
		}
	}
}

// quantify adds what is wanted of each element of a list, or of each entry of a map.
func (w *wanted) quantify(element *wanted) {
	w.element().merge(element)
	values := w.entry()
	values.merge(element.find([]byte("value")))
	values.merge(element.entries) // an entry itself has the entries key and value
}

// want adds what a leaf reads of the value at the end of one of its paths.
func (l *leaf) want(value *wanted, at *place, shown func(*place) bool) {
	switch {
	case at.IsLength():
		// The elements are kept to be counted; the length itself is not in the pod.
	case l.operator == "length":
		value.counted = true
	case l.test.of != nil, l.from != nil:
		value.whole = true
	case !l.absent && shown(at):
		value.scalar = true
	}
}

// follow adds what a walk along a path looks at, and returns what is wanted of its end.
func (w *wanted) follow(steps []fieldpath.Step) *wanted {
	for i := range steps {
		switch s := &steps[i]; s.Kind {
		case fieldpath.Keys:
			for _, key := range fieldpath.SplitKeys(s.Keys) {
				w = w.field(fieldpath.KeyName(key))
			}
		case fieldpath.Each, fieldpath.Length:
			w = w.element()
		case fieldpath.First, fieldpath.All:
			w = w.element()
			w.field(s.Key).whole = true
		}
	}
	return w
}

// field returns what is wanted of a field, and adds the field if necessary.
func (w *wanted) field(key string) *wanted {
	if of := w.find([]byte(key)); of != nil {
		return of
	}
	of := new(wanted)
	w.fields = append(w.fields, wantedField{key, of})
	return of
}

// element returns what is wanted of each element of an array, and adds it if necessary.
func (w *wanted) element() *wanted {
	if w.each == nil {
		w.each = new(wanted)
	}
	return w.each
}

// entry returns what is wanted of each value of an object, and adds it if necessary.
func (w *wanted) entry() *wanted {
	if w.entries == nil {
		w.entries = new(wanted)
	}
	return w.entries
}

// value returns what is wanted of the value of a key; nil when it is not wanted.
func (w *wanted) value(key []byte) *wanted {
	if of := w.find(key); of != nil {
		return of
	}
	return w.ofEntry(key)
}

// ofEntry returns what is wanted of the value of any key, for this key; nil when only fields are wanted.
func (w *wanted) ofEntry(key []byte) *wanted {
	if w.entries != nil && fieldpath.IsSecretKey(string(key)) {
		return w.hidden
	}
	return w.entries
}

// find returns what is wanted of a field; nil when it is not wanted. The fields are too few for a map to pay off.
func (w *wanted) find(key []byte) *wanted {
	for i := range w.fields {
		if w.fields[i].key == string(key) {
			return w.fields[i].of
		}
	}
	return nil
}

// finish prepares a complete tree for use. A key that is a number is an index if the value is an array.
func (w *wanted) finish() {
	slices.SortFunc(w.fields, func(a, b wantedField) int { return cmp.Compare(a.key, b.key) })
	for _, f := range w.fields {
		if index, err := strconv.Atoi(f.key); err == nil && index >= 0 && strconv.Itoa(index) == f.key {
			of := new(wanted)
			of.merge(f.of)
			of.merge(w.each)
			w.at = append(w.at, wantedElement{index, of})
		}
	}
	if w.entries != nil {
		w.hidden = new(wanted)
		w.hidden.merge(w.entries)
		w.hidden.hide()
		for _, f := range w.fields {
			f.of.merge(w.ofEntry([]byte(f.key)))
		}
		w.entries.finish()
		w.hidden.finish()
	}
	slices.SortFunc(w.at, func(a, b wantedElement) int { return cmp.Compare(a.index, b.index) })
	if w.each != nil {
		w.each.finish()
	}
	for _, f := range w.fields {
		f.of.finish()
	}
	for _, e := range w.at {
		e.of.finish()
	}
}

// merge adds a copy of another tree. Neither tree is finished yet.
func (w *wanted) merge(other *wanted) {
	if other == nil {
		return
	}
	w.whole, w.scalar, w.brief, w.counted = w.whole || other.whole, w.scalar || other.scalar, w.brief || other.brief, w.counted || other.counted
	for _, f := range other.fields {
		w.field(f.key).merge(f.of)
	}
	if other.each != nil {
		w.element().merge(other.each)
	}
	if other.entries != nil {
		w.entry().merge(other.entries)
	}
}

// hide removes scalars that are only wanted for details.
func (w *wanted) hide() {
	w.scalar = false
	for _, f := range w.fields {
		f.of.hide()
	}
	for _, of := range []*wanted{w.each, w.entries} {
		if of != nil {
			of.hide()
		}
	}
}

// Covers reports whether a pod that was reduced to p can be reduced to other without losing anything that other wants, and p reads the
// version if other does.
func (p *Projection) Covers(other *Projection) bool {
	return p.root.covers(other.root) && (p.version || !other.version)
}

func (w *wanted) covers(other *wanted) bool {
	if w.whole || other == nil {
		return true
	}
	if other.whole || other.scalar && !w.scalar || other.brief && !w.brief && !w.scalar || other.counted && !w.counted || other.each != nil && (w.each == nil || !w.each.covers(other.each)) {
		return false
	}
	if other.entries != nil && (w.entries == nil || !w.entries.covers(other.entries)) {
		return false
	}
	for _, f := range other.fields {
		if of := w.value([]byte(f.key)); of == nil || !of.covers(f.of) {
			return false
		}
	}
	return true
}

// A projector is the memory used to reduce one pod.
type projector struct {
	checker
	to []byte
}

var projectors = sync.Pool{New: func() any { return new(projector) }}

// AppendTo appends the reduced pod, given as JSON. It validates the whole text in the same pass: what Evaluate refuses is refused here
// with the same *SyntaxError, and dst is returned unchanged. A table with this projection has the same verdict for the result, or the
// same error, as for the pod.
func (p *Projection) AppendTo(dst, pod []byte) ([]byte, error) {
	r := projectors.Get().(*projector)
	defer projectors.Put(r)
	r.to = dst
	err := r.reduce(pod, p.root)
	reduced := r.to
	r.to, r.data = nil, nil
	if err != nil {
		return dst, err
	}
	return reduced, nil
}

func (r *projector) reduce(pod []byte, root *wanted) error {
	i, err := r.begin(pod)
	if err != nil {
		return err
	}
	if i, err = r.project(i, 0, root); err != nil {
		return err
	}
	return r.end(i)
}

// project appends what is wanted of the value at i, which is nested in depth containers, and returns its end.
func (r *projector) project(i, depth int, want *wanted) (int, error) {
	if i == len(r.data) {
		return 0, r.wrong(i, "")
	}
	first := r.data[i]
	if !want.whole && first == '{' {
		return r.object(i, depth, want)
	}
	if !want.whole && first == '[' {
		return r.array(i, depth, want)
	}
	end, err := r.value(i, depth)
	switch {
	case err != nil:
		return 0, err
	case want.brief && first == '"' && end-i > maxAnnotationBytes && !want.whole && !want.scalar && !want.counted:
		r.to = append(r.to, '0')
	case want.whole, want.scalar, want.brief, first == 't', first == 'f', first == 'n', first == '"' && want.counted:
		r.to = append(r.to, r.data[i:end]...)
	case first == '"':
		r.to = append(r.to, `""`...)
	default:
		r.to = append(r.to, '0')
	}
	return end, nil
}

// presence is what is wanted of a value whose presence alone matters.
var presence = new(wanted)

func (r *projector) object(i, depth int, want *wanted) (int, error) {
	level, err := r.enter(i, depth)
	if err != nil {
		return 0, err
	}
	r.to = append(r.to, '{')
	if i = r.skipSpace(i + 1); i < len(r.data) && r.data[i] == '}' {
		r.to = append(r.to, '}')
		i, _, err = r.next(i, level)
		return i, err
	}
	for first, more := true, true; more; {
		start := r.skipSpace(i)
		if i, err = r.key(start, level); err != nil {
			return 0, err
		}
		of := want.value(r.keys[len(r.keys)-1])
		if of == nil && want.counted {
			of = presence
		}
		i = r.skipSpace(i)
		if of == nil || !want.counted && i < len(r.data) && r.data[i] == 'n' {
			i, err = r.value(i, depth+1) // not wanted, or null, which counts as absent
		} else {
			if !first {
				r.to = append(r.to, ',')
			}
			first = false
			r.to = append(append(r.to, r.data[start:r.keyEnd]...), ':')
			i, err = r.project(i, depth+1, of)
		}
		if err != nil {
			return 0, err
		}
		if i, more, err = r.next(i, level); err != nil {
			return 0, err
		}
	}
	r.to = append(r.to, '}')
	return i, nil
}

func (r *projector) array(i, depth int, want *wanted) (int, error) {
	level, err := r.enter(i, depth)
	if err != nil {
		return 0, err
	}
	each := want.each
	if each == nil && want.counted {
		each = presence
	}
	r.to = append(r.to, '[')
	if i = r.skipSpace(i + 1); i < len(r.data) && r.data[i] == ']' {
		r.to = append(r.to, ']')
		i, _, err = r.next(i, level)
		return i, err
	}
	at := want.at
	for index, more := 0, true; more; index++ {
		i = r.skipSpace(i)
		of := each
		if len(at) > 0 && at[0].index == index {
			of, at = at[0].of, at[1:]
		}
		switch {
		case of == nil && len(at) == 0: // no later element is wanted either
			i, err = r.value(i, depth+1)
		case of == nil:
			r.comma(index)
			r.to = append(r.to, "null"...)
			i, err = r.value(i, depth+1)
		default:
			r.comma(index)
			i, err = r.project(i, depth+1, of)
		}
		if err != nil {
			return 0, err
		}
		if i, more, err = r.next(i, level); err != nil {
			return 0, err
		}
	}
	r.to = append(r.to, ']')
	return i, nil
}

func (r *projector) comma(index int) {
	if index > 0 {
		r.to = append(r.to, ',')
	}
}
