package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// replaceFile writes a file completely or not at all: to a temporary file in the same folder, which then replaces it. An
// existing file keeps its mode and owner. Anything else than a regular file, such as a pipe, is written to directly.
//
// A file that cannot be replaced, such as a bind mount or a file in a read-only folder, is overwritten in place once the whole
// text exists; inPlace then says why.
func replaceFile(name string, write func(io.Writer) error) (inPlace, err error) {
	target := resolve(name)
	// Opening the file also refuses a read-only one, which could be replaced, but is read-only on purpose.
	existing, err := os.OpenFile(target, os.O_WRONLY, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, bare(err)
	}
	var old fs.FileInfo
	if err == nil {
		defer func() { _ = existing.Close() }() // unused, or closed already
		if old, err = existing.Stat(); err != nil {
			return nil, bare(err)
		}
		if !old.Mode().IsRegular() {
			return nil, fill(existing, write)
		}
	}
	text, err := os.OpenFile(filepath.Join(filepath.Dir(target), ".kube-devops-"+rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		if inPlace = bare(err); old == nil {
			return nil, inPlace
		}
		if text, err = os.CreateTemp("", "kube-devops-*"); err != nil {
			return inPlace, overwrite(existing, write)
		}
	}
	defer func() { _ = os.Remove(text.Name()) }() // gone already if it replaced the file
	if err := fill(text, write); err != nil {
		return nil, err
	}
	if inPlace == nil {
		if inPlace = replace(text.Name(), target, old); inPlace == nil || old == nil {
			return nil, inPlace
		}
	}
	return inPlace, overwrite(existing, func(to io.Writer) error {
		from, err := os.Open(text.Name())
		if err != nil {
			return err
		}
		defer func() { _ = from.Close() }() // only read
		_, err = io.Copy(to, from)
		return err
	})
}

// replace moves a file to the place of another one, and keeps the mode and owner of that.
func replace(name, target string, old fs.FileInfo) error {
	if old != nil {
		if err := chownLike(name, old); err != nil {
			return fmt.Errorf("its owner cannot be kept: %w", bare(err))
		}
		if err := os.Chmod(name, old.Mode().Perm()); err != nil {
			return bare(err)
		}
	}
	return bare(os.Rename(name, target))
}

// overwrite replaces the content of an open file and closes it.
func overwrite(f *os.File, write func(io.Writer) error) error {
	if err := f.Truncate(0); err != nil {
		return bare(err)
	}
	return fill(f, write)
}

// fill writes to a file and closes it.
func fill(f *os.File, write func(io.Writer) error) error {
	if err := write(f); err != nil {
		_ = f.Close() // the first error is the one to report
		return bare(err)
	}
	return bare(f.Close())
}

// resolve follows links to the file that a path stands for, which may not exist yet, or to a descriptor such as /dev/stdout.
func resolve(path string) string {
	for range 40 { // as many links as Linux follows
		if _, ok := descriptor(path); ok {
			break
		}
		folder, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			break
		}
		path = filepath.Join(folder, filepath.Base(path))
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if path = to; !filepath.IsAbs(to) {
			path = filepath.Join(folder, to)
		}
	}
	return path
}

// bare returns an error without the path, which the caller adds.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return l.Err
	}
	return err
}
