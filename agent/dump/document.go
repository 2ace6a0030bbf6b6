package dump

import (
	"encoding/json"
	"errors"
	"strings"
)

// document is one JSON object at the top level of the input: a list, a watch event or a single object. Its keys say which,
// and may come in any order; only the items of a list are read before the rest is known.
type document struct {
	object
	eventType text
	event     object
	keys      map[string]bool
	keySize   int
	unchecked []span  // values whose contents were not checked
	streamed  bool    // it had items, which were read
	own       bool    // some items are Kubernetes objects
	kindless  itemRef // the first item without a kind that came before the kind of the list
	unrelated itemRef // the first item that is not a Kubernetes object, in a list that may not be one either
	offset    int64
	next      text   // metadata.continue: not empty if the list is incomplete
	remaining string // metadata.remainingItemCount, as it is written
}

// maxKeySize bounds the memory for the keys of a document: a list with items is not bounded by maxItem.
const maxKeySize = 64 << 10

// span is a value, relative to the start of the item.
type span struct{ start, end int }

// itemRef is an item of the input; item 0 is none.
type itemRef struct {
	item   int
	offset int64
}

func (d *reader) document() error {
	in := d.in
	in.keep = in.pos
	before := d.count
	d.item = before + 1
	doc := document{keys: make(map[string]bool), offset: in.offset(in.pos)}
	if err := in.object(func(key []byte) error { return d.member(&doc, key) }); err != nil {
		tooLarge := errors.Is(err, errTooLarge) || errors.Is(err, errManyKeys)
		if d.count == before && !d.stopped && !tooLarge && d.isFlow(doc.offset) {
			return errFlow
		}
		if err = d.skipUnrelated(&doc, err); err == nil {
			d.done()
		}
		return err
	}
	doc.end = in.pos - in.keep
	var err error
	if doc.streamed {
		err = d.finishList(&doc)
	} else {
		err = d.skipError(d.whole(&doc))
	}
	if err != nil {
		return err
	}
	d.done()
	return d.follow(&doc)
}

// whole emits a document without items.
func (d *reader) whole(doc *document) error {
	switch {
	case doc.end > maxItem:
		return d.skipUnrelated(doc, &Error{Offset: doc.offset, Err: errTooLarge})
	case d.inFolder && doc.keys["$patch"]: // a Kustomize patch of another object
		d.countOther(Patches)
		return d.checkRest(doc)
	case d.inFolder && doc.isUnrelated():
		d.countOther(noKind)
		return d.skipUnrelated(doc, d.checkRest(doc))
	case doc.kind.value == "" && (doc.event.end > 0 || doc.eventType.is != 0):
		return d.watchEvent(doc)
	case doc.kind.value == "List" || doc.kind.value == "PodList":
		return d.emptyList(doc)
	}
	return d.object(Apply, &doc.object)
}

// done releases the item that was read.
func (d *reader) done() {
	if d.item > 0 {
		d.count++
	}
	d.item = 0
	d.in.keep = d.in.pos
}

// member reads the value of one key of a document.
func (d *reader) member(doc *document, key []byte) error {
	in := d.in
	if doc.keys[string(key)] {
		return in.duplicate(key)
	}
	if doc.keySize += len(key) + 16; doc.keySize > maxKeySize {
		return &Error{Offset: in.offset(in.pos), Err: errManyKeys}
	}
	doc.keys[string(key)] = true
	c, start := in.buf[in.pos], in.pos-in.keep
	var err error
	switch {
	case string(key) == "items" && c == '[':
		return d.items(doc)
	case string(key) == "object" && c == '{' && !doc.streamed:
		return in.readObject(&doc.event)
	case string(key) == "metadata":
		err = d.listMetadata(doc)
	case string(key) == "type":
		err = in.readText(&doc.eventType, in.common)
	default:
		err = in.readMember(&doc.object, key)
	}
	if err != nil {
		return err
	}
	if c == '{' || c == '[' {
		doc.unchecked = append(doc.unchecked, span{start, in.pos - in.keep})
	}
	if !doc.streamed {
		return nil
	}
	if err := d.checkRest(doc); err != nil {
		return err
	}
	d.done()
	return nil
}

// checkRest checks the values of a document that are not emitted as objects.
func (d *reader) checkRest(doc *document) error {
	for _, s := range doc.unchecked {
		if err := d.in.check(d.in.keep+s.start, d.in.keep+s.end); err != nil {
			return err
		}
	}
	doc.unchecked = doc.unchecked[:0]
	return nil
}

// items reads the items of a list.
func (d *reader) items(doc *document) error {
	in := d.in
	d.item = 0 // the list itself is not an item
	if err := d.isList(doc); err != nil {
		return err
	}
	if err := d.checkRest(doc); err != nil {
		return err
	}
	if doc.event.end > 0 {
		if err := d.check(&doc.event); err != nil {
			return err
		}
	}
	doc.streamed = true
	in.keep = in.pos
	in.take()
	return in.elements(']', func() error {
		d.item = d.count + 1
		in.keep = in.pos
		if err := d.listItem(doc); err != nil {
			return err
		}
		d.done()
		return nil
	})
}

