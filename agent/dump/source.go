package dump

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
)

// ReadPath is Read on a file, or on stdin where path is "-". Unlike Read it returns when ctx ends even though a read
// blocks, as on a pipe that nobody writes to; a read of stdin that blocks then keeps one goroutine until it returns.
func ReadPath(ctx context.Context, path string, stdin io.Reader, fn func(Event) error, options ...Option) (Stats, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if path == "-" {
		return Read(ctx, "stdin", newAsyncReader(ctx, stdin), fn, options...)
	}
	f, err := openOrStop(ctx, path)
	if err != nil {
		return Stats{}, &Error{Name: path, Offset: -1, Err: err}
	}
	// The file is only read: closing it loses nothing.
	defer func() { _ = f.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	defer stop()
	return Read(ctx, path, f, fn, options...)
}

// CheckPath tells early what ReadPath would say of a file that cannot be opened. It says nothing of "-", of no path, and
// of a pipe, from which its writer would be cut off.
func CheckPath(path string) error {
	if path == "" || path == "-" {
		return nil
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil
	}
	f, err := openFile(path)
	if err != nil {
		return &Error{Name: path, Offset: -1, Err: err}
	}
	_ = f.Close() // nothing was read or written
	return nil
}

// openOrStop is openFile that returns when ctx ends, as before a pipe that nobody writes to. That keeps one goroutine until
// somebody does.
func openOrStop(ctx context.Context, path string) (*os.File, error) {
	if info, err := os.Stat(path); err != nil || info.Mode().IsRegular() {
		return openFile(path)
	}
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := openFile(path)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		return o.f, o.err
	case <-ctx.Done():
		go func() {
			if o := <-done; o.err == nil {
				_ = o.f.Close() // nothing was read or written
			}
		}()
		return nil, context.Cause(ctx)
	}
}

func openFile(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("is a directory: name a file in it")
	}
	if err != nil {
		_ = f.Close() // the first error is the one to tell
		return nil, cause(err)
	}
	return f, nil
}

// cause takes the path off an error, which names it already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
