package dump

import (
	"context"
	"io"
	"sync/atomic"
)

// Op is what happened to a pod.
type Op uint8

const (
	// Apply is a pod that exists: an item of a list, or an ADDED or MODIFIED event.
	Apply Op = iota
	// Delete is a pod that was deleted: a DELETED event, with the last state of the pod.
	Delete
)

// String returns "apply" or "delete".
func (o Op) String() string {
	if o == Delete {
		return "delete"
	}
	return "apply"
}

// Event is one pod of a recording, or one pod template of a manifest.
type Event struct {
	Op        Op
	Namespace string // "default" if the pod has none
	Name      string // never empty
	UID       string // empty if the pod has none
	// JSON is the pod: one object of at most 4 MiB and 200 levels, of valid JSON and UTF-8 (but see Unchecked). Keys that this
	// package does not read may occur twice. It is valid during the call only.
	//
	// The JSON of a manifest has the line breaks of the input: byte i is on line Line + the line breaks before i.
	JSON     []byte
	Item     int   // 1-based position among all objects of the input, of any kind
	Offset   int64 // of the first byte of the item or watch event, in the decompressed input
	Line     int   // 1-based, of that byte; 0 without Manifests
	Watched  bool  // from a watch event: the pod may have come before
	Listed   bool  // an item of a list
	Template bool  // the pod template of a workload manifest (see Manifests)
	// Generated is a manifest with a generateName instead of a name: each one is another object.
	Generated bool
	// Recorded is what a cluster printed: an item of a PodList, an item of a List that has a UID, or a watch event. Everything
	// else is a manifest.
	Recorded   bool
	APIVersion string  // of the object itself, such as "apps/v1" of a Deployment
	Owners     []Owner // of a workload with a template
	// Digest is equal for manifests that are equal as JSON, whatever the order of their keys. It is zero for what is recorded,
	// and differs between processes.
	Digest uint64

	// MisplacedWaiver is the 1-based line of the annotation rules.WaiveAnnotation of a workload whose pod template does not have it;
	// 0 if there is none.
	MisplacedWaiver int

	made bool // JSON is not a part of the input
}

// Owner is one owner reference of an object. Missing fields are empty.
type Owner struct{ APIVersion, Kind, Name, UID string }

// OffsetOf returns the offset in the input of a byte of JSON, or that of the item if JSON is not a part of the input.
func (e *Event) OffsetOf(i int) int64 {
	if e.made || e.Watched {
		return e.Offset
	}
	return e.Offset + int64(i)
}

// Stats counts the contents of an input.
type Stats struct {
	Applied   int            // pods that exist
	Deleted   int            // pods that were deleted
	Bookmarks int            // BOOKMARK events
	Others    map[string]int // objects of other kinds; at most 257 kinds, the rest under "others"
	Bytes     int64          // decompressed size of the input

	// First is the kind of the list with which the input begins, or empty.
	First string
	// Continues is the incomplete list at the end of the input, which the next input must continue. It is nil if the last list
	// is complete.
	Continues *Continuation
}

// Continuation is one page of a list: its metadata.continue is not empty.
type Continuation struct {
	Kind      string
	Remaining int64 // items that follow, from metadata.remainingItemCount; -1: unknown
	Item      int   // of the first item after the page
	Offset    int64 // of the list, in the decompressed input
}

// Option changes how a recording is read.
type Option func(*reader)

// Unchecked leaves it to the caller's function to check the JSON of an Apply. The function must check every pod, even one that it
// ignores: a missing quote can hide the pods that follow.
func Unchecked(d *reader) { d.unchecked = true }

// Manifests also reads pod templates, at spec.template and spec.jobTemplate.spec.template of objects of any kind. A template is
// an event like a pod, in the namespace of its workload and with the name "Deployment/web". Its JSON has this name too, and the
// owner that live pods of such a workload have. A manifest may have a generateName instead of a name. Events have a Line.
func Manifests(d *reader) { d.manifests = true }

// InFolder says that the input was found in a folder, among unrelated files: objects, lists and whole files that are not of
// Kubernetes are counted under the kind "no kind" instead of being an error.
func InFolder(d *reader) { d.inFolder = true }

// KeepGoing skips items that cannot be read, and calls a function for each, as long as the next item can be found with certainty.
// Other errors, such as that of a truncated input, still end the reading.
func KeepGoing(leftOut func(*Error)) Option { return func(d *reader) { d.leftOut = leftOut } }

// DisplayName is the name of the input in errors, if not its path.
func DisplayName(name string) Option { return func(d *reader) { d.name = name } }

// Progress adds the bytes that are read, before decompression, to a counter.
func Progress(bytes *atomic.Int64) Option { return func(d *reader) { d.progress = bytes } }

// Read reads one recording to its end and calls fn for each pod, in the order of the recording. The name is for errors. An error
// of fn ends the reading and is returned wrapped, with the place of the item.
//
// Every error is an *Error. An input without pods is an error that wraps ErrNoPods. Read stops at the next read after ctx ends; it
// cannot interrupt a read of r that blocks (ReadPath can).
func Read(ctx context.Context, name string, r io.Reader, fn func(Event) error, options ...Option) (Stats, error) {
	in := &input{ctx: ctx, r: r, buf: *windows.Get().(*[]byte), strings: make(map[string]string)}
	defer in.release()
	return readInput(in, name, fn, options...)
}

// readInput is Read with a window of any size.
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

// counting counts the bytes that are read.
type counting struct {
	r     io.Reader
	bytes *atomic.Int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}
