package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// writeWhole writes a file as a whole or not at all: it is written beside its place, and moved there. A file that exists
// keeps its mode and its owner. What is no plain file, such as a pipe or an open file of another process, is written to
// as it stands.
//
// A file that cannot be replaced, such as one that is mounted on its own or lies in a folder that is read-only, is
// overwritten in place once the whole text is made. inPlace then says why.
func writeWhole(name string, write func(io.Writer) error) (inPlace, err error) {
	if _, _, open := openFileAt(name); open {
		return nil, writeTo(name, os.O_WRONLY|os.O_APPEND, write)
	}
	target := targetOf(name)
	old, err := os.Stat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = nil
	case err != nil:
		return nil, bare(err)
	case old.IsDir():
		return nil, errIsFolder
	case !old.Mode().IsRegular():
		return nil, writeTo(target, os.O_WRONLY, write)
	case !writable(target):
		// To replace it would be allowed, but whoever took the right to write to it meant it.
		return nil, fs.ErrPermission
	}
	text, err := createBeside(target)
	if err == nil {
		defer func() { _ = os.Remove(text.Name()) }() // it was moved, or is not wanted any more
		if err := fill(text, write); err != nil {
			return nil, err
		}
		if inPlace = replace(text.Name(), target, old); inPlace == nil || old == nil {
			return nil, inPlace
		}
	} else {
		if inPlace = bare(err); old == nil {
			return nil, inPlace
		}
		if text, err = os.CreateTemp("", "kube-devops-*"); err != nil {
			return inPlace, writeTo(target, os.O_WRONLY|os.O_TRUNC, write)
		}
		defer func() { _ = os.Remove(text.Name()) }() // it is copied below
		if err := fill(text, write); err != nil {
			return nil, err
		}
	}
	return inPlace, overwrite(target, text.Name())
}

var errIsFolder = errors.New("is a directory")

// targetOf is the file that a name leads to through all links, whether that is there yet or not.
func targetOf(name string) string {
	const links = 40 // as many as Linux follows
	for range links {
		if target, err := filepath.EvalSymlinks(name); err == nil {
			return target
		}
		to, err := os.Readlink(name)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(name), to)
		}
		name = to
	}
	return inRealFolder(name)
}

// writable reports whether a file can be written to, and leaves it as it is.
func writable(name string) bool {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return false
	}
	_ = f.Close() // nothing was written
	return true
}

// createBeside makes a file in the folder of another, with the permissions that any new file has. Its name is short,
// however long that of the other is.
func createBeside(target string) (*os.File, error) {
	for {
		name := filepath.Join(filepath.Dir(target), ".kube-devops-"+strings.ToLower(rand.Text()))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// fill writes to a file and closes it.
func fill(f *os.File, write func(io.Writer) error) error {
	if err := write(f); err != nil {
		_ = f.Close() // the first error is the one to report
		return bare(err)
	}
	return bare(f.Close())
}

// replace moves a file to the place of another, whose mode and owner it takes over; nil where there is no other.
func replace(name, target string, old fs.FileInfo) error {
	if old != nil {
		if err := takeOwner(name, old); err != nil {
			return fmt.Errorf("its owner cannot be kept: %w", bare(err))
		}
		if err := os.Chmod(name, old.Mode().Perm()); err != nil {
			return bare(err)
		}
	}
	return bare(os.Rename(name, target))
}

// overwrite copies the text of a file into another.
func overwrite(target, text string) error {
	from, err := os.Open(text)
	if err != nil {
		return bare(err)
	}
	defer func() { _ = from.Close() }() // it is only read
	return writeTo(target, os.O_WRONLY|os.O_TRUNC, func(to io.Writer) error {
		_, err := io.Copy(to, from)
		return err
	})
}

func writeTo(name string, how int, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, how, 0o666)
	if err != nil {
		return bare(err)
	}
	return fill(f, write)
}

// bare takes the path off an error, which names one already.
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
