package server

import (
	"bytes"
	"log"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"
)

// errorLogPeriod is the minimum time between two log lines about connections. Any client that reaches the port can cause a
// hundred a second.
const errorLogPeriod = time.Second

// An errorLog writes at most one of the lines of net/http per period. The sampler of zap does not serve for that: it counts
// each message by itself, and those of net/http differ in the client's port.
type errorLog struct {
	log     *zap.Logger
	limit   rate.Sometimes
	dropped int
}

func newErrorLog(logger *zap.Logger) *log.Logger {
	return log.New(&errorLog{log: logger, limit: rate.Sometimes{Interval: errorLogPeriod}}, "", 0)
}

// Write logs or counts one line. The log.Logger above serializes the calls.
func (e *errorLog) Write(line []byte) (int, error) {
	logged := false
	e.limit.Do(func() {
		leftOut := zap.Skip()
		if e.dropped > 0 {
			leftOut = zap.Int("left_out", e.dropped)
		}
		e.log.Warn(string(bytes.TrimSpace(line)), leftOut)
		e.dropped, logged = 0, true
	})
	if !logged {
		e.dropped++
	}
	return len(line), nil
}
