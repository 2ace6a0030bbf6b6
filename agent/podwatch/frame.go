package podwatch

import (
	"bufio"
	"bytes"
	"io"

	"k8s.io/apimachinery/pkg/runtime"
)

// A lineFramer splits a watch into lines. The framer of Kubernetes parses the JSON to find the end of an event, which costs as
// much as decoding it; but an API server writes each event in one line.
type lineFramer struct {
	runtime.Framer // for writing
}

const (
	lineBuffer = 64 << 10 // holds several events, so that few reads suffice
	maxLine    = 16 << 20 // client-go's limit for an event
)

// NewFrameReader returns a reader of lines.
func (lineFramer) NewFrameReader(r io.ReadCloser) io.ReadCloser {
	l := &lines{Closer: r, from: bufio.NewScanner(r)}
	l.from.Buffer(make([]byte, lineBuffer), maxLine+1)
	l.from.Split(splitLine)
	return l
}

// splitLine is bufio.ScanLines, but keeps the line break: the last line has none if the connection was cut.
func splitLine(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if end := bytes.IndexByte(data, '\n'); end >= 0 {
		return end + 1, data[:end+1], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

type lines struct {
	io.Closer
	from *bufio.Scanner
	rest []byte // of the current line
}

// Read returns a line with its break, and skips empty lines. If the line is longer than p, Read returns a part of it and
// io.ErrShortBuffer.
func (l *lines) Read(p []byte) (int, error) {
	for len(l.rest) == 0 {
		if !l.from.Scan() {
			if err := l.from.Err(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		if line := l.from.Bytes(); len(line) > 1 || line[0] != '\n' {
			l.rest = line
		}
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	if len(l.rest) > 0 {
		return n, io.ErrShortBuffer
	}
	return n, nil
}
