package dump

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
)

const (
	// maxItem is the largest item in bytes. etcd takes no request above 1.5 MiB, and indentation seldom doubles a pod.
	maxItem = 4 << 20
	// firstBuffer is the size of the window before an item makes it grow: small enough for a core's own cache.
	firstBuffer = 256 << 10
)

// input is a window over the bytes of a recording, from which it reads JSON (json.go). The window slides, and grows only
// where one item does not fit, to maxItem and one byte: what it holds never depends on the length of the recording.
type input struct {
	ctx  context.Context //nolint:containedctx // an io.Reader takes no context
	r    io.Reader
	err  error  // what r ended with; io.EOF is its end
	base int64  // offset of buf[0] in the recording
	buf  []byte // buf[keep:end] was read and is still wanted
	keep int    // where the item starts that is being read
	pos  int    // the next byte
	end  int

	convert *yamlReader // makes the JSON of YAML; nil where the input is JSON
	lines   int         // line breaks before buf[counted]
	counted int

	depth   int               // how many objects of the item are open
	key     []byte            // the key that object calls its function with
	strings map[string]string // short strings that come again and again: namespaces, kinds
}

func newInput(ctx context.Context, r io.Reader, buffer int) *input {
	return &input{ctx: ctx, r: r, buf: make([]byte, buffer), strings: make(map[string]string)}
}

// windows are used again: of small files, there are many.
var windows = sync.Pool{New: func() any {
	window := make([]byte, firstBuffer)
	return &window
}}

// release gives up what the input holds, for the next one. Nothing of it may be used any more.
func (in *input) release() {
	if window := in.buf; len(window) == firstBuffer {
		windows.Put(&window)
	}
	if in.convert != nil {
		in.convert.release()
	}
	*in = input{}
}

// read is how many bytes were read.
func (in *input) read() int64 {
	if in.convert != nil {
		return in.convert.next.offset
	}
	return in.offset(in.end)
}

// reset makes the input one over another reader, from its start. The window stays.
func (in *input) reset(r io.Reader) {
	clear(in.strings)
	*in = input{ctx: in.ctx, r: r, buf: in.buf, key: in.key, strings: in.strings}
}

// offset is the place in the recording of an index of the window.
func (in *input) offset(i int) int64 { return in.base + int64(i) }

// more reads further bytes, at least one. Indexes of the window move: only their distance to keep stays. It returns
// io.EOF at the end of the recording, else an *Error.
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
	var placed *Error // a fault of YAML
	switch {
	case errors.Is(in.err, io.EOF):
		return io.EOF
	case in.ctx.Err() != nil: // the input was closed to end a Read that blocked
		return &Error{Offset: -1, Err: context.Cause(in.ctx)}
	case errors.As(in.err, &placed):
		return placed
	case in.err != nil:
		return &Error{Offset: in.offset(in.end), Err: in.err}
	}
	return &Error{Offset: in.offset(in.end), Err: io.ErrNoProgress}
}

// countLines counts the line breaks before the item that is being read.
func (in *input) countLines() {
	in.lines += bytes.Count(in.buf[in.counted:in.keep], []byte{'\n'})
	in.counted = in.keep
}

// line is the line on which the item starts that is being read.
func (in *input) line() int {
	if in.convert != nil {
		return in.convert.positionOf(in.offset(in.keep)).line
	}
	in.countLines()
	return in.lines + 1
}

// place is the offset in the input of an offset in the JSON, where that was made of YAML.
func (in *input) inputOffset(offset int64) int64 {
	if in.convert == nil || offset < 0 {
		return offset
	}
	return in.convert.positionOf(offset).offset
}

// slide moves what is still wanted to the front of the window.
func (in *input) slide() {
	in.countLines()
	in.counted = 0
	copy(in.buf, in.buf[in.keep:in.end])
	in.base += int64(in.keep)
	in.pos -= in.keep
	in.end -= in.keep
	in.keep = 0
}

// need is more where the JSON cannot end yet.
func (in *input) need() error {
	err := in.more()
	if errors.Is(err, io.EOF) {
		return &Error{Offset: in.offset(in.end), Err: errTruncated}
	}
	return err
}

// take passes over one byte.
func (in *input) take() {
	if in.keep == in.pos { // a byte between two items belongs to none, and is not kept
		in.keep++
	}
	in.pos++
}

// next passes over whitespace and returns the byte behind it, which it does not take. At the end of the recording it
// returns io.EOF.
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

// nextDocument passes over whitespace as next does, but keeps the beginning of the line on which it stops: a column means
// something in YAML, and so does a tab before it. What follows a document, on its last line, means nothing.
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
		if in.pos-in.keep > longest { // no writer indents that deep
			in.keep = in.pos
		}
		if err := in.more(); err != nil {
			return 0, err
		}
	}
}

// inside is next where the JSON cannot end yet.
func (in *input) inside() (byte, error) {
	c, err := in.next()
	if errors.Is(err, io.EOF) {
		return 0, &Error{Offset: in.offset(in.end), Err: errTruncated}
	}
	return c, err
}
