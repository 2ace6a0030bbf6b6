//go:build unix

package reload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-devops/kube-devops/agent/reload"
	"github.com/kube-devops/kube-devops/agent/reload/reloadtest"
)

func write(tb testing.TB, file, text string) {
	tb.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// replace replaces a plain file atomically.
func replace(tb testing.TB, file, text string) {
	tb.Helper()
	write(tb, file+".new", text)
	if err := os.Rename(file+".new", file); err != nil {
		tb.Fatal(err)
	}
}

func remove(tb testing.TB, file string) {
	tb.Helper()
	if err := os.Remove(file); err != nil {
		tb.Fatal(err)
	}
}

func TestRead(t *testing.T) {
	tests := []struct {
		name  string
		files func(t *testing.T) []string
		want  []string
		err   string // with FILE for the path of the last file
	}{
		{"plain files, of two directories", func(t *testing.T) []string {
			a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
			write(t, a, "A")
			write(t, b, "")
			return []string{a, b}
		}, []string{"A", ""}, ""},
		{"no files", func(*testing.T) []string { return nil }, nil, ""},
		{"a mounted directory", func(t *testing.T) []string {
			m := reloadtest.New(t, map[string]string{"a": "A", "b": "B"})
			return []string{m.Path("b"), m.Path("a")}
		}, []string{"B", "A"}, ""},
		{"a mounted directory and a plain file", func(t *testing.T) []string {
			m := reloadtest.New(t, map[string]string{"a": "A"})
			plain := filepath.Join(t.TempDir(), "b")
			write(t, plain, "B")
			return []string{m.Path("a"), plain}
		}, []string{"A", "B"}, ""},
		{"..data links to another directory", func(t *testing.T) []string {
			elsewhere, dir := t.TempDir(), t.TempDir()
			write(t, filepath.Join(elsewhere, "a"), "A")
			if err := os.Symlink(elsewhere, filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
			return []string{filepath.Join(dir, "a")}
		}, []string{"A"}, ""},
		{"..data is not a link", func(t *testing.T) []string {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "..data"), "")
			write(t, filepath.Join(dir, "a"), "A")
			return []string{filepath.Join(dir, "a")}
		}, []string{"A"}, ""},
		{"maximum size", func(t *testing.T) []string {
			file := filepath.Join(t.TempDir(), "a")
			write(t, file, strings.Repeat("x", reload.MaxBytes))
			return []string{file}
		}, []string{strings.Repeat("x", reload.MaxBytes)}, ""},

		{"too large", func(t *testing.T) []string {
			m := reloadtest.New(t, map[string]string{"a": strings.Repeat("x", reload.MaxBytes+1)})
			return []string{m.Path("a")}
		}, nil, "read FILE: is larger than 1048576 bytes"},
		{"a missing file", func(t *testing.T) []string {
			return []string{filepath.Join(t.TempDir(), "a")}
		}, nil, "read FILE: no such file or directory"},
		{"a missing key of the ConfigMap", func(t *testing.T) []string {
			m := reloadtest.New(t, map[string]string{"a": "A"})
			return []string{m.Path("a"), m.Path("b")}
		}, nil, "read FILE: no such file or directory"},
		{"..data is dangling", func(t *testing.T) []string {
			m := reloadtest.New(t, map[string]string{"a": "A"})
			if err := os.RemoveAll(m.Target()); err != nil {
				t.Fatal(err)
			}
			return []string{m.Path("a")}
		}, nil, "read FILE: no such file or directory"},
		{"a directory", func(t *testing.T) []string { return []string{t.TempDir()} }, nil, "read FILE: is a directory, not a file"},
		{"below a file", func(t *testing.T) []string {
			file := filepath.Join(t.TempDir(), "a")
			write(t, file, "")
			return []string{filepath.Join(file, "b")}
		}, nil, "read FILE: not a directory"},
		{"a named pipe", func(t *testing.T) []string {
			file := filepath.Join(t.TempDir(), "a")
			if err := syscall.Mkfifo(file, 0o644); err != nil {
				t.Fatal(err)
			}
			return []string{file}
		}, nil, "read FILE: is not a regular file"},
		{"unreadable: a link to itself", func(t *testing.T) []string {
			file := filepath.Join(t.TempDir(), "a")
			if err := os.Symlink(file, file); err != nil {
				t.Fatal(err)
			}
			return []string{file}
		}, nil, "read FILE: too many levels of symbolic links"},
		{"unreadable: its directory links to itself", func(t *testing.T) []string {
			dir := filepath.Join(t.TempDir(), "loop")
			if err := os.Symlink(dir, dir); err != nil {
				t.Fatal(err)
			}
			return []string{filepath.Join(dir, "a")}
		}, nil, "read FILE: too many levels of symbolic links"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files := test.files(t)
				texts, err := reload.Read(t.Context(), files...)
				var got []string
				for _, text := range texts {
					got = append(got, string(text))
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("read %.80q, want %.80q", got, test.want)
				}
				message := ""
				if err != nil {
					message = strings.ReplaceAll(err.Error(), files[len(files)-1], "FILE")
				}
				if message != test.err {
					t.Errorf("error %q, want %q", message, test.err)
				}
			})
		})
	}
}

