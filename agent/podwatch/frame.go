package podwatch

import (
	"bufio"
	"bytes"
	"io"

	"k8s.io/apimachinery/pkg/runtime"
)

// A lineFramer cuts a watch into its lines. The framer of Kubernetes parses the JSON to find where it ends; but a JSON
// text of one line has no line break in it, and an API server writes each event in one line.
type lineFramer struct {
	runtime.Framer // writes
}

// NewFrameReader reads a line at a time.
func (lineFramer) NewFrameReader(r io.ReadCloser) io.ReadCloser {
	return &lines{from: bufio.NewReaderSize(r, lineBuffer), close: r}
}

// lineBuffer holds several events, so that few reads bring many.
const lineBuffer = 64 << 10

type lines struct {
	from   *bufio.Reader
	close  io.Closer
	within bool // a part of the present line has been given out
}

// Read gives out a line with its break. Where the line is longer than p it gives out a part, with io.ErrShortBuffer; how
// long a line may be is for the caller to say. Empty lines are left out. A last line without a break is a line too: who
// parses it sees whether it was cut off.
func (l *lines) Read(p []byte) (n int, err error) {
	for {
		if _, err := l.from.Peek(1); err != nil {
			if l.within && err == io.EOF {
				l.within = false
				return n, nil
			}
			return n, err
		}
		text, _ := l.from.Peek(l.from.Buffered())
		end := bytes.IndexByte(text, '\n')
		if end == 0 && !l.within {
			_, _ = l.from.Discard(1) // it is buffered, as is all that is discarded here
			continue
		}
		if end >= 0 {
			text = text[:end+1]
		}
		l.within = true
		copied := copy(p[n:], text)
		n += copied
		_, _ = l.from.Discard(copied)
		if copied < len(text) || end < 0 && n == len(p) {
			return n, io.ErrShortBuffer
		}
		if end >= 0 {
			l.within = false
			return n, nil
		}
	}
}

// Close ends the watch.
func (l *lines) Close() error { return l.close.Close() }
