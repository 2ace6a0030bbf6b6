package dump

import (
	"bytes"
	"errors"
	"io"
)

// noKind is what an object counts as that is not of Kubernetes, and was found in a folder among others.
const noKind = "no kind"

// Patches is what parts of objects count as that Kustomize merges into others.
const Patches = "patches"

// isUnrelated tells a document that is not of Kubernetes: the values or the Chart.yaml of a chart, say, which has a type
// and an apiVersion too. An apiVersion alone is what is left of a dump that was cut behind its first line.
func (doc *document) isUnrelated() bool {
	switch {
	case doc.kind.value != "" || doc.kind.bad() || doc.isEvent():
		return false
	case doc.apiVersion.value == "" && !doc.apiVersion.bad():
		return true
	}
	return len(doc.keys) > 1 && !doc.keys["metadata"] && !doc.keys["spec"] && !doc.keys["items"]
}

// isEvent tells a watch event from an object that happens to have a type or an object in it.
func (doc *document) isEvent() bool {
	switch doc.eventType.value {
	case "ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR":
		return true
	}
	return doc.event.metadata
}

// untypedItem reads an item of a list that has neither a kind nor an apiVersion yet. It may be one of a file that is not of
// Kubernetes, where items are anything; which of them it is shows at the end, in untypedList.
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
	if doc.foreign.item == 0 {
		doc.foreign = place{d.item, in.offset(in.keep)}
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

// untypedList says whether the items that were read are not of Kubernetes, which leaves the document out.
func (d *reader) untypedList(doc *document) (bool, error) {
	if !d.among || doc.own && doc.foreign.item == 0 {
		return false, nil
	}
	if doc.kind.value == "" && doc.apiVersion.value == "" && !doc.own {
		d.countOther(noKind)
		return true, nil
	}
	if doc.foreign.item == 0 {
		return false, nil
	}
	d.item = doc.foreign.item
	return true, errorAt(doc.foreign.offset, "an item without metadata: %s", record)
}

// array passes over an array, such as a patch of JSON. One of pods would be a recording in another shape.
func (d *reader) array() error {
	in := d.in
	wrong := in.notAnObject()
	if in.convert != nil {
		wrong = errorAt(in.offset(in.pos), "a document that is a list, not an object: %s", record)
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

// skipUnrelated passes over the fault of a file that lies in a folder and is not of Kubernetes: JSON with comments or
// with a comma behind the last element, as editors and compilers are configured with, and what is larger than any pod, as
// the lists of a package manager are. It is one of these where the fault is in the first document, before anything of
// Kubernetes, and nothing of that follows.
func (d *reader) skipUnrelated(doc *document, err error) error {
	if err == nil || !d.among || d.count > 0 || doc.streamed || doc.isEvent() || !d.in.isUnrelatedError(err) {
		return err
	}
	for _, key := range []string{"apiVersion", "kind", "metadata", "spec", "items"} {
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

// isUnrelatedError tells the faults that files have which are not of Kubernetes, from those of a dump that is damaged.
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

// find reads to the end, or until it has found a word.
func (in *input) find(word []byte) (bool, error) {
	for {
		if bytes.Contains(in.buf[in.keep:in.end], word) {
			return true, nil
		}
		in.pos = in.end
		in.keep = max(in.keep, in.end-len(word)+1)
		if err := in.more(); errors.Is(err, io.EOF) {
			in.keep, in.pos = in.end, in.end
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
}