func TestReadCanceled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a")
	write(t, file, "A")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := reload.Read(ctx, file); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// A plain file is returned only after it has not changed for a while: Read waits for a write in progress.
func TestReadWaitsForAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "a")
		write(t, file, "")
		const whole = "one, two, three, four"
		go func() {
			for n := range len(whole) + 1 {
				if n%7 == 0 {
					<-time.After(150 * time.Millisecond)
				}
				write(t, file, whole[:n])
			}
		}()
		synctest.Wait()
		texts, err := reload.Read(t.Context(), file)
		if err != nil || string(texts[0]) != whole {
			t.Errorf("read %q, %v; want %q", texts, err, whole)
		}
	})
}

func TestReadOfAFileThatKeepsChanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "a")
		write(t, file, "")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			// Never at the time of a read: the test above covers partial writes.
			next := time.After(30 * time.Millisecond)
			for n := 0; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-next:
					write(t, file, fmt.Sprint(n))
					next = time.After(100 * time.Millisecond)
				}
			}
		}()
		_, err := reload.Read(t.Context(), file)
		if want := "read " + file + ": the file changes while it is read"; err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	})
}

// Two files of one mounted directory are always of the same generation, however fast the kubelet swaps it.
func TestGenerationsAreNeverMixed(t *testing.T) {
	swaps := 500
	if testing.Short() {
		swaps = 100
	}
	generation := func(n int) map[string]string {
		return map[string]string{"policy.yaml": fmt.Sprint("generation ", n), "waivers.yaml": fmt.Sprint("generation ", n)}
	}
	m := reloadtest.New(t, generation(0))
	swapped := make(chan error, 1)
	go func() {
		defer close(swapped)
		for n := range swaps {
			if err := m.Swap(generation(n + 1)); err != nil {
				swapped <- err
				return
			}
		}
	}()
	defer func() {
		for range swapped { // the directory is removed when the test ends
		}
	}()
	reads, interrupted, seen := 0, 0, make(map[string]bool)
	for done := false; !done; reads++ {
		select {
		case err := <-swapped:
			if done = true; err != nil {
				t.Fatal(err)
			}
		default:
		}
		texts, err := reload.Read(t.Context(), m.Path("policy.yaml"), m.Path("waivers.yaml"))
		switch {
		case !done && (errors.Is(err, fs.ErrNotExist) || err != nil && strings.HasSuffix(err.Error(), ": the file changes while it is read")):
			// A swap interrupted every attempt: there are some thousand a second. Nothing was read.
			interrupted++
			continue
		case err != nil:
			t.Fatalf("read %d, while the directory is swapped: %v", reads, err)
		case !bytes.Equal(texts[0], texts[1]):
			t.Fatalf("read %d has %q and %q", reads, texts[0], texts[1])
		}
		seen[string(texts[0])] = true
	}
	if last := fmt.Sprint("generation ", swaps); !seen[last] {
		t.Errorf("the last read is not of the last generation")
	}
	if interrupted > reads/2 {
		t.Errorf("%d of %d reads were interrupted by swaps", interrupted, reads)
	}
	t.Logf("%d reads during %d swaps saw %d generations; %d were interrupted", reads, swaps, len(seen), interrupted)
}

// watched collects the calls of Changed.
type watched struct {
	t        *testing.T
	now      chan os.Signal
	mu       sync.Mutex
	reported []string
}

const every = 2 * time.Second

// fixed reads the same files each time.
func fixed(files ...string) func(context.Context) (reload.Contents, error) {
	return func(ctx context.Context) (reload.Contents, error) {
		texts, err := reload.Read(ctx, files...)
		return reload.Contents{Files: files, Texts: texts}, err
	}
}

// watch starts a Watcher of files whose content is known.
func watch(t *testing.T, files ...string) *watched {
	t.Helper()
	initial, err := reload.Read(t.Context(), files...)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t, now: make(chan os.Signal, 1)}
	watcher := reload.Watcher{Read: fixed(files...), Every: every, Now: w.now, Changed: func(contents reload.Contents, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			w.reported = append(w.reported, strings.ReplaceAll(err.Error(), filepath.Dir(files[0])+"/", ""))
			return
		}
		w.reported = append(w.reported, string(bytes.Join(contents.Texts, []byte("+"))))
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watcher.Run(ctx, reload.Contents{Files: files, Texts: initial}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	})
	return w
}

