// Package reload notices when files change that are mounted from a ConfigMap, or edited by hand, and reads them whole.
//
// It polls. The kubelet changes a mounted directory by a symbolic link, which file events report in ways that differ
// between file systems and mount kinds, or not at all; a poll costs less than a millisecond and misses nothing. Names,
// sizes and times of the files are looked at four times a second, so that a change is noticed soon, and their content
// every time that they hint at a change, and after a longer while without any.
package reload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
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
	// MaxBytes is how large a file may be. A ConfigMap holds at most 1 MiB.
	MaxBytes = 1 << 20
	// dataLink is the symbolic link by which the kubelet swaps the content of a mounted directory in one step.
	dataLink = "..data"
	// attempts is how often a read is begun again when the kubelet swaps the directory under it.
	attempts = 5
	// settle is how long a plain file must stay the same to be taken for whole.
	settle = 200 * time.Millisecond
	// glanceEvery is the time between two looks at the names, sizes and times of the files, which tell of nearly every
	// change. File systems are known that report a wrong time, so that the content is looked at too, though not as often.
	glanceEvery = 250 * time.Millisecond
)

var (
	errMoving    = errors.New("the file changes while it is read")
	errDirectory = errors.New("is a directory, not a file")
	errNoFile    = errors.New("is not a regular file")
)

// Read returns the content of the files, in their order. Files of one mounted directory are of one generation: the
// directory's link is resolved once, and they are read behind it. A plain file is read twice, with a pause, so that
// half of a write is not taken for the whole. An error names the file, as a *fs.PathError.
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
	links := make(map[string]string) // of each directory: where its link leads to, "" where it has none
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

// readLink returns where the link of a mounted directory leads to, "" where it is not one.
func readLink(dir string) (string, error) {
	target, err := os.Readlink(filepath.Join(dir, dataLink))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EINVAL) { // the latter: it is something else than a link
		return "", nil
	}
	return target, err
}

// readAll reads the resolved files, and names them in errors as the caller does.
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
	// To open a named pipe would wait for somebody who writes to it.
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

// failed is an error about a file under the name that the caller knows it by.
func failed(file string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return &fs.PathError{Op: "read", Path: file, Err: err}
}

// A Watcher looks at files again and again.
type Watcher struct {
	// Files are read together.
	Files []string
	// Every is the time after which the files are read though nothing hints at a change. Hints are looked for every
	// 250 ms.
	Every time.Duration
	// Now asks for a read at once; nil for none.
	Now <-chan os.Signal
	// Changed is called with the content when it is another than before, and on each read that was asked for; or with
	// the reason why it cannot be read, when that is another than before.
	Changed func(texts [][]byte, err error)
}

// Run looks at the files until ctx is done. Changed is not called for what the files hold at the start, which is
// given as initial.
func (w *Watcher) Run(ctx context.Context, initial [][]byte) error {
	last := fingerprint(initial, nil)
	var seen glance // none: the files may have changed since initial was read, so that the first look is a read
	var read time.Time
	ticker := time.NewTicker(min(w.Every, glanceEvery))
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
		// The glance comes first: what changes during the read is seen by the next one.
		now := glanceAt(w.Files)
		if !asked && now.same(seen) && time.Since(read) < w.Every {
			continue
		}
		seen, read = now, time.Now()
		texts, err := Read(ctx, w.Files...)
		if ctx.Err() != nil {
			return nil
		}
		if is := fingerprint(texts, err); is != last || asked {
			last = is
			w.Changed(texts, err)
		}
	}
}

// A glance is what is known of files without a read: nil of a file that is not there.
type glance []fs.FileInfo

func glanceAt(files []string) glance {
	g := make(glance, len(files))
	for i, file := range files {
		if info, err := os.Stat(file); err == nil {
			g[i] = info
		}
	}
	return g
}

func (g glance) same(other glance) bool {
	return slices.EqualFunc(g, other, func(a, b fs.FileInfo) bool {
		if a == nil || b == nil {
			return a == nil && b == nil
		}
		return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
	})
}

// fingerprint is equal for two looks that saw the same.
func fingerprint(texts [][]byte, err error) [sha256.Size]byte {
	hash := sha256.New()
	if err != nil {
		hash.Write([]byte("error " + err.Error()))
	}
	for _, text := range texts {
		hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(text))))
		hash.Write(text)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}
