// Package dump reads recorded pods: what `kubectl get pods -o json` prints (a List, or one Pod), a PodList of the API,
// several of these in a row, JSON lines, and a recorded watch (`kubectl get pods -A -o json --watch
// --output-watch-events`; without the last flag nothing tells a pod that went from one that changed). The same in YAML, and
// manifests, of which it makes the pods that they stand for where it is asked to. All of it plain, or in gzip or zstd.
//
// It splits the stream into items without decoding them, and holds one item at a time, however long the recording is.
// Every item is checked to be valid JSON; a caller that checks the pods itself can leave that out (Unchecked), and then it
// reads some GB/s. YAML is turned into JSON item by item, a quarter of a megabyte at a time on all processors, which is some
// fifty times as slow. An error means that nothing of
// the input may be believed, the events before it included.
package dump

import (
	"context"
	"io"
	"sync/atomic"
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
	//
	// Of a manifest, it has its line breaks where the input has them: byte i is on line Line + the line breaks before i.
	JSON   []byte
	Item   int   // 1-based position among all objects of the input, of whatever kind
	Offset int64 // of the item's first byte, in the decompressed input; of a watch event, the event's first byte
	Line   int   // 1-based, of that byte; 0 unless Manifests is asked for
	// Watched is a pod of a watch event, which may well have come before.
	Watched bool
	// Listed is a pod that is an item of a list.
	Listed bool
	// Template is the pod template of a workload manifest (see Manifests).
	Template bool
	// Generated is a manifest whose name only begins like that (see Manifests): each that stands there is another object.
	Generated bool

	// Recorded is what a cluster printed: an item of a PodList, an item of a List that has a UID, an event of a watch. What
	// is not recorded is a manifest.
	Recorded bool
	// APIVersion is that of the object itself, such as "apps/v1" of a Deployment: objects of one kind and name in two API
	// groups are two objects.
	APIVersion string
	// Owners are the owners of a workload that has a template. Whether it counts beside an owner depends on what else the
	// input holds.
	Owners []Owner
	// Digest tells manifests apart: two are equal as JSON, whatever the order of their keys, when their digests are. Zero
	// for what is recorded. It is the same within one process only.
	Digest uint64

	made bool // JSON does not stand so in the input
}

// Owner is one owner reference of an object. Each text is empty where the reference does not have it.
type Owner struct{ APIVersion, Kind, Name, UID string }

// OffsetOf is the place in the input of a byte of JSON: of the item, where JSON was made of something else.
func (e *Event) OffsetOf(i int) int64 {
	if e.made || e.Watched {
		return e.Offset
	}
	return e.Offset + int64(i)
}

// Stats counts what an input held.
type Stats struct {
	Applied   int            // pods that exist
	Deleted   int            // pods that went
	Bookmarks int            // BOOKMARK events
	Others    map[string]int // objects of other kinds, which were left out; at most 257 kinds, the rest under "others"
	Bytes     int64          // size of the input, decompressed

	// First is the kind of the list with which the input begins: empty where it begins with something else.
	First string
	// Continues is the list in which the input ends: a part of one, whose next part must follow in the next input. It is
	// nil where the last list of the input is whole.
	Continues *Continuation
}

// Continuation is a part of a list that was read in parts: metadata.continue is not empty.
type Continuation struct {
	Kind      string
	Remaining int64 // items that follow, by metadata.remainingItemCount; -1: unknown
	Item      int   // of the first item behind the part
	Offset    int64 // of the list, in the decompressed input
	Line      int   // 1-based, of the list
}

// Option changes how a recording is read.
type Option func(*reader)

// Unchecked leaves it to the caller's function whether the JSON of an Apply is valid between its brackets. The function
// must then check every pod, also those that it has no interest in: a quote that is missing in one pod can swallow the pods
// behind it, and nothing else would tell.
func Unchecked(d *reader) { d.unchecked = true }

// Manifests makes the reader look for pod templates too, at spec.template and spec.jobTemplate.spec.template of objects
// of any kind: a template is then an event as though it were a pod, in the namespace of its workload, whose name is the
// kind and name of the workload, "Deployment/web". Its JSON has them too, and an owner of the kind that live pods of
// such a workload have. A workload that has owners is an event that names them. What has no name but a generateName has that
// for its name. Events have the line on which they stand.
func Manifests(d *reader) { d.manifests = true }

// InFolder says that the input was found in a folder, where all sorts of files lie: what has neither a kind nor anything
// else of Kubernetes, be it an object, a list or a whole file, is then left out as the other kinds are, under "no kind".
func InFolder(d *reader) { d.among = true }

// KeepGoing calls a function for an item that cannot be read, where the next one can be found beyond doubt, and goes on
// with that. What ends the reading all the same, such as an input that is truncated, is the error of Read.
func KeepGoing(leftOut func(*Error)) Option { return func(d *reader) { d.leftOut = leftOut } }

// DisplayName is what the input is called in errors, where that is not its path.
func DisplayName(name string) Option { return func(d *reader) { d.name = name } }

// Progress adds to a counter what is read of the input, before it is decompressed.
func Progress(bytes *atomic.Int64) Option { return func(d *reader) { d.progress = bytes } }

// Read reads one recording to its end and calls fn for each pod, in the order of the recording. The name stands in
// errors. An error of fn ends the reading and comes back wrapped, with the item's place.
//
// Every error is an *Error. An input without any pod is an error that wraps ErrNoPods. Read ends at the next
// read when ctx does; it cannot interrupt a read of r that blocks (ReadPath can).
func Read(ctx context.Context, name string, r io.Reader, fn func(Event) error, options ...Option) (Stats, error) {
	in := &input{ctx: ctx, r: r, buf: *windows.Get().(*[]byte), strings: make(map[string]string)}
	defer in.release()
	return readInput(in, name, fn, options...)
}

// readInput is Read on an input whose window may start at any size.
func readInput(in *input, name string, fn func(Event) error, options ...Option) (Stats, error) {
	d := &reader{name: name, in: in, fn: fn}
	for _, set := range options {
		set(d)
	}
	if d.progress != nil {
		in.r = &counting{in.r, d.progress}
	}
	err := d.read()
	d.stats.Bytes = d.in.read()
	if err == nil {
		return d.stats, nil
	}
	return d.stats, d.named(err)
}

// counting counts what is read of a reader.
type counting struct {
	r     io.Reader
	bytes *atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}
