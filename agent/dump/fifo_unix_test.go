//go:build unix

package dump

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestCancelWhileAPipeBlocks(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := os.OpenFile(path, os.O_RDWR, 0) // for both ends, so that opening does not block
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, pod("a")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	called := make(chan struct{})
	go func() {
		<-called
		cancel()
	}()
	_, err = ReadPath(ctx, path, nil, func(Event) error { close(called); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// A pipe is not opened early: its writer would lose its reader.
func TestCheckPathLeavesAPipeAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CheckPath(path); err != nil {
		t.Errorf("got %v", err)
	}
}

// TestCancelEndsBlockedOpen: opening a pipe without a writer ends with the context.
func TestCancelEndsBlockedOpen(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ReadPath(ctx, pipe, nil, func(Event) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // ends the goroutine that still opens
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
}
