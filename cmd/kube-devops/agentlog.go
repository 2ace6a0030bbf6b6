package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"
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
	encoder := zapcore.NewJSONEncoder(config)
	lines := newLineQueue(w, maxWaitingLines, func(lost int) ([]byte, error) {
		entry := zapcore.Entry{Level: zapcore.WarnLevel, Time: time.Now(), Message: "lines of the log were lost, since stderr took none"}
		line, err := encoder.EncodeEntry(entry, []zapcore.Field{zap.Int("lines", lost)})
		if err != nil {
			return nil, err
		}
		defer line.Free()
		return bytes.Clone(line.Bytes()), nil
	})
	return zap.New(zapcore.NewCore(encoder, lines, level)), func() { lines.close(maxLastWords) }
}

// A lineQueue hands lines to a writer in their order. When it is full it loses what comes until it is empty again, so that
// there is one gap. It counts these lines, and those that the writer refuses, as on a full disk, and writes how many there
// were as soon as the writer takes a line.
type lineQueue struct {
	waiting chan []byte
	written chan struct{} // closed when the last line of a closed queue is written

	mu     sync.Mutex
	lost   int  // since it was reported last
	gap    bool // the queue was full, and lines are lost until it is empty
	closed bool
}

// newLineQueue starts to write to w. Report makes the line that says how many lines were lost.
func newLineQueue(w io.Writer, length int, report func(lost int) ([]byte, error)) *lineQueue {
	q := &lineQueue{waiting: make(chan []byte, length), written: make(chan struct{})}
	to := &lineWriter{to: w}
	go func() {
		defer close(q.written)
		for line := range q.waiting {
			if !to.write(line) {
				q.lose(1)
				continue
			}
			q.report(to, report)
		}
		q.report(to, report)
	}()
	return q
}

// report writes how many lines were lost, where a gap has ended.
func (q *lineQueue) report(to *lineWriter, report func(lost int) ([]byte, error)) {
	lost := q.takeLost()
	if lost == 0 {
		return
	}
	if line, err := report(lost); err != nil || !to.write(line) {
		q.lose(lost)
	}
}

func (q *lineQueue) lose(lines int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost += lines
	if len(q.waiting) == 0 {
		q.gap = false
	}
}

// A lineWriter writes whole lines.
type lineWriter struct {
	to   io.Writer
	torn bool // the last line was written in part
}

// write reports whether a line was written. After a part of a line it begins a new one, so that what follows can be read.
func (w *lineWriter) write(line []byte) bool {
	if w.torn {
		if n, _ := w.to.Write([]byte("\n")); n == 0 {
			return false
		}
		w.torn = false
	}
	n, err := w.to.Write(line)
	w.torn = n > 0 && n < len(line)
	return err == nil && n == len(line)
}

// takeLost ends a gap, if there is one and all lines before it are written, and returns how many lines it has.
func (q *lineQueue) takeLost() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 {
		return 0
	}
	lost := q.lost
	q.lost, q.gap = 0, false
	return lost
}

// Write takes one line. It never fails.
func (q *lineQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
	case q.gap || len(q.waiting) == cap(q.waiting):
		q.lost++
		q.gap = true
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

// captureStderr makes each line that others write to os.Stderr a line of the log, until the returned func is called:
// client-go gives its own stderr to exec plugins. What Go itself writes when the process dies still goes to the real one.
// It must be called before clients are made, and by the process that owns os.Stderr alone.
func captureStderr(log *zap.Logger) (restore func(), err error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for the stderr of exec plugins: %w", err)
	}
	stderr := os.Stderr
	os.Stderr = writer
	read := make(chan struct{})
	go func() {
		defer close(read)
		logLines(reader, log)
		_ = reader.Close() // it was only read
	}()
	return func() {
		os.Stderr = stderr
		// The writer stays open: a request that was left behind may still give it to a plugin. It ends with the process.
		if reader.SetReadDeadline(time.Now().Add(lastLines)) == nil {
			<-read
		}
	}, nil
}

// lastLines is how long the last lines of plugins are waited for.
const lastLines = 50 * time.Millisecond

// maxPluginLine is how much of a line of a plugin is logged. Of many lines, pluginLines and then one a second are logged.
const (
	maxPluginLine = 4096
	pluginLines   = 5
)

// logLines logs each line of a plugin. It reads all of them, so that no plugin waits, and says how many it left out.
func logLines(from io.Reader, log *zap.Logger) {
	limit, leftOut := rate.NewLimiter(1, pluginLines), 0
	lines := bufio.NewReaderSize(from, maxPluginLine)
	for {
		line, more, err := lines.ReadLine()
		text := string(bytes.TrimSpace(line))
		for more && err == nil {
			_, more, err = lines.ReadLine()
		}
		switch {
		case text == "":
		case !limit.Allow():
			leftOut++
		case leftOut > 0:
			log.Warn("exec plugin wrote to stderr", zap.String("line", text), zap.Int("left_out", leftOut))
			leftOut = 0
		default:
			log.Warn("exec plugin wrote to stderr", zap.String("line", text))
		}
		if err != nil {
			return
		}
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
