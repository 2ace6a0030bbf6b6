package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zapcore"
)

// A stuckWriter takes a write when it is let.
type stuckWriter struct {
	output
	let chan struct{}
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.let
	return w.output.Write(p)
}

// TestLogNobodyTakes: a logger never waits. What fits in its queue comes out in order when the writer is let again, then
// how many lines did not, and then what is logged afterwards.
func TestLogNobodyTakes(t *testing.T) {
	w := &stuckWriter{let: make(chan struct{})}
	log, end := newLogger(w, zapcore.InfoLevel)
	const logged = 2 * maxWaitingLines
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range logged {
			log.Info(fmt.Sprint(i))
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the logger waits for its writer")
	}
	close(w.let)
	waitFor(t, "what tells that lines were lost", func() bool { return strings.Contains(w.String(), `"lines":`) })
	log.Info("afterwards")
	waitFor(t, "the last line", func() bool { return strings.Contains(w.String(), "afterwards") })
	end()
	log.Info("too late")

	var kept, lost int
	var last string
	for line := range strings.Lines(w.String()) {
		var entry struct {
			Msg   string
			Level string
			Lines int
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		last = entry.Msg
		switch {
		case entry.Lines > 0:
			lost += entry.Lines
			if entry.Level != "warn" {
				t.Errorf("the gap is told as %s", entry.Level)
			}
		case entry.Msg == fmt.Sprint(kept) && lost == 0:
			kept++
		case entry.Msg != "afterwards":
			t.Fatalf("%q after %d lines and a gap of %d", entry.Msg, kept, lost)
		}
	}
	if kept < maxWaitingLines || kept+lost != logged || lost == 0 {
		t.Errorf("%d lines logged, %d written, %d told as lost", logged, kept, lost)
	}
	if last != "afterwards" {
		t.Errorf("the last line is %q", last)
	}
}

// TestLogEnds: what was logged is written when the log ends; and a writer that takes nothing does not hold up the end.
func TestLogEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w output
		log, end := newLogger(&w, zapcore.InfoLevel)
		log.Info("last words")
		end()
		if !strings.Contains(w.String(), "last words") {
			t.Errorf("the log: %q", w.String())
		}

		stuck := &stuckWriter{let: make(chan struct{})}
		defer close(stuck.let)
		log, end = newLogger(stuck, zapcore.InfoLevel)
		log.Info("nobody hears it")
		began := time.Now()
		end()
		if took := time.Since(began); took != maxLastWords {
			t.Errorf("a log that nobody takes holds up the end for %s, want %s", took, maxLastWords)
		}
	})
}
