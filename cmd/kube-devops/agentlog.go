package main

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

const (
	// maxWaitingLines is how many lines of the log wait for a stderr that takes none: some 2 MB.
	maxWaitingLines = 8192
	// maxLastWords is how long an agent that ends waits for its last lines to be taken.
	maxLastWords = time.Second
)

// newLogger makes the one logger: JSON, a line for each entry. It never waits for w: a pipe that nobody reads, as of a
// container runtime in trouble, must hold up neither pods nor the Lease. The function that comes with it waits until w
// has taken what was logged, but not for long, and ends the log.
func newLogger(w io.Writer, level zapcore.Level) (*zap.Logger, func()) {
	config := zap.NewProductionEncoderConfig()
	config.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	config.EncodeDuration = zapcore.SecondsDurationEncoder
	onto := func(sink zapcore.WriteSyncer) *zap.Logger {
		return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(config), sink, level))
	}
	direct := onto(zapcore.AddSync(w))
	lines := newLineQueue(w, maxWaitingLines, func(lost int) {
		direct.Warn("lines of the log were lost, since stderr took none", zap.Int("lines", lost))
	})
	return onto(lines), func() { lines.close(maxLastWords) }
}

// A lineQueue hands lines to a writer in their order. When it is full it loses what comes until it is empty again, so that
// there is one gap, and one place to tell of it.
type lineQueue struct {
	waiting chan []byte
	written chan struct{} // closed when the last line of a closed queue is written

	mu     sync.Mutex
	lost   int // since it was told last
	closed bool
}

// newLineQueue starts to write to w. Where lines were lost it calls tell, which may write to w.
func newLineQueue(w io.Writer, length int, tell func(lost int)) *lineQueue {
	q := &lineQueue{waiting: make(chan []byte, length), written: make(chan struct{})}
	go func() {
		defer close(q.written)
		for line := range q.waiting {
			_, _ = w.Write(line) // nobody could be told
			if lost := q.takeLost(); lost > 0 {
				tell(lost)
			}
		}
	}()
	return q
}

// takeLost ends a gap, if there is one and all lines before it are written, and returns how many lines it has.
func (q *lineQueue) takeLost() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 {
		return 0
	}
	lost := q.lost
	q.lost = 0
	return lost
}

// Write takes one line. It never fails.
func (q *lineQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
	case q.lost > 0 || len(q.waiting) == cap(q.waiting):
		q.lost++
	default:
		q.waiting <- bytes.Clone(line) // the logger uses its buffer again
	}
	return len(line), nil
}

// Sync does nothing: who waits for the log is held up by it.
func (q *lineQueue) Sync() error { return nil }

// close ends the queue, and waits until all is written, but no longer than that.
func (q *lineQueue) close(patience time.Duration) {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.waiting)
	}
	q.mu.Unlock()
	select {
	case <-q.written:
	case <-time.After(patience):
	}
}

var bridged sync.Once

// bridgeLogs makes client-go log as the agent does. Its log is global to the process, and may not be changed once it is
// in use: so the first agent of a process has it.
func bridgeLogs(log *zap.Logger) {
	bridged.Do(func() {
		klog.SetLoggerWithOptions(zapr.NewLogger(log.Named("client-go")), klog.ContextualLogger(true))
	})
}
