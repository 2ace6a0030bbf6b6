package dump

import (
	"bytes"
	"errors"
	"io"
)

// noKind is the kind under which Stats.Others counts what is not a Kubernetes object, in a file of a folder.
const noKind = "no kind"

// Patches is the kind under which Stats.Others counts Kustomize patches.
const Patches = "patches"

// isUnrelated reports whether a document is not a Kubernetes object, such as the values or the Chart.yaml of a chart, which
// has a type and an apiVersion too. An apiVersion alone may be a dump that was cut after its first line.
func (doc *document) isUnrelated() bool {
	switch {
	case doc.kind.value != "" || doc.kind.bad() || doc.isEvent():
		return false
	case doc.apiVersion.value == "" && !doc.apiVersion.bad():
		return true
	}
	return len(doc.keys) > 1 && !doc.keys["metadata"] && !doc.keys["spec"] && !doc.keys["items"]
}

// isEvent reports whether a document is a watch event, rather than an object with the fields type or object.
func (doc *document) isEvent() bool {
	switch doc.eventType.value {
	case "ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR":
		return true
	}
	return doc.event.metadata
}

// untypedItem reads an item of a list that has neither a kind nor an apiVersion yet. Its file may be unrelated to Kubernetes
// and its items anything; untypedList decides at the end.
func (d *reader) untypedItem(doc *document) error {
	in := d.in
	var o object
	if err := in.readAny(&o); err != nil {
		return err
	}
	if o.metadata {
		doc.own = true
		return d.listed(doc, &o)
	}
	if doc.unrelated.item == 0 {
		doc.unrelated = itemRef{d.item, in.offset(in.keep)}
	}
	return in.check(in.keep, in.pos)
}

// readAny reads a value, which may be an object.
func (in *input) readAny(o *object) error {
	if in.buf[in.pos] == '{' {
		return in.readObject(o)
	}
	return in.skip()
}

// untypedList reports whether a list is unrelated to Kubernetes, and counts it then.
func (d *reader) untypedList(doc *document) (bool, error) {
	switch {
	case !d.inFolder:
		return false, nil
	case doc.kind.value == "" && doc.apiVersion.value == "" && !doc.own:
		d.countOther(noKind)
		return true, nil
	case doc.unrelated.item == 0:
		return false, nil
	}
	d.item = doc.unrelated.item
	return true, errorAt(doc.unrelated.offset, "the item has no metadata: %s", record)
}

// array skips an array in a folder, such as a JSON patch. An array of Kubernetes objects is an error.
func (d *reader) array() error {
	in := d.in
	wrong := in.notAnObject()
	if in.convert != nil {
		wrong = errorAt(in.offset(in.pos), "a document must be an object, got a list: %s", record)
	}
	in.take()
	err := in.elements(']', func() error {
		in.keep = in.pos
		var o object
		err := in.readAny(&o)
		if err == nil && o.metadata && o.kind.value != "" {
			err = wrong
		}
		if err == nil {
			err = in.check(in.keep, in.pos)
		}
		in.keep = in.pos
		return err
	})
	if err == nil {
		d.countOther(noKind)
	}
	return err
}

// skipUnrelated clears the error of a file in a folder that is unrelated to Kubernetes: JSON with comments or trailing commas,
// as editors and compilers are configured with, or a large file such as a package lock. The error must be in the first
// document, which has no key of Kubernetes, and no such key may follow.
func (d *reader) skipUnrelated(doc *document, err error) error {
	if err == nil || !d.inFolder || d.count > 0 || doc.streamed || doc.isEvent() || !d.in.isUnrelatedError(err) {
		return err
	}
	for _, key := range ownKeys {
		if doc.keys[key] {
			return err
		}
	}
	found, reading := d.in.find([]byte(`"apiVersion"`))
	if reading != nil {
		return reading
	}
	if found {
		return err
	}
	if d.stats.Others[noKind] == 0 {
		d.countOther(noKind)
	}
	return nil
}

// ownKeys are keys of Kubernetes objects.
var ownKeys = []string{"apiVersion", "kind", "metadata", "spec", "items"}

// isUnrelatedError reports whether an error is one that files unrelated to Kubernetes cause, rather than a damaged dump.
func (in *input) isUnrelatedError(err error) bool {
	if errors.Is(err, errTooLarge) || errors.Is(err, errManyKeys) {
		return true
	}
	var e *Error
	if !errors.As(err, &e) || e.Offset < in.offset(in.keep) || e.Offset >= in.offset(in.end) {
		return false
	}
	c := in.buf[e.Offset-in.base]
	return c == '/' || c == '}' || c == ']'
}

// find reads until it has found a word, or to the end.
func (in *input) find(word []byte) (bool, error) {
	for !bytes.Contains(in.buf[in.keep:in.end], word) {
		in.pos = in.end
		in.keep = max(in.keep, in.end-len(word)+1)
		if err := in.more(); errors.Is(err, io.EOF) {
			in.keep, in.pos = in.end, in.end
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return true, nil
}
