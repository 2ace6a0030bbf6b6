package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeWhole writes a file as a whole or not at all: it is written beside its place, and moved there. What is no plain file,
// such as a pipe or an open file of another process, is written to as it stands.
func writeWhole(name string, write func(io.Writer) error) (err error) {
	if _, _, open := openFileAt(name); open {
		return writeTo(name, os.O_WRONLY|os.O_APPEND, write)
	}
	target, err := filepath.EvalSymlinks(name)
	if errors.Is(err, fs.ErrNotExist) {
		target, err = name, nil
	}
	if err != nil {
		return bare(err)
	}
	if info, err := os.Stat(target); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return errors.New("is a directory")
		}
		return writeTo(target, os.O_WRONLY, write)
	}
	beside, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".*")
	if err != nil {
		return bare(err)
	}
	// It was made for its name alone, and is made anew: with the permissions that any new file has.
	if err := errors.Join(beside.Close(), os.Remove(beside.Name())); err != nil {
		return bare(err)
	}
	if err := writeTo(beside.Name(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, write); err != nil {
		_ = os.Remove(beside.Name()) // the first error is the one to tell
		return err
	}
	if err := os.Rename(beside.Name(), target); err != nil {
		_ = os.Remove(beside.Name()) // as above
		return bare(err)
	}
	return nil
}

func writeTo(name string, how int, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, how, 0o666)
	if err != nil {
		return bare(err)
	}
	if err := write(f); err != nil {
		_ = f.Close() // the first error is the one to tell
		return bare(err)
	}
	return bare(f.Close())
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
