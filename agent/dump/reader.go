package dump

import (
	"cmp"
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
	inFolder  bool
	leftOut   func(*Error) // nil: the first fault ends the reading
	progress  *atomic.Int64
	passed    bool   // leftOut was called
	stopped   bool   // fn returned an error
	template  []byte // room for makePod

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
		return nil // leftOut was called with the reason
	}
	if d.documents == 0 && !(d.inFolder && d.in.convert != nil) { // a file of comments is valid YAML
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
	case c == '[' && d.inFolder:
		return d.array()
	case c == '/' && d.inFolder && before == 0: // a comment
		return d.skipUnrelated(new(document), in.notAnObject())
	case c != '{' && before == 1 && in.convert == nil:
		d.startYAML() // like kubectl, which accepts YAML after one document of JSON but not after more
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

// named adds the name of the input and the item to an error.
func (d *reader) named(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Offset: -1, Err: err}
	}
	item, offset := d.item, e.Offset
	if e.placed {
		item = max(item, e.Item)
	} else {
		offset = d.in.inputOffset(offset)
	}
	return &Error{Name: d.name, Item: item, Offset: offset, Err: e.Err}
}

// skipError passes the error of an object that was read to its end to leftOut, if KeepGoing is set.
func (d *reader) skipError(err error) error {
	if err == nil || d.leftOut == nil || d.stopped {
		return err
	}
	d.passed = true
	d.leftOut(d.named(err))
	return nil
}

// noPods returns ErrNoPods with the kinds that were found instead.
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
	return errorAt(-1, "%w found, only objects of other kinds (%s): %s", ErrNoPods, strings.Join(kinds, ", "), record)
}

// countOther counts an object of another kind.
func (d *reader) countOther(kind string) {
	const most = 256 // bounds the memory: each item of a hostile input may have another kind
	if d.stats.Others == nil {
		d.stats.Others = make(map[string]int)
	}
	if _, known := d.stats.Others[kind]; !known && len(d.stats.Others) >= most {
		kind = "others"
	}
	d.stats.Others[kind]++
}

// object emits an object that was read, or counts it as one of another kind.
func (d *reader) object(op Op, o *object) error {
	kind := o.kind.value
	switch {
	case o.kind.bad():
		return d.errorAt(o, "kind must be a string, got %s", describe(o.kind.is))
	case kind == "" && d.inFolder && o.apiVersion.value == "":
		d.countOther(noKind)
		return d.check(o)
	case kind == "":
		return d.errorAt(o, "the object has no kind: %s", record)
	case kind == "Pod" && o.apiVersion.bad():
		return d.errorAt(o, "apiVersion must be a string, got %s", describe(o.apiVersion.is))
	case kind == "Pod" && (o.apiVersion.value == "" || o.apiVersion.value == "v1"):
		return d.pod(op, o)
	case o.items == '[' && strings.HasSuffix(kind, "List"):
		return d.errorAt(o, "the item is a nested %s: split it with `jq '.items[]'`", clip(kind))
	}
	if err := d.check(o); err != nil {
		return err
	}
	if d.manifests {
		if found, err := d.workload(op, o); found || err != nil {
			return err
		}
	}
	d.countOther(strings.ToValidUTF8(kind[:min(len(kind), 63)], "")) // the API server accepts no longer kind
	return nil
}

func (d *reader) pod(op Op, o *object) error {
	namespace, name, err := d.nameOf(o)
	if err != nil {
		return err
	}
	if op == Delete || !d.unchecked || d.manifests && !o.recorded { // fn does not check deleted pods, and a digest needs valid JSON
		if err := d.check(o); err != nil {
			return err
		}
	}
	start, end := d.in.keep+o.start, d.in.keep+o.end
	return d.emit(Event{Op: op, Namespace: namespace, Name: name, JSON: d.in.buf[start:end:end]}, o)
}

// nameOf returns namespace and name of an object. A manifest may have a generateName instead of a name.
func (d *reader) nameOf(o *object) (namespace, name string, err error) {
	for _, field := range []struct {
		name string
		text text
	}{{"name", o.name}, {"namespace", o.namespace}, {"uid", o.uid}} {
		if field.text.bad() {
			return "", "", d.errorAt(o, "metadata.%s must be a string, got %s", field.name, describe(field.text.is))
		}
	}
	if name = o.name.value; name == "" && d.manifests {
		name = o.generateName.value
	}
	if name == "" {
		return "", "", d.errorAt(o, "metadata.name of the %s is missing", clip(o.kind.value))
	}
	return cmp.Or(o.namespace.value, "default"), name, nil
}

// emit completes the event of the item that was read, counts it and passes it to fn.
func (d *reader) emit(e Event, o *object) error {
	if e.Op == Delete {
		d.stats.Deleted++
	} else {
		d.stats.Applied++
	}
	in := d.in
	at := in.offset(in.keep)
	e.Item, e.Offset = d.item, in.inputOffset(at)
	e.made = e.made || in.convert != nil
	e.UID, e.APIVersion, e.Recorded, e.Listed = o.uid.value, o.apiVersion.value, o.recorded, o.listed
	e.Watched, e.Generated = o.start > 0, o.name.value == ""
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

// check returns the first error in the JSON of an object. JSON that was made from YAML is valid.
func (d *reader) check(o *object) error {
	if d.in.convert != nil {
		return nil
	}
	return d.in.check(d.in.keep+o.start, d.in.keep+o.end)
}

// errorAt returns an error at the first byte of an object.
func (d *reader) errorAt(o *object, format string, args ...any) error {
	return errorAt(d.in.offset(d.in.keep+o.start), format, args...)
}
