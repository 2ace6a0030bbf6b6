package reload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	// MaxBytes is the maximum size of a file. A ConfigMap holds at most 1 MiB.
	MaxBytes = 1 << 20
	// dataLink is the symbolic link by which the kubelet swaps the content of a mounted directory atomically.
	dataLink = "..data"
	// attempts is how often a read is tried while the kubelet swaps the directory.
	attempts = 5
	// settle is how long a plain file must stay unchanged to be considered complete.
	settle = 200 * time.Millisecond
	// statEvery is the time between two polls of the names, sizes and times of the files. These show nearly every change, but
	// some file systems report wrong times, so the content is read too, though less often.
	statEvery = 250 * time.Millisecond
)

var (
	errMoving    = errors.New("the file changes while it is read")
	errDirectory = errors.New("is a directory, not a file")
	errNoFile    = errors.New("is not a regular file")
)

// Read returns the content of the files, in their order. Files of one mounted directory are of the same generation, because the
// link of the directory is resolved once for all. Plain files are read twice, with a pause, to detect a write in progress.
// Errors are of type *fs.PathError and name the file.
func Read(ctx context.Context, files ...string) ([][]byte, error) {
	var texts [][]byte
	var err error
	for range attempts {
		if texts, err = readOnce(ctx, files); err == nil || ctx.Err() != nil {
			return texts, err
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errMoving) {
			return nil, err
		}
	}
	return nil, err
}

func readOnce(ctx context.Context, files []string) ([][]byte, error) {
	links := make(map[string]string) // by directory: the target of its dataLink, "" for none
	resolved := make([]string, len(files))
	plain := false
	for i, file := range files {
		dir := filepath.Dir(file)
		target, known := links[dir]
		if !known {
			var err error
			if target, err = readLink(dir); err != nil {
				return nil, failed(file, err)
			}
			links[dir] = target
		}
		switch {
		case target == "":
			resolved[i], plain = file, true
		case filepath.IsAbs(target):
			resolved[i] = filepath.Join(target, filepath.Base(file))
		default:
			resolved[i] = filepath.Join(dir, target, filepath.Base(file))
		}
	}
	texts, err := readAll(files, resolved)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		dir := filepath.Dir(file)
		if now, err := readLink(dir); err != nil || now != links[dir] {
			return nil, failed(file, errMoving)
		}
	}
	if !plain {
		return texts, nil
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(settle):
	}
	again, err := readAll(files, resolved)
	if err != nil {
		return nil, err
	}
	for i, file := range files {
		if !bytes.Equal(texts[i], again[i]) {
			return nil, failed(file, errMoving)
		}
	}
	return texts, nil
}

// Mounted returns where Read finds a file. The kubelet makes the link of a new file only after it has swapped the content of the directory,
// so in a mounted directory this is not the file's own link.
func Mounted(file string) string {
	dir := filepath.Dir(file)
	if target, err := readLink(dir); err != nil || target == "" {
		return file
	}
	return filepath.Join(dir, dataLink, filepath.Base(file))
}

// readLink returns the target of the link of a mounted directory, "" for other directories.
func readLink(dir string) (string, error) {
	target, err := os.Readlink(filepath.Join(dir, dataLink))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL) { // EINVAL: not a link
		return "", nil
	}
	return target, err
}

// readAll reads the resolved files. Errors have the names in files.
func readAll(files, resolved []string) ([][]byte, error) {
	texts := make([][]byte, len(files))
	for i, file := range files {
		var err error
		if texts[i], err = readFile(resolved[i]); err != nil {
			return nil, failed(file, err)
		}
	}
	return texts, nil
}

func readFile(name string) (text []byte, err error) {
	// Opening a named pipe would block until another process writes to it.
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errDirectory
	case !info.Mode().IsRegular():
		return nil, errNoFile
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if text, err = io.ReadAll(io.LimitReader(file, MaxBytes+1)); err != nil {
		return nil, err
	}
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("is larger than %d bytes", MaxBytes)
	}
	return text, nil
}

// failed is an error about a file under the caller's name for it.
func failed(file string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return &fs.PathError{Op: "read", Path: file, Err: err}
}

// Contents are files and what they contain.
type Contents struct {
	Files []string
	Texts [][]byte // none when the files cannot be read
}

// A Watcher polls files for changes.
type Watcher struct {
	// Read returns the contents of all files. Which files these are may depend on what they contain. With an error, it returns the files
	// whose change may repair it.
	Read func(context.Context) (Contents, error)
	// Every is the time after which the files are read even if their names, sizes and times have not changed.
	Every time.Duration
	// Now requests an immediate read; may be nil.
	Now <-chan os.Signal
	// Changed is called with the contents, or with the error that prevents reading them, when either has changed, and for each
	// read that Now requests.
	Changed func(Contents, error)
}

// Run polls the files until ctx is done. Their initial contents are known to the caller, and not reported to Changed.
func (w *Watcher) Run(ctx context.Context, initial Contents) error {
	last, lastErr := initial, ""
	var lastStat []fs.FileInfo // nil: the files may have changed since initial was read, so the first poll reads them
	var read time.Time
	ticker := time.NewTicker(min(w.Every, statEvery))
	defer ticker.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return nil
		case <-w.Now:
			asked = true
		case <-ticker.C:
		}
		// Stat before reading: a change during the read is noticed by the next poll.
		stat := statAll(last.Files)
		if !asked && slices.EqualFunc(stat, lastStat, sameFile) && time.Since(read) < w.Every {
			continue
		}
		read = time.Now()
		contents, err := w.Read(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if lastStat = stat; !slices.Equal(contents.Files, last.Files) {
			lastStat = nil // the files that are new may have changed since they were read
		}
		message := ""
		if err != nil {
			message = err.Error()
		}
		changed := asked || message != lastErr || !slices.EqualFunc(contents.Texts, last.Texts, bytes.Equal)
		last, lastErr = contents, message
		if changed {
			w.Changed(contents, err)
		}
	}
}

// statAll returns nil for files that cannot be read.
func statAll(files []string) []fs.FileInfo {
	infos := make([]fs.FileInfo, len(files))
	for i, file := range files {
		if info, err := os.Stat(file); err == nil {
			infos[i] = info
		}
	}
	return infos
}

func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
