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

// replace puts another file in the place of a plain one, in one step.
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
		{"a link to another place in the place of ..data", func(t *testing.T) []string {
			elsewhere, dir := t.TempDir(), t.TempDir()
			write(t, filepath.Join(elsewhere, "a"), "A")
			if err := os.Symlink(elsewhere, filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
			return []string{filepath.Join(dir, "a")}
		}, []string{"A"}, ""},
		{"..data is no link", func(t *testing.T) []string {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "..data"), "")
			write(t, filepath.Join(dir, "a"), "A")
			return []string{filepath.Join(dir, "a")}
		}, []string{"A"}, ""},
		{"as large as may be", func(t *testing.T) []string {
			file := filepath.Join(t.TempDir(), "a")
			write(t, file, strings.Repeat("x", reload.MaxBytes))
			return []string{file}
		}, []string{strings.Repeat("x", reload.MaxBytes)}, ""},

		{"larger than may be", func(t *testing.T) []string {
			m := reloadtest.New(t, map[string]string{"a": strings.Repeat("x", reload.MaxBytes+1)})
			return []string{m.Path("a")}
		}, nil, "read FILE: is larger than 1048576 bytes"},
		{"a file that is not there", func(t *testing.T) []string {
			return []string{filepath.Join(t.TempDir(), "a")}
		}, nil, "read FILE: no such file or directory"},
		{"a key that is not in the ConfigMap", func(t *testing.T) []string {
			m := reloadtest.New(t, map[string]string{"a": "A"})
			return []string{m.Path("a"), m.Path("b")}
		}, nil, "read FILE: no such file or directory"},
		{"..data leads nowhere", func(t *testing.T) []string {
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
		{"a pipe that nobody writes to", func(t *testing.T) []string {
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
		{"unreadable: the link of its directory", func(t *testing.T) []string {
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

func TestReadEndsWithItsContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a")
	write(t, file, "A")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := reload.Read(ctx, file); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// What is read of a plain file is what it held for a while: a write that goes on is waited for.
func TestReadWaitsForTheEndOfAWrite(t *testing.T) {
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

func TestReadOfAFileThatNeverSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "a")
		write(t, file, "")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() {
			// Never at the moment of a read: half of a write is for the test above.
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

// Two files of one mounted directory are always of one generation, however fast the kubelet swaps it.
func TestGenerationsAreNeverMixed(t *testing.T) {
	const swaps = 500
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
	reads, overtaken, seen := 0, 0, make(map[string]bool)
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
			// Every attempt was overtaken by a swap, as there are some thousand a second. Nothing was read.
			overtaken++
			continue
		case err != nil:
			t.Fatalf("read %d, while the directory is swapped: %v", reads, err)
		case !bytes.Equal(texts[0], texts[1]):
			t.Fatalf("read %d has %q beside %q", reads, texts[0], texts[1])
		}
		seen[string(texts[0])] = true
	}
	if last := fmt.Sprint("generation ", swaps); !seen[last] {
		t.Errorf("the last read is not of the last generation")
	}
	if overtaken > reads/2 {
		t.Errorf("%d of %d reads were overtaken by swaps", overtaken, reads)
	}
	t.Logf("%d reads during %d swaps saw %d generations; %d were overtaken", reads, swaps, len(seen), overtaken)
}

// watched runs a Watcher in a bubble and collects what it tells.
type watched struct {
	t    *testing.T
	now  chan os.Signal
	mu   sync.Mutex
	told []string
}

const every = 2 * time.Second

// watch begins to watch files that have been read already.
func watch(t *testing.T, files ...string) *watched {
	t.Helper()
	initial, err := reload.Read(t.Context(), files...)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t, now: make(chan os.Signal, 1)}
	watcher := reload.Watcher{Files: files, Every: every, Now: w.now, Changed: func(texts [][]byte, err error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil {
			w.told = append(w.told, strings.ReplaceAll(err.Error(), filepath.Dir(files[0])+"/", ""))
			return
		}
		w.told = append(w.told, string(bytes.Join(texts, []byte("+"))))
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watcher.Run(ctx, initial) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	})
	return w
}

// expect lets time go by and compares what was told in it.
func (w *watched) expect(within time.Duration, want ...string) {
	w.t.Helper()
	<-time.After(within)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if diff := cmp.Diff(want, w.told); diff != "" {
		w.t.Errorf("told (-want +got):\n%s", diff)
	}
	w.told = nil
}

const (
	// soon is how long it may take until a change is told: a glance, and a pause where the file is a plain one.
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
		swap(map[string]string{"policy": "P2", "waivers": "W2"}) // the kubelet writes them again
		w.expect(long)
		swap(map[string]string{"policy": "P2", "waivers": "W3"})
		w.expect(soon, "P2+W3")
		swap(map[string]string{"policy": "P2"})
		w.expect(soon, "read waivers: no such file or directory")
		w.expect(long)
		swap(map[string]string{"policy": "P2", "waivers": "W3"})
		w.expect(soon, "P2+W3")
		for n := range 20 { // faster than anybody looks
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

		// A failing state is told once, and again when it is another.
		remove(t, file)
		w.expect(soon, "read policy: no such file or directory")
		w.expect(long)
		write(t, file, strings.Repeat("x", reload.MaxBytes+1))
		w.expect(soon, "read policy: is larger than 1048576 bytes")
		w.expect(long)
		write(t, file, "")
		w.expect(soon, "") // it can be read: whether it is a policy is for others to say
		w.expect(long)
		remove(t, file)
		w.expect(soon, "read policy: no such file or directory")
		write(t, file, "P3")
		w.expect(soon, "P3")
		w.expect(long)

		// A write in pieces, none of which is told.
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

// A file whose name, size and time tell nothing of its change is looked into all the same.
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

// A change between the first read and the begin of the watch is not lost.
func TestWatchSeesWhatChangedBeforeItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "policy")
		write(t, file, "P2")
		told := make(chan string, 1)
		watcher := reload.Watcher{Files: []string{file}, Every: every, Changed: func(texts [][]byte, err error) {
			told <- fmt.Sprintf("%s %v", texts, err)
		}}
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		if err := watcher.Run(ctx, [][]byte{[]byte("P1")}); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-told:
			if want := "[P2] <nil>"; got != want {
				t.Errorf("told %s, want %s", got, want)
			}
		default:
			t.Error("nothing was told")
		}
	})
}

// A read that is asked for is made at once, and told even when nothing is new: somebody waits for an answer.
func TestWatchIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := reloadtest.New(t, map[string]string{"policy": "P1"})
		w := watch(t, m.Path("policy"))
		w.expect(every + time.Millisecond) // just behind a look
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
