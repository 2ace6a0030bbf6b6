package dump

import (
	"errors"
	"fmt"
	"strconv"
)

// ErrIncompleteList says that an input has a part of a list, and not what follows.
var ErrIncompleteList = errors.New("the list is not complete")

// Missing is the error of a part of a list in the input of a name, where the next part does not follow.
func (c *Continuation) Missing(name string) *Error {
	missing := "an unknown number of items is missing"
	switch {
	case c.Remaining == 1:
		missing = "1 item is missing"
	case c.Remaining >= 0:
		missing = fmt.Sprintf("%d items are missing", c.Remaining)
	}
	return &Error{Name: name, Item: c.Item, Offset: c.Offset, placed: true, Err: fmt.Errorf(
		"%w: %s, as metadata.continue is set and no %s follows: record all pages, as `kubectl get -o json` does", ErrIncompleteList, missing, clip(c.Kind))}
}

// listMetadata reads the metadata of a document, which may be a part of a list.
func (d *reader) listMetadata(doc *document) error {
	in := d.in
	doc.metadata = true
	if in.buf[in.pos] != '{' {
		return in.skip()
	}
	return in.object(func(key []byte) error {
		switch string(key) {
		case "continue":
			return in.readText(&doc.next, in.text)
		case "remainingItemCount":
			start := in.pos - in.keep
			if err := in.skip(); err != nil {
				return err
			}
			doc.remaining = string(in.buf[in.keep+start : in.pos])
			return nil
		}
		return in.readMetadata(&doc.object, key)
	})
}

// continuation is what must follow a document; nil where that is whole.
func (d *reader) continuation(doc *document) *Continuation {
	if doc.next.value == "" || !doc.streamed && doc.items != 'n' {
		return nil
	}
	remaining, err := strconv.ParseInt(doc.remaining, 10, 64)
	if err != nil || remaining < 0 {
		remaining = -1
	}
	return &Continuation{Kind: doc.kind.value, Remaining: remaining, Item: d.count + 1, Offset: d.in.place(doc.offset), Line: doc.line}
}

// follow holds a document against the part of a list before it.
func (d *reader) follow(doc *document) error {
	isList := doc.streamed || doc.items == 'n'
	if d.documents == 0 && isList {
		d.stats.First = doc.kind.value
	}
	before := d.stats.Continues
	d.stats.Continues = d.continuation(doc)
	if before == nil || isList && doc.kind.value == before.Kind {
		return nil
	}
	return d.skipError(before.Missing(d.name))
}
