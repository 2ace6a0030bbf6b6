// Package reload notices when files change that are mounted from a ConfigMap, or edited by hand, and reads them whole.
//
// It polls. The kubelet changes a mounted directory by a symbolic link, which file events report in ways that differ
// between file systems and mount kinds, or not at all; a poll costs less than a millisecond and misses nothing.
package reload

import (
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
)

var errMoving = errors.New("the file changes while it is read")

// Read returns the content of the files, in their order. Files of one mounted directory are of one generation: the
// directory's link is resolved once, and they are read behind it. A plain file is read twice, with a pause, so that
// half of a write is not taken for the whole.
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
			if target, err = os.Readlink(filepath.Join(dir, dataLink)); err != nil && !errors.Is(err, fs.ErrNotExist) && !isNoLink(err) {
				return nil, err
			}
			links[dir] = target
		}
		if resolved[i] = file; target == "" {
			plain = true
		} else {
			resolved[i] = filepath.Join(dir, target, filepath.Base(file))
		}
	}
	texts, err := readAll(files, resolved)
	if err != nil {
		return nil, err
	}
	for dir, before := range links {
		if after, _ := os.Readlink(filepath.Join(dir, dataLink)); after != before {
			return nil, fmt.Errorf("read %s: %w", dir, errMoving)
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
	if !slices.EqualFunc(texts, again, slices.Equal[[]byte]) {
		return nil, fmt.Errorf("read %s: %w", files[0], errMoving)
	}
	return texts, nil
}

// isNoLink tells whether Readlink failed because there is something else of that name.
func isNoLink(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && errors.Is(path.Err, syscall.EINVAL)
}

// readAll reads the resolved files, and names them in errors as the caller does.
func readAll(files, resolved []string) ([][]byte, error) {
	texts := make([][]byte, len(files))
	for i := range files {
		var err error
		if texts[i], err = readFile(resolved[i]); err != nil {
			var path *fs.PathError
			if errors.As(err, &path) {
				err = path.Err
			}
			return nil, fmt.Errorf("read %s: %w", files[i], err)
		}
	}
	return texts, nil
}

func readFile(name string) (text []byte, err error) {
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

// A Watcher looks at files again and again.
type Watcher struct {
	// Files are read together.
	Files []string
	// Every is the time between two looks.
	Every time.Duration
	// Now asks for a look at once; nil for none.
	Now <-chan os.Signal
	// Changed is called with the content when it is another than before, and on each look that was asked for; or with
	// the reason why it cannot be read, when that is another than before.
	Changed func(texts [][]byte, err error)
}

// Run looks at the files until ctx is done. Changed is not called for what the files hold at the start, which is
// given as initial.
func (w *Watcher) Run(ctx context.Context, initial [][]byte) error {
	last := fingerprint(initial, nil)
	ticker := time.NewTicker(w.Every)
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
		texts, err := Read(ctx, w.Files...)
		if ctx.Err() != nil {
			return nil
		}
		if seen := fingerprint(texts, err); seen != last || asked {
			last = seen
			w.Changed(texts, err)
		}
	}
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
