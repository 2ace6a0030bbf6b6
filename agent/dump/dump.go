// Package dump reads recorded pods: what `kubectl get pods -o json` prints (a List, or one Pod), a PodList of the API,
// several of these in a row, JSON lines, and a recorded watch (`kubectl get pods -A -o json --watch
// --output-watch-events`; without the last flag nothing tells a pod that went from one that changed). All of it plain or in
// gzip.
//
// It splits the stream into items without decoding them, and holds one item at a time, however long the recording is.
// Every item is checked to be valid JSON; a caller that checks the pods itself can leave that out (Unchecked), and then it
// reads some GB/s. An error means that nothing of the input may be believed, the events before it included.
package dump

import (
	"context"
	"errors"
	"io"
)

// Op says what a recording did to a pod.
type Op uint8

const (
	// Apply is a pod that exists: an item of a list, or an ADDED or MODIFIED event.
	Apply Op = iota
	// Delete is a pod that went: a DELETED event, with the pod's last state.
	Delete
)

// String returns "apply" or "delete".
func (o Op) String() string {
	if o == Delete {
		return "delete"
	}
	return "apply"
}

// Event is one pod of a recording.
type Event struct {
	Op        Op
	Namespace string // "default" where the pod names none
	Name      string // never empty
	UID       string // empty where the pod has none
	// JSON is the pod: one object, from brace to brace, at most 4 MiB and 200 levels deep, of valid JSON and UTF-8 (but see
	// Unchecked). Keys may stand twice, other than those that are read here. It may be used during the call alone.
	JSON   []byte
	Item   int   // 1-based position among all objects of the input, of whatever kind
	Offset int64 // of the item's first byte, in the decompressed input; of a watch event, the event's first byte
}

// Stats counts what an input held.
type Stats struct {
	Applied   int            // pods that exist
	Deleted   int            // pods that went
	Bookmarks int            // BOOKMARK events
	Others    map[string]int // objects of other kinds, which were left out; at most 257 kinds, the rest under "others"
	Bytes     int64          // size of the input, decompressed
}

// Option changes how a recording is read.
type Option func(*reader)

// Unchecked leaves it to the caller's function whether the JSON of an Apply is valid between its brackets. The function
// must then check every pod, also those that it has no interest in: a quote that is missing in one pod can swallow the pods
// behind it, and nothing else would tell.
func Unchecked(d *reader) { d.unchecked = true }

// Read reads one recording to its end and calls fn for each pod, in the order of the recording. The name stands in
// errors. An error of fn ends the reading and comes back wrapped, with the item's place.
//
// Every error is an *Error. An input without any pod is an error that wraps ErrNoPods. Read ends at the next
// read when ctx does; it cannot interrupt a read of r that blocks (ReadPath can).
func Read(ctx context.Context, name string, r io.Reader, fn func(Event) error, options ...Option) (Stats, error) {
	return readInput(newInput(ctx, r, firstBuffer), name, fn, options...)
}

// readInput is Read on an input whose window may start at any size.
func readInput(in *input, name string, fn func(Event) error, options ...Option) (Stats, error) {
	d := &reader{in: in, fn: fn}
	for _, set := range options {
		set(d)
	}
	err := d.read()
	d.stats.Bytes = d.in.offset(d.in.end)
	if err == nil {
		return d.stats, nil
	}
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Offset: -1, Err: err}
	}
	return d.stats, &Error{Name: name, Item: d.item, Offset: e.Offset, Err: e.Err}
}
