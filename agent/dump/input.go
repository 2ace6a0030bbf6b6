package dump

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
)

const (
	// maxItem is the largest item in bytes. etcd accepts requests up to 1.5 MiB, and indentation rarely doubles a pod.
	maxItem = 4 << 20
	// firstBuffer is the size of the window until an item makes it grow. It fits the cache of a core.
	firstBuffer = 256 << 10
)

// input is a sliding window over the bytes of a recording, from which JSON is read (json.go). The window grows only for an item
// that does not fit, to maxItem+1 bytes: its size does not depend on the length of the recording.
type input struct {
	ctx  context.Context //nolint:containedctx // an io.Reader takes no context
	r    io.Reader
	err  error  // what r ended with
	base int64  // offset of buf[0] in the recording
	buf  []byte // buf[keep:end] was read and is still needed
	keep int    // the start of the current item
	pos  int    // the next byte
	end  int

	convert *yamlReader // converts YAML; nil if the input is JSON
	lines   int         // line breaks before buf[counted]
	counted int

	depth   int               // open objects of the item
	key     []byte            // the key that object passes to its function
	strings map[string]string // short strings that repeat: namespaces, kinds
}

func newInput(ctx context.Context, r io.Reader, buffer int) *input {
	return &input{ctx: ctx, r: r, buf: make([]byte, buffer), strings: make(map[string]string)}
}

// windows are reused: a scan may read thousands of small files.
var windows = sync.Pool{New: func() any {
	window := make([]byte, firstBuffer)
	return &window
}}

// release returns the memory of the input to the pools. Nothing of it may be used afterwards.
func (in *input) release() {
	if window := in.buf; len(window) == firstBuffer {
		windows.Put(&window)
	}
	if in.convert != nil {
		in.convert.release()
	}
	*in = input{}
}

// read returns how many bytes were read.
func (in *input) read() int64 {
	if in.convert != nil {
		return in.convert.next.offset
	}
	return in.offset(in.end)
}

// reset starts over with another reader. The window stays.
func (in *input) reset(r io.Reader) {
	clear(in.strings)
	*in = input{ctx: in.ctx, r: r, buf: in.buf, key: in.key, strings: in.strings}
}

// offset returns the offset in the recording of an index of the window.
func (in *input) offset(i int) int64 { return in.base + int64(i) }

// more reads at least one byte. Indexes of the window move, but keep their distance to in.keep. It returns io.EOF at the end of
// the recording, or an *Error.
func (in *input) more() error {
	if in.keep == in.end {
		in.slide()
	}
	if in.end == len(in.buf) {
		in.slide()
	}
	if in.end == len(in.buf) {
		if len(in.buf) > maxItem {
			return &Error{Offset: in.offset(in.keep), Err: errTooLarge}
		}
		buf := make([]byte, min(2*len(in.buf), maxItem+1))
		copy(buf, in.buf)
		in.buf = buf
	}
	for range 100 {
		if in.err != nil {
			break
		}
		if err := context.Cause(in.ctx); err != nil {
			return &Error{Offset: -1, Err: err}
		}
		var n int
		n, in.err = in.r.Read(in.buf[in.end:])
		if in.end += n; n > 0 {
			return nil
		}
	}
	var placed *Error // in YAML
	switch {
	case errors.Is(in.err, io.EOF):
		return io.EOF
	case in.ctx.Err() != nil: // the file was closed to interrupt a blocked Read
		return &Error{Offset: -1, Err: context.Cause(in.ctx)}
	case errors.As(in.err, &placed):
		return placed
	case in.err != nil:
		return &Error{Offset: in.offset(in.end), Err: in.err}
	}
	return &Error{Offset: in.offset(in.end), Err: io.ErrNoProgress}
}

// countLines counts the line breaks before the current item.
func (in *input) countLines() {
	in.lines += bytes.Count(in.buf[in.counted:in.keep], []byte{'\n'})
	in.counted = in.keep
}

// line returns the line on which the current item starts.
func (in *input) line() int {
	if in.convert != nil {
		return in.convert.positionOf(in.offset(in.keep)).line
	}
	in.countLines()
	return in.lines + 1
}

// inputOffset returns the offset in the YAML of an offset in the JSON made from it.
func (in *input) inputOffset(offset int64) int64 {
	if in.convert == nil || offset < 0 {
		return offset
	}
	return in.convert.positionOf(offset).offset
}

// slide moves what is still needed to the front of the window.
func (in *input) slide() {
	in.countLines()
	in.counted = 0
	copy(in.buf, in.buf[in.keep:in.end])
	in.base += int64(in.keep)
	in.pos -= in.keep
	in.end -= in.keep
	in.keep = 0
}

// need is more inside a JSON value, where the end is an error.
func (in *input) need() error {
	err := in.more()
	if errors.Is(err, io.EOF) {
		return &Error{Offset: in.offset(in.end), Err: errTruncated}
	}
	return err
}

// take skips one byte.
func (in *input) take() {
	if in.keep == in.pos { // between two items: it is not kept
		in.keep++
	}
	in.pos++
}

// next skips whitespace and returns the byte after it, without taking it. It returns io.EOF at the end of the recording.
func (in *input) next() (byte, error) {
	free := in.keep == in.pos // as in take
	for {
		for ; in.pos < in.end; in.pos++ {
			switch c := in.buf[in.pos]; c {
			case ' ', '\n', '\r', '\t':
			default:
				if free {
					in.keep = in.pos
				}
				return c, nil
			}
		}
		if free {
			in.keep = in.pos
		}
		if err := in.more(); err != nil {
			return 0, err
		}
	}
}

// nextDocument is next, but keeps the beginning of the line on which it stops: in YAML, columns and tabs matter. After a document
// (behind), the rest of its last line does not.
func (in *input) nextDocument(behind bool) (byte, error) {
	const longest = 64 << 10
	in.keep = in.pos
	tab := false
	for {
		for ; in.pos < in.end; in.pos++ {
			switch c := in.buf[in.pos]; c {
			case '\n':
				if !tab || behind {
					in.keep, tab, behind = in.pos+1, false, false
				}
			case '\t':
				tab = true
			case ' ', '\r':
			default:
				return c, nil
			}
		}
		if in.pos-in.keep > longest { // nothing is indented that deep
			in.keep = in.pos
		}
		if err := in.more(); err != nil {
			return 0, err
		}
	}
}

// inside is next inside a JSON value, where the end is an error.
func (in *input) inside() (byte, error) {
	c, err := in.next()
	if errors.Is(err, io.EOF) {
		return 0, &Error{Offset: in.offset(in.end), Err: errTruncated}
	}
	return c, err
}
