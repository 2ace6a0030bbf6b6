package dump

import (
	"encoding/json"
	"errors"
	"strings"
)

// document is one JSON object at the top of a recording: a list, a watch event, or an object of its own. Which of them
// its keys tell, in any order; the items of a list alone are read before the rest is known.
type document struct {
	object
	eventType text
	event     object
	keys      map[string]bool
	keySize   int
	unchecked []span // values of which nothing but the brackets was read
	streamed  bool   // it had items, which were read
	kindless  place  // the first item that had no kind while the list had none yet
	foreign   place  // the first item that is not of Kubernetes, in a list that may not be either
	own       bool   // it has items that are
	offset    int64
	line      int
	next      text   // metadata.continue: not empty where it is a part of a list
	remaining string // metadata.remainingItemCount, as it is written
}

// maxKeySize bounds what the keys of one document can take: those of a list are no longer within maxItem once its items
// were read.
const maxKeySize = 64 << 10

// span is a value, from the start of the item.
type span struct{ start, end int }

// place is where an item stands in the recording.
type place struct {
	item   int // 0: there is none
	offset int64
}

// document reads one.
func (d *reader) document() error {
	in := d.in
	in.keep = in.pos
	before := d.count
	d.item = before + 1
	doc := document{keys: make(map[string]bool), offset: in.offset(in.pos)}
	if d.manifests {
		doc.line = in.line()
	}
	if err := in.object(func(key []byte) error { return d.member(&doc, key) }); err != nil {
		if d.count == before && !d.stopped && !errors.Is(err, errTooLarge) && !errors.Is(err, errManyKeys) && d.isFlow(doc.offset) {
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

// whole makes an event of a document that was read.
func (d *reader) whole(doc *document) error {
	switch {
	case doc.end > maxItem:
		return d.skipUnrelated(doc, &Error{Offset: doc.offset, Err: errTooLarge})
	case d.among && doc.keys["$patch"]: // by which Kustomize tells what to do with another object
		d.countOther(Patches)
		return d.checkRest(doc)
	case d.among && doc.isUnrelated():
		d.countOther(noKind)
		return d.skipUnrelated(doc, d.checkRest(doc))
	case doc.kind.value == "" && (doc.event.end > 0 || doc.eventType.is != 0):
		return d.watchEvent(doc)
	case doc.kind.value == "List" || doc.kind.value == "PodList":
		return d.emptyList(doc)
	}
	return d.object(Apply, &doc.object)
}

// done lets go of the item that was read.
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

// checkRest checks what was only passed over and is no object of its own.
func (d *reader) checkRest(doc *document) error {
	for _, s := range doc.unchecked {
		if err := d.in.check(d.in.keep+s.start, d.in.keep+s.end); err != nil {
			return err
		}
	}
	doc.unchecked = doc.unchecked[:0]
	return nil
}

// items reads the items of a list, one after the other.
func (d *reader) items(doc *document) error {
	in := d.in
	d.item = 0 // the document is no item
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
	if d.among && doc.kind.is == 0 && doc.apiVersion.is == 0 {
		return d.untypedItem(doc)
	}
	if c := in.buf[in.pos]; c != '{' {
		return d.notAnObjectItem(c)
	}
	var o object
	if err := in.readObject(&o); err != nil {
		return err
	}
	return d.listed(doc, &o)
}

// listed makes an event of an item that was read.
func (d *reader) listed(doc *document, o *object) error {
	in := d.in
	o.listed = true
	// What has no kind can only be an item of a PodList whose own kind comes last.
	o.recorded = o.uid.value != "" || doc.kind.value == "PodList" || doc.kind.is == 0 && o.kind.value == "" && !o.kind.bad()
	if o.kind.value == "" && !o.kind.bad() {
		switch doc.kind.value {
		case "": // it may come yet; if it is another one, finishList fails
			if doc.kindless.item == 0 {
				doc.kindless = place{d.item, in.offset(in.keep)}
			}
			o.kind.value = "Pod"
		case "List": // whose items are of any kind, so that each has to name its own
		default:
			o.kind.value = strings.TrimSuffix(doc.kind.value, "List")
		}
	}
	return d.skipError(d.object(Apply, o))
}

// notAnObjectItem is an item that is none.
func (d *reader) notAnObjectItem(c byte) error {
	in := d.in
	err := errorAt(in.offset(in.pos), "an item that is %s, not an object", describe(c))
	if d.leftOut == nil {
		return err
	}
	if skipped := in.skip(); skipped != nil {
		return err // it is no value at all
	}
	return d.skipError(err)
}

// isList says whether what is known so far of a document with items is that of a list.
func (d *reader) isList(doc *document) error {
	if doc.kind.bad() {
		return errorAt(doc.offset, "kind is %s, not a string", describe(doc.kind.is))
	}
	if kind := doc.kind.value; kind != "" && !strings.HasSuffix(kind, "List") {
		return errorAt(doc.offset, "it has items, but is a %s and not a list: %s", clip(kind), record)
	}
	return nil
}

// finishList checks, of a list whose items were read, what was known only at its end.
func (d *reader) finishList(doc *document) error {
	if err := d.isList(doc); err != nil {
		return err
	}
	first, kind := doc.kindless, doc.kind.value
	if done, err := d.untypedList(doc); done || err != nil {
		return err
	}
	// Nothing but its kind, which kubectl prints last, tells that a list in YAML goes on to its end.
	if kind == "" && d.in.convert != nil {
		return errorAt(doc.offset, "the list has no kind: the dump is truncated; record it again")
	}
	if first.item == 0 || kind == "PodList" {
		return nil
	}
	d.item = first.item
	if kind == "" || kind == "List" {
		return errorAt(first.offset, "an object without a kind: %s", record)
	}
	return errorAt(first.offset, "an object without a kind, in a list that turns out to be a %s: %s", clip(kind), record)
}

// emptyList is a list without an array of items. Go writes an empty one as null.
func (d *reader) emptyList(doc *document) error {
	d.item = 0
	switch doc.items {
	case 'n':
		return d.checkRest(doc)
	case 0:
		return errorAt(doc.offset, "a %s without items: %s", doc.kind.value, record)
	}
	return errorAt(doc.offset, "items is %s, not an array: %s", describe(doc.items), record)
}

// watchEvent is a document of a recorded watch.
func (d *reader) watchEvent(doc *document) error {
	if doc.eventType.is != '"' {
		return errorAt(doc.offset, "a watch event without a type: record it with --output-watch-events")
	}
	if doc.event.end == 0 {
		return errorAt(doc.offset, "a watch event without an object: record it with --output-watch-events")
	}
	if err := d.checkRest(doc); err != nil {
		return err
	}
	switch doc.eventType.value {
	case "ADDED", "MODIFIED":
		doc.event.recorded = true
		return d.object(Apply, &doc.event)
	case "DELETED":
		doc.event.recorded = true
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

// watchError is what an API server ends a watch with, such as 410 Expired: events are missing from then on.
func (d *reader) watchError(doc *document) error {
	in := d.in
	var status struct {
		Code            int
		Reason, Message string
	}
	// A Status of another shape still is an error; it is then named without details.
	_ = json.Unmarshal(in.buf[in.keep+doc.event.start:in.keep+doc.event.end], &status)
	return errorAt(doc.offset, "the watch ended with error %d, reason %s, message %s: record it again",
		status.Code, clip(status.Reason), clip(status.Message))
}