func (d *reader) listItem(doc *document) error {
	in := d.in
	if d.inFolder && doc.kind.is == 0 && doc.apiVersion.is == 0 {
		return d.untypedItem(doc)
	}
	if c := in.buf[in.pos]; c != '{' {
		err := errorAt(in.offset(in.pos), "a list item must be an object, got %s", describe(c))
		if d.leftOut == nil || in.skip() != nil {
			return err
		}
		return d.skipError(err)
	}
	var o object
	if err := in.readObject(&o); err != nil {
		return err
	}
	return d.listed(doc, &o)
}

// listed emits an item that was read.
func (d *reader) listed(doc *document, o *object) error {
	o.listed = true
	kindless := o.kind.value == "" && !o.kind.bad()
	// An item without a kind can only belong to a PodList whose own kind comes last.
	o.recorded = o.uid.value != "" || doc.kind.value == "PodList" || doc.kind.is == 0 && kindless
	if kindless {
		switch doc.kind.value {
		case "": // the kind may still come; finishList fails if it is not PodList
			if doc.kindless.item == 0 {
				doc.kindless = itemRef{d.item, d.in.offset(d.in.keep)}
			}
			o.kind.value = "Pod"
		case "List": // each item of a List has a kind of its own
		default:
			o.kind.value = strings.TrimSuffix(doc.kind.value, "List")
		}
	}
	return d.skipError(d.object(Apply, o))
}

// isList returns an error if a document with items cannot be a list.
func (d *reader) isList(doc *document) error {
	if doc.kind.bad() {
		return errorAt(doc.offset, "kind must be a string, got %s", describe(doc.kind.is))
	}
	if kind := doc.kind.value; kind != "" && !strings.HasSuffix(kind, "List") {
		return errorAt(doc.offset, "the object has items, but its kind %s is not a list: %s", clip(kind), record)
	}
	return nil
}

// finishList checks what is known only at the end of a list.
func (d *reader) finishList(doc *document) error {
	if err := d.isList(doc); err != nil {
		return err
	}
	if done, err := d.untypedList(doc); done || err != nil {
		return err
	}
	first, kind := doc.kindless, doc.kind.value
	// kubectl prints the kind last: without it, a list in YAML may be truncated.
	if kind == "" && d.in.convert != nil {
		return errorAt(doc.offset, "the list has no kind: the dump is truncated; record it again")
	}
	if first.item == 0 || kind == "PodList" {
		return nil
	}
	d.item = first.item
	if kind == "" || kind == "List" {
		return errorAt(first.offset, "the object has no kind: %s", record)
	}
	return errorAt(first.offset, "the object has no kind, and its list is a %s: %s", clip(kind), record)
}

// emptyList reads a list without an array of items. Go writes an empty one as null.
func (d *reader) emptyList(doc *document) error {
	d.item = 0
	switch doc.items {
	case 'n':
		return d.checkRest(doc)
	case 0:
		return errorAt(doc.offset, "the %s has no items: %s", doc.kind.value, record)
	}
	return errorAt(doc.offset, "items must be an array, got %s: %s", describe(doc.items), record)
}

// watchEvent reads one event of a recorded watch.
func (d *reader) watchEvent(doc *document) error {
	if doc.eventType.is != '"' {
		return errorAt(doc.offset, "the watch event has no type: record it with --output-watch-events")
	}
	if doc.event.end == 0 {
		return errorAt(doc.offset, "the watch event has no object: record it with --output-watch-events")
	}
	if err := d.checkRest(doc); err != nil {
		return err
	}
	doc.event.recorded = true
	switch doc.eventType.value {
	case "ADDED", "MODIFIED":
		return d.object(Apply, &doc.event)
	case "DELETED":
		return d.object(Delete, &doc.event)
	case "BOOKMARK":
		d.stats.Bookmarks++
		return d.check(&doc.event)
	case "ERROR":
		if err := d.check(&doc.event); err != nil {
			return err
		}
		return d.watchError(doc)
	}
	return errorAt(doc.offset, "unknown watch event type %s", clip(doc.eventType.value))
}

// watchError is the error with which an API server ends a watch, such as 410 Expired: later events are missing.
func (d *reader) watchError(doc *document) error {
	var status struct {
		Code            int
		Reason, Message string
	}
	// A Status of another shape is an error too, without details.
	_ = json.Unmarshal(d.in.buf[d.in.keep+doc.event.start:d.in.keep+doc.event.end], &status)
	return errorAt(doc.offset, "the watch ended with error %d, reason %s, message %s: record it again",
		status.Code, clip(status.Reason), clip(status.Message))
}
