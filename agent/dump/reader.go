package dump

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
)

// reader reads the documents of one recording and makes events of them.
type reader struct {
	name  string
	in    *input
	fn    func(Event) error
	stats Stats

	unchecked bool // the insides of applied pods are fn's to check
	manifests bool
	among     bool
	leftOut   func(*Error) // nil: the first fault ends the reading
	progress  *atomic.Int64
	passed    bool // something was left out, and told
	stopped   bool // fn has failed
	template  []byte

	documents int // so far
	count     int // objects so far
	item      int // the one that is being read; 0: none
}

// read reads the whole recording.
func (d *reader) read() error {
	if err := d.open(); err != nil {
		return err
	}
	for ; ; d.documents++ {
		c, err := d.in.nextDocument(d.documents > 0)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = d.next(c)
		}
		if err != nil {
			return err
		}
	}
	if d.passed && d.stats.Applied+d.stats.Deleted == 0 {
		return nil // why there are no pods was told
	}
	if d.documents == 0 && !(d.among && d.in.convert != nil) { // comments alone are YAML of something
		return errorAt(-1, "the input is empty: %s", record)
	}
	if d.stats.Applied+d.stats.Deleted == 0 {
		return d.noPods()
	}
	return nil
}

// next reads the document that begins with a byte.
func (d *reader) next(c byte) error {
	in, before := d.in, d.documents
	switch {
	case c == '[' && d.among:
		return d.array()
	case c == '/' && d.among && before == 0: // a comment
		return d.skipUnrelated(new(document), in.notAnObject())
	case c != '{' && before == 1 && in.convert == nil:
		d.startYAML() // as kubectl does it behind one document of JSON, and behind no more
		return nil
	case c != '{' && before > 0:
		return in.unexpected("another object")
	case c != '{' || before == 0 && in.isTemplate():
		return in.notAnObject()
	}
	err := d.document()
	if errors.Is(err, errFlow) {
		d.item = 0
		d.startYAML()
		return nil
	}
	return err
}

// named is an error that says where it is.
func (d *reader) named(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Offset: -1, Err: err}
	}
	item, offset := d.item, e.Offset
	if e.placed {
		item = max(item, e.Item)
	} else {
		offset = d.in.place(offset)
	}
	return &Error{Name: d.name, Item: item, Offset: offset, Err: e.Err}
}

// skipError passes over the fault of an object that was read to its end, where that is wanted.
func (d *reader) skipError(err error) error {
	if err == nil || d.leftOut == nil || d.stopped {
		return err
	}
	d.passed = true
	d.leftOut(d.named(err))
	return nil
}

// noPods says what there was instead.
func (d *reader) noPods() error {
	if len(d.stats.Others) == 0 {
		return errorAt(-1, "%w: %s", ErrNoPods, record)
	}
	var kinds []string
	for kind, n := range d.stats.Others {
		kinds = append(kinds, fmt.Sprintf("%s %d", OneLine(kind), n))
	}
	slices.Sort(kinds)
	if len(kinds) > 5 {
		kinds = append(kinds[:5], "...")
	}
	return errorAt(-1, "%w among objects of other kinds (%s): %s", ErrNoPods, strings.Join(kinds, ", "), record)
}

// left counts an object that is no pod.
func (d *reader) countOther(kind string) {
	const most = 256 // a hostile recording may have another kind in each item
	if d.stats.Others == nil {
		d.stats.Others = make(map[string]int)
	}
	if _, known := d.stats.Others[kind]; !known && len(d.stats.Others) >= most {
		kind = "others"
	}
	d.stats.Others[kind]++
}

// object makes an event of an object that was read.
func (d *reader) object(op Op, o *object) error {
	kind := o.kind.value
	switch {
	case o.kind.bad():
		return d.errorAt(o, "kind is %s, not a string", describe(o.kind.is))
	case kind == "" && d.among && o.apiVersion.value == "":
		d.countOther(noKind)
		return d.check(o)
	case kind == "":
		return d.errorAt(o, "an object without a kind: %s", record)
	case kind == "Pod" && o.apiVersion.bad():
		return d.errorAt(o, "apiVersion is %s, not a string", describe(o.apiVersion.is))
	case kind == "Pod" && (o.apiVersion.value == "" || o.apiVersion.value == "v1"):
		return d.pod(op, o)
	case o.items == '[' && strings.HasSuffix(kind, "List"):
		return d.errorAt(o, "a nested %s: take it apart with `jq '.items[]'`", clip(kind))
	}
	if d.manifests {
		if found, err := d.workload(op, o); found || err != nil {
			return err
		}
	}
	if len(kind) > 63 { // longer than any that an API server takes
		kind = kind[:63]
	}
	d.countOther(strings.ToValidUTF8(kind, ""))
	return d.check(o)
}

// pod gives a pod to the caller.
func (d *reader) pod(op Op, o *object) error {
	for _, field := range []struct {
		name string
		text text
	}{{"name", o.name}, {"namespace", o.namespace}, {"uid", o.uid}} {
		if field.text.bad() {
			return d.errorAt(o, "metadata.%s is %s, not a string", field.name, describe(field.text.is))
		}
	}
	name := d.nameOf(o)
	if name == "" {
		return d.errorAt(o, "a pod without a name: %s", record)
	}
	namespace := o.namespace.value
	if namespace == "" {
		namespace = "default"
	}
	if op == Delete || !d.unchecked || d.manifests && !o.recorded { // who has gone is not looked into, and a digest is of JSON
		if err := d.check(o); err != nil {
			return err
		}
	}
	in := d.in
	start, end := in.keep+o.start, in.keep+o.end
	return d.emit(Event{Op: op, Namespace: namespace, Name: name, UID: o.uid.value, JSON: in.buf[start:end:end], Watched: o.start > 0, Listed: o.listed,
		Generated: o.name.value == "", APIVersion: o.apiVersion.value}, o)
}

// nameOf is the name of an object. A manifest may leave it to the API server, and say how it shall begin.
func (d *reader) nameOf(o *object) string {
	if o.name.value == "" && d.manifests {
		return o.generateName.value
	}
	return o.name.value
}

// give counts a pod of the item that was read, and calls the caller.
func (d *reader) emit(e Event, o *object) error {
	if e.Op == Delete {
		d.stats.Deleted++
	} else {
		d.stats.Applied++
	}
	in := d.in
	at := in.offset(in.keep)
	e.Item, e.Offset = d.item, in.place(at)
	e.made = e.made || in.convert != nil
	e.Recorded = o.recorded
	if d.manifests {
		e.Line = in.line()
		if !o.recorded {
			e.Digest = digestOf(in.buf[in.keep+o.start : in.keep+o.end])
		}
	}
	if err := d.fn(e); err != nil {
		d.stopped = true
		return &Error{Offset: at, Err: err}
	}
	return nil
}

// check holds the whole of an object to be valid JSON, which the JSON that YAML was made into is.
func (d *reader) check(o *object) error {
	if d.in.convert != nil {
		return nil
	}
	return d.in.check(d.in.keep+o.start, d.in.keep+o.end)
}

// fault is an error at the first byte of an object.
func (d *reader) errorAt(o *object, format string, args ...any) error {
	return errorAt(d.in.offset(d.in.keep+o.start), format, args...)
}
