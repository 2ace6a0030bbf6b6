package dump

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestReadPath(t *testing.T) {
	a := pod("a")
	dir := t.TempDir()
	t.Chdir(dir)
	for name, content := range map[string]string{"a.json": a, "gzip.json": packed(t, a), "empty.json": "", "short.json": a[:30]} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name, path string
		stdin      io.Reader
		want       []seen
		err        string
		early      bool // the error shows before the input is read
	}{
		{name: "a file", path: "a.json", want: []seen{applied(1, 0, "a", a)}},
		{name: "gzip, whatever its name", path: "gzip.json", want: []seen{applied(1, 0, "a", a)}},
		{name: "stdin", path: "-", stdin: strings.NewReader(a), want: []seen{applied(1, 0, "a", a)}},
		{name: "stdin in pieces", path: "-", stdin: &portions{s: a, size: 3}, want: []seen{applied(1, 0, "a", a)}},
		{name: "stdin with EOF at once", path: "-", stdin: iotest.DataErrReader(strings.NewReader(a)), want: []seen{applied(1, 0, "a", a)}},
		{name: "empty stdin", path: "-", stdin: strings.NewReader(""), err: "read stdin: the input is empty: " + hint},
		{name: "stdin that fails", path: "-", stdin: iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(a))), err: "read stdin: byte 1: timeout"},
		{name: "no such file", path: "none.json", err: "read none.json: no such file or directory", early: true},
		{name: "a folder", path: ".", err: "read .: is a directory: specify a file in it", early: true},
		{name: "empty file", path: "empty.json", err: "read empty.json: the input is empty: " + hint},
		{name: "truncated file", path: "short.json", err: "read short.json: item 1, byte 30: unexpected end of JSON: the dump is truncated; record it again"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			var got []seen
			_, err := ReadPath(t.Context(), filepath.Clean(tt.path), tt.stdin, func(e Event) error {
				got = append(got, see(e))
				return nil
			})
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || err.Error() != tt.err) {
				t.Errorf("got  %v\nwant %s", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			early := CheckPath(filepath.Clean(tt.path))
			if (early != nil) != tt.early || early != nil && early.Error() != tt.err {
				t.Errorf("CheckPath: %v; want %v: %s", early, tt.early, tt.err)
			}
		})
	}
}

func TestLargeStdinArrivesWhole(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	list := string(listOf(t, 200))
	for name, r := range map[string]io.Reader{"at once": strings.NewReader(list), "by halves": iotest.HalfReader(strings.NewReader(list))} {
		stats, err := ReadPath(t.Context(), "-", r, func(Event) error { return nil })
		if diff := cmp.Diff(Stats{Applied: 200, Bytes: int64(len(list)), First: "List"}, stats); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestLiveWatchOnStdin(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	r, w := io.Pipe()
	go func() { _, _ = io.WriteString(w, `{"type":"ADDED","object":`+pod("a")+`}`) }()
	ctx, cancel := context.WithCancel(t.Context())
	// Each event is delivered when it comes, not when a buffer is full: else this would wait for ever.
	_, err := ReadPath(ctx, "-", r, func(Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) || err.Error() != "read stdin: context canceled" {
		t.Errorf("got %v", err)
	}
	_ = w.Close() // ends the goroutine that still reads
}

func TestCancelEndsBlockedRead(t *testing.T) {
	for name, input := range map[string]string{"before the first byte": "", "within a pod": pod("a")[:40], "behind a pod": pod("a")} {
		synctest.Test(t, func(t *testing.T) {
			r, w := io.Pipe()
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error)
			go func() {
				_, err := ReadPath(ctx, "-", r, func(Event) error { return nil })
				result <- err
			}()
			if _, err := io.WriteString(w, input); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // all that was written is read, and nothing more comes
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v", name, err)
			}
			_ = w.Close() // ends the goroutine that still reads
		})
	}
}

func TestInputClosedByCancelling(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	closed := readerFunc(func([]byte) (int, error) { cancel(); return 0, os.ErrClosed })
	_, err := Read(ctx, "x.json", io.MultiReader(strings.NewReader(`{"kind":{"a`), closed), func(Event) error { return nil })
	if !errors.Is(err, context.Canceled) || errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestCancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("stopped by the caller")
	cancel(cause)
	_, err := Read(ctx, "x.json", strings.NewReader(pod("a")), func(Event) error {
		t.Error("an event after the end")
		return nil
	})
	if !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

// lazy is a reader that never gives anything.
type lazy struct{}

func (lazy) Read([]byte) (int, error) { return 0, nil }

func TestReaderWithoutProgress(t *testing.T) {
	_, err := Read(t.Context(), "x.json", io.MultiReader(strings.NewReader(pod("a")), lazy{}), func(Event) error { return nil })
	if want := "read x.json: byte 69: " + io.ErrNoProgress.Error(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, tt := range map[string]struct{ input, want string }{
		"at the start":   {"", "read x.json: byte 0: disk on fire"},
		"within a pod":   {pod("a")[:40], "read x.json: item 1, byte 40: disk on fire"},
		"behind a pod":   {pod("a") + "\n", "read x.json: byte 70: disk on fire"},
		"within a value": {`{"kind":"Po`, "read x.json: item 1, byte 11: disk on fire"},
	} {
		r := io.MultiReader(strings.NewReader(tt.input), iotest.ErrReader(broken))
		_, err := Read(t.Context(), "x.json", r, func(Event) error { return nil })
		if !errors.Is(err, broken) || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}
