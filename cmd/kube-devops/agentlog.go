package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"
	"k8s.io/klog/v2"
)

const (
	// maxQueuedLines limits the lines of the log that wait for stderr, to about 2 MB.
	maxQueuedLines = 8192
	// flushTimeout limits how long the agent waits at its end for stderr to take the last lines.
	flushTimeout = time.Second
)

// newLogger makes a logger that writes JSON lines and never waits for w: a pipe without a reader, for example because the
// container runtime hangs, must not delay pods or the Lease. flush waits until all lines are written, up to flushTimeout, and
// ends the log.
func newLogger(w io.Writer, level zapcore.Level) (log *zap.Logger, flush func()) {
	config := zap.NewProductionEncoderConfig()
	config.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	config.EncodeDuration = zapcore.SecondsDurationEncoder
	encoder := zapcore.NewJSONEncoder(config)
	queue := newLineQueue(w, func(lost int64) []byte {
		entry := zapcore.Entry{Level: zapcore.WarnLevel, Time: time.Now(), Message: "lines of the log were lost, since stderr took none"}
		line, err := encoder.EncodeEntry(entry, []zapcore.Field{zap.Int64("lines", lost)})
		if err != nil {
			return nil // a constant message can be encoded
		}
		defer line.Free()
		return bytes.Clone(line.Bytes())
	})
	return zap.New(zapcore.NewCore(encoder, queue, level)), queue.close
}

// A lineQueue passes lines to a writer in a goroutine of its own. It drops lines while it is full, or while the writer fails,
// as on a full disk. It writes how many were lost at the place where they are missing.
type lineQueue struct {
	lines   chan queuedLine
	lost    atomic.Int64 // lines, since the last one that was queued
	ending  chan struct{}
	written chan struct{} // closed once all lines of a closed queue are written
}

type queuedLine struct {
	text []byte
	lost int64 // lines, between the one before and this one
}

func newLineQueue(w io.Writer, lostLine func(lost int64) []byte) *lineQueue {
	q := &lineQueue{lines: make(chan queuedLine, maxQueuedLines), ending: make(chan struct{}), written: make(chan struct{})}
	to := &lineWriter{to: w}
	report := func(lost int64) bool {
		if lost == 0 || to.write(lostLine(lost)) {
			return true
		}
		q.lost.Add(lost)
		return false
	}
	write := func(line queuedLine) {
		if !report(line.lost) || !to.write(line.text) {
			q.lost.Add(1)
		} else if len(q.lines) == 0 {
			report(q.lost.Swap(0))
		}
	}
	go func() {
		defer close(q.written)
		for {
			select {
			case line := <-q.lines:
				write(line)
				continue
			case <-q.ending:
			}
			for len(q.lines) > 0 {
				write(<-q.lines)
			}
			report(q.lost.Swap(0))
			return
		}
	}()
	return q
}

// Write queues one line. It never fails and never waits.
func (q *lineQueue) Write(line []byte) (int, error) {
	select {
	case <-q.ending:
		return len(line), nil
	default:
	}
	lost := q.lost.Swap(0)
	select {
	case q.lines <- queuedLine{bytes.Clone(line), lost}: // the logger reuses its buffer
	default:
		q.lost.Add(lost + 1)
	}
	return len(line), nil
}

// Sync does nothing, because a caller must not wait for the writer.
func (q *lineQueue) Sync() error { return nil }

// close waits until all lines are written, up to flushTimeout.
func (q *lineQueue) close() {
	close(q.ending)
	select {
	case <-q.written:
	case <-time.After(flushTimeout):
	}
}

// A lineWriter writes whole lines.
type lineWriter struct {
	to   io.Writer
	torn bool // only a part of the last line was written
}

// write reports whether the line was written. It ends a torn line first, so that the next one is readable.
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

// captureStderr logs each line that is written to os.Stderr, until restore is called: client-go passes its os.Stderr to exec
// plugins. A panic of Go still goes to the real stderr. It must be called before clients are made.
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
		_ = reader.Close() // only read
	}()
	return func() {
		os.Stderr = stderr
		// The writer stays open, because a pending request may still pass it to a plugin.
		if reader.SetReadDeadline(time.Now().Add(50*time.Millisecond)) == nil {
			<-read
		}
	}, nil
}

const (
	// maxPluginLine limits the logged bytes of a line of a plugin.
	maxPluginLine = 4096
	// maxPluginBurst is how many lines of a plugin are logged at once; after them, one line per second.
	maxPluginBurst = 5
)

// logLines logs the lines of a plugin. It reads all of them, so that the plugin does not block, and logs how many it omitted.
func logLines(from io.Reader, log *zap.Logger) {
	limit, omitted := rate.NewLimiter(1, maxPluginBurst), 0
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
			omitted++
		default:
			fields := []zap.Field{zap.String("line", text)}
			if omitted > 0 {
				fields = append(fields, zap.Int("left_out", omitted))
			}
			log.Warn("exec plugin wrote to stderr", fields...)
			omitted = 0
		}
		if err != nil {
			return
		}
	}
}

var bridged sync.Once

// bridgeLogs makes client-go log to the logger of the first agent of the process. The logger of klog is global and must not
// change once it is in use.
func bridgeLogs(log *zap.Logger) {
	bridged.Do(func() {
		klog.SetLoggerWithOptions(zapr.NewLogger(log.Named("client-go")), klog.ContextualLogger(true))
	})
}
