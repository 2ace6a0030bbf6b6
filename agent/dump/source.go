package dump

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
)

// ReadPath is Read on a file, or on stdin where path is "-". Unlike Read it returns when ctx ends even while a read blocks,
// as on a pipe without a writer; a blocked read of stdin then leaves one goroutine behind until it returns.
func ReadPath(ctx context.Context, path string, stdin io.Reader, fn func(Event) error, options ...Option) (Stats, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if path == "-" {
		return Read(ctx, "stdin", interruptible(ctx, stdin), fn, options...)
	}
	f, err := openOrStop(ctx, path)
	if err != nil {
		return Stats{}, &Error{Name: path, Offset: -1, Err: err}
	}
	defer func() { _ = f.Close() }() // it is only read
	stop := context.AfterFunc(ctx, func() { _ = f.Close() })
	defer stop()
	return Read(ctx, path, f, fn, options...)
}

// interruptible reads r in a goroutine: a read of stdin cannot be interrupted, but a read of this pipe ends with ctx.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	reader, writer := io.Pipe()
	context.AfterFunc(ctx, func() { _ = reader.CloseWithError(context.Cause(ctx)) })
	go func() {
		// The struct hides WriteTo of *os.File, which would copy 32 KiB at a time.
		_, err := io.CopyBuffer(writer, struct{ io.Reader }{r}, make([]byte, firstBuffer))
		_ = writer.CloseWithError(err) // nil is io.EOF
	}()
	return reader
}

// CheckPath returns the error that ReadPath would return for a file that cannot be opened. It does not open pipes, whose
// writer would notice.
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

// openOrStop is openFile that returns when ctx ends: opening a named pipe blocks until it has a writer. One goroutine then
// waits for that and closes the file.
func openOrStop(ctx context.Context, path string) (*os.File, error) {
	if info, err := os.Stat(path); err != nil || info.Mode().IsRegular() {
		return openFile(path)
	}
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened)
	go func() {
		f, err := openFile(path)
		select {
		case done <- opened{f, err}:
		case <-ctx.Done():
			if err == nil {
				_ = f.Close() // nothing was read or written
			}
		}
	}()
	select {
	case o := <-done:
		return o.f, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func openFile(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = errors.New("is a directory: specify a file in it")
	}
	if err != nil {
		_ = f.Close() // the first error is the one to return
		return nil, withoutPath(err)
	}
	return f, nil
}

// withoutPath removes the path from an error: an Error already has it.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
