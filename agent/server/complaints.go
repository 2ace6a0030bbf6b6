package server

import (
	"bytes"
	"sync"
	"time"

	"go.uber.org/zap"
)

// complaintPeriod is the time between two lines of the log about connections. Whoever can reach the port can cause them,
// a hundred times a second.
const complaintPeriod = time.Second

// complaints writes what net/http logs, one line a period.
type complaints struct {
	log *zap.Logger

	mu      sync.Mutex
	last    time.Time
	leftOut int
}

func newComplaints(log *zap.Logger) *complaints { return &complaints{log: log} }

// Write logs one line, or counts it.
func (c *complaints) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !c.last.IsZero() && now.Sub(c.last) < complaintPeriod {
		c.leftOut++
		return len(line), nil
	}
	var fields []zap.Field
	if c.leftOut > 0 {
		fields = append(fields, zap.Int("left_out", c.leftOut))
	}
	c.log.Warn(string(bytes.TrimSpace(line)), fields...)
	c.last, c.leftOut = now, 0
	return len(line), nil
}
