package dump

import (
	"errors"
	"fmt"
	"strconv"
)

// ErrIncompleteList says that an input has a page of a list but not the next one.
var ErrIncompleteList = errors.New("the list is incomplete")

// Missing returns the error of a page of a list, in the input of a name, that the next page does not follow.
func (c *Continuation) Missing(name string) *Error {
	missing := "an unknown number of items is missing"
	switch {
	case c.Remaining == 1:
		missing = "1 item is missing"
	case c.Remaining >= 0:
		missing = fmt.Sprintf("%d items are missing", c.Remaining)
	}
	return &Error{Name: name, Item: c.Item, Offset: c.Offset, placed: true, Err: fmt.Errorf(
		"%w: %s, because metadata.continue is set and no further %s follows: record all pages, as `kubectl get -o json` does",
		ErrIncompleteList, missing, clip(c.Kind))}
}

// listMetadata reads the metadata of a document, which may be a page of a list.
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

// follow checks that a document continues the page of a list before it, and notes whether it is a page itself.
func (d *reader) follow(doc *document) error {
	isList := doc.streamed || doc.items == 'n'
	if d.documents == 0 && isList {
		d.stats.First = doc.kind.value
	}
	before := d.stats.Continues
	d.stats.Continues = nil
	if isList && doc.next.value != "" {
		remaining, err := strconv.ParseInt(doc.remaining, 10, 64)
		if err != nil || remaining < 0 {
			remaining = -1
		}
		d.stats.Continues = &Continuation{Kind: doc.kind.value, Remaining: remaining, Item: d.count + 1, Offset: d.in.inputOffset(doc.offset)}
	}
	if before == nil || isList && doc.kind.value == before.Kind {
		return nil
	}
	return d.skipError(before.Missing(d.name))
}
