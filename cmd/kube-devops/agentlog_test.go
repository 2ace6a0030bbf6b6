package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zapcore"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A stuckWriter blocks until let is closed.
type stuckWriter struct {
	output
	let chan struct{}
}

func (w *stuckWriter) Write(p []byte) (int, error) {
	<-w.let
	return w.output.Write(p)
}

// TestLogDoesNotWait: a logger does not wait for its writer. Lines that fit in the queue are written in order once the writer
// continues, then how many were lost, then what is logged afterwards.
func TestLogDoesNotWait(t *testing.T) {
	w := &stuckWriter{let: make(chan struct{})}
	log, end := newLogger(w, zapcore.InfoLevel)
	const logged = 2 * maxQueuedLines
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range logged {
			log.Info(fmt.Sprint(i))
		}
	}()
	select {
	case <-done:
	case <-time.After(testTimeout):
		t.Fatal("the logger waits for its writer")
	}
	close(w.let)
	waitFor(t, "the line with the number of lost lines", func() bool { return strings.Contains(w.String(), `"lines":`) })
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
				t.Errorf("the lost lines are logged as %s", entry.Level)
			}
		case entry.Msg == fmt.Sprint(kept+lost): // the report is where lines are missing
			kept++
		case entry.Msg != "afterwards":
			t.Fatalf("%q after %d lines and a gap of %d", entry.Msg, kept, lost)
		}
	}
	if kept < maxQueuedLines || kept+lost != logged || lost == 0 {
		t.Errorf("%d lines logged, %d written, %d reported as lost", logged, kept, lost)
	}
	if last != "afterwards" {
		t.Errorf("the last line is %q", last)
	}
}

// TestLogFlush: the end waits until all lines are written, but not for ever.
func TestLogFlush(t *testing.T) {
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
		log.Info("lost")
		began := time.Now()
		end()
		if took := time.Since(began); took != flushTimeout {
			t.Errorf("the end waits %s for a stuck writer, want %s", took, flushTimeout)
		}
	})
}

// A fullDisk has room for some bytes.
type fullDisk struct {
	output
	mu   sync.Mutex
	room int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(p), d.room)
	d.room -= n
	_, _ = d.output.Write(p[:n])
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (d *fullDisk) setRoom(bytes int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = bytes
}

// TestLogOnAFullDisk: lines that cannot be written are counted, in addition to those lost while the queue was full. Once there
// is room again, whole lines follow, and one with the number of lost lines.
func TestLogOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &fullDisk{room: 150} // one line, and a part of the next
		log, end := newLogger(disk, zapcore.InfoLevel)
		log.Info("before")
		const lost = 3
		for range lost {
			log.Info(strings.Repeat("x", 200))
			synctest.Wait()
		}
		for range 2 * maxQueuedLines { // more than the queue holds
			log.Info(strings.Repeat("y", 200))
		}
		synctest.Wait()
		disk.setRoom(1 << 20)
		log.Info("afterwards")
		synctest.Wait()
		log.Info("last")
		end()

		var whole []string
		count, torn := 0, 0
		for line := range strings.Lines(disk.String()) {
			var entry struct {
				Msg   string
				Lines int
			}
			if json.Unmarshal([]byte(line), &entry) != nil {
				torn++
				continue
			}
			count += entry.Lines
			if entry.Lines == 0 {
				whole = append(whole, entry.Msg)
			}
		}
		if want := lost + 2*maxQueuedLines; count != want {
			t.Errorf("the log says that %d lines were lost, want %d", count, want)
		}
		if got := strings.Join(whole, " "); got != "before afterwards last" || torn != 1 {
			t.Errorf("whole lines %q and %d in part, want %q and 1", got, torn, "before afterwards last")
		}
	})
}

// TestExecPluginWritesToTheLog: the stderr of an exec plugin of client-go goes to the log.
func TestExecPluginWritesToTheLog(t *testing.T) {
	var out output
	log, end := newLogger(&out, zapcore.InfoLevel)
	restore, err := captureStderr(log)
	if err != nil {
		t.Fatal(err)
	}
	defer restore()
	client, err := rest.HTTPClientFor(&rest.Config{Host: "https://127.0.0.1:1", ExecProvider: &clientcmdapi.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		Command: "sh", Args: []string{"-c", `echo "no session, log in first" >&2; i=0; while [ $i -lt 50 ]; do echo again >&2; i=$((i+1)); done; exit 1`},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if response, err := client.Get("https://127.0.0.1:1/"); err == nil {
		response.Body.Close()
		t.Error("a request without credentials is answered")
	}
	waitFor(t, "the lines of the plugin", func() bool { return strings.Count(out.String(), "exec plugin wrote to stderr") >= maxPluginBurst })
	end()
	if text := out.String(); !strings.Contains(text, `"line":"no session, log in first"`) || strings.Count(text, "\n") > maxPluginBurst+1 {
		t.Errorf("the log: %s", text)
	}
}