// expect compares what is reported within a time.
func (w *watched) expect(within time.Duration, want ...string) {
	w.t.Helper()
	<-time.After(within)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if diff := cmp.Diff(want, w.reported); diff != "" {
		w.t.Errorf("reported (-want +got):\n%s", diff)
	}
	w.reported = nil
}

const (
	// soon is how long it may take to report a change: one poll, and the pause between two reads of a plain file.
	soon = 500 * time.Millisecond
	long = 10 * time.Second
)

func TestWatchOfAMountedDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := reloadtest.New(t, map[string]string{"policy": "P1", "waivers": "W1"})
		w := watch(t, m.Path("policy"), m.Path("waivers"))
		swap := func(files map[string]string) { m.MustSwap(t, files) }
		w.expect(long)
		swap(map[string]string{"policy": "P2", "waivers": "W2"})
		w.expect(soon, "P2+W2")
		swap(map[string]string{"policy": "P2", "waivers": "W2"}) // the kubelet rewrites them
		w.expect(long)
		swap(map[string]string{"policy": "P2", "waivers": "W3"})
		w.expect(soon, "P2+W3")
		swap(map[string]string{"policy": "P2"})
		w.expect(soon, "read waivers: no such file or directory")
		w.expect(long)
		swap(map[string]string{"policy": "P2", "waivers": "W3"})
		w.expect(soon, "P2+W3")
		for n := range 20 { // faster than the polls
			swap(map[string]string{"policy": fmt.Sprint("P", n), "waivers": fmt.Sprint("W", n)})
		}
		w.expect(soon, "P19+W19")
		w.expect(long)
	})
}

func TestWatchOfAPlainFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "policy")
		write(t, file, "P1")
		w := watch(t, file)
		w.expect(long)

		replace(t, file, "P2")
		w.expect(soon, "P2")
		write(t, file, "P3, of another size: many a file system's times stand still for milliseconds")
		w.expect(soon, "P3, of another size: many a file system's times stand still for milliseconds")

		// An error is reported once, and again when it changes.
		remove(t, file)
		w.expect(soon, "read policy: no such file or directory")
		w.expect(long)
		write(t, file, strings.Repeat("x", reload.MaxBytes+1))
		w.expect(soon, "read policy: is larger than 1048576 bytes")
		w.expect(long)
		write(t, file, "")
		w.expect(soon, "") // an empty file is not an error
		w.expect(long)
		remove(t, file)
		w.expect(soon, "read policy: no such file or directory")
		write(t, file, "P3")
		w.expect(soon, "P3")
		w.expect(long)

		// A write in pieces is reported when it is complete.
		whole := "one, two, three"
		for n := range 3 {
			write(t, file, whole[:5*n+4])
			<-time.After(100 * time.Millisecond)
		}
		write(t, file, whole)
		w.expect(2*soon, whole)
		w.expect(long)
	})
}

// A change is noticed even if it changes neither the name, the size nor the time of the file.
func TestWatchDoesNotTrustTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "policy")
		write(t, file, "P1")
		at := time.Unix(1_700_000_000, 0)
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
		w := watch(t, file)
		w.expect(long)
		write(t, file, "P2")
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
		w.expect(every+soon, "P2")
	})
}

// A change between the initial read and Run is not lost.
func TestWatchNoticesAnEarlierChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "policy")
		write(t, file, "P2")
		reported := make(chan string, 1)
		watcher := reload.Watcher{Read: fixed(file), Every: every, Changed: func(contents reload.Contents, err error) {
			reported <- fmt.Sprintf("%s %v", contents.Texts, err)
		}}
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		if err := watcher.Run(ctx, reload.Contents{Files: []string{file}, Texts: [][]byte{[]byte("P1")}}); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-reported:
			if want := "[P2] <nil>"; got != want {
				t.Errorf("reported %s, want %s", got, want)
			}
		default:
			t.Error("nothing was reported")
		}
	})
}

// A requested read is made at once, and reported even if nothing has changed.
func TestWatchRequestedRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := reloadtest.New(t, map[string]string{"policy": "P1"})
		w := watch(t, m.Path("policy"))
		w.expect(every + time.Millisecond) // just after a read
		m.MustSwap(t, map[string]string{"policy": "P2"})
		w.now <- syscall.SIGHUP
		w.expect(time.Millisecond, "P2")
		w.now <- syscall.SIGHUP
		w.expect(time.Millisecond, "P2")
		m.MustSwap(t, nil)
		w.now <- syscall.SIGHUP
		w.expect(time.Millisecond, "read policy: no such file or directory")
		w.now <- syscall.SIGHUP
		w.expect(time.Millisecond, "read policy: no such file or directory")
		w.expect(long)
	})
}
