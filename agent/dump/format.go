package dump

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// open looks at the first bytes, and takes off what the JSON may be wrapped in.
func (in *input) open() error {
	if err := in.look(4); err != nil {
		return err
	}
	if in.starts("\x1f\x8b") {
		packed := io.MultiReader(bytes.NewReader(in.buf[:in.end]), &rest{in.r, in.err})
		unpacked, err := gzip.NewReader(bufio.NewReaderSize(packed, 64<<10))
		if err != nil {
			return &Error{Offset: -1, Err: gzipFault(err)}
		}
		*in = *newInput(in.ctx, &gunzip{unpacked}, len(in.buf))
		if err := in.look(4); err != nil {
			return err
		}
	}
	if in.starts("\xef\xbb\xbf") { // a byte order mark
		in.pos += 3
		in.keep = in.pos
	}
	return nil
}

// look reads until so many bytes can be seen from here on, or the recording ends.
func (in *input) look(bytes int) error {
	for in.end-in.pos < bytes {
		err := in.more()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (in *input) starts(prefix string) bool {
	return bytes.HasPrefix(in.buf[in.pos:in.end], []byte(prefix))
}

// rest is a reader that may have ended already.
type rest struct {
	r   io.Reader
	err error
}

func (r *rest) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	return r.r.Read(p)
}

// gunzip says in its errors what is wrong with the file.
type gunzip struct{ z *gzip.Reader }

func (g *gunzip) Read(p []byte) (int, error) {
	n, err := g.z.Read(p)
	return n, gzipFault(err)
}

func gzipFault(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the gzip data is truncated: record it again")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return fmt.Errorf("the gzip data is damaged: %w", err)
	}
	return err
}

// notAnObject says what a recording is, which does not start with an object.
func (in *input) notAnObject() error {
	// What can be seen is enough to guess; a reader that fails now has nothing to add.
	_ = in.look(20)
	at := in.offset(in.pos)
	for _, kind := range []struct{ start, what string }{
		{"apiVersion:", yaml}, {"kind:", yaml}, {"items:", yaml}, {"metadata:", yaml}, {"---", yaml}, {"- ", yaml}, {"#", yaml}, {"%YAML", yaml},
		{"NAME", "the table that kubectl prints without -o, not JSON: " + record},
		{"No resources found", "it says that there are no pods: " + record},
		{"[", "a JSON array, not a List: " + record + ", or take it apart with `jq '.[]'`"},
		{"\"", "a JSON string, not an object: " + record},
		{"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it with `zstd -dc`"},
		{"\xff\xfe", "UTF-16, not UTF-8, which is what PowerShell's > writes: record it with `kubectl get pods -A -o json | Out-File -Encoding utf8`"},
	} {
		if in.starts(kind.start) {
			return fault(at, "%s", kind.what)
		}
	}
	c := in.buf[in.pos]
	if c < ' ' || c >= 0x7f {
		return fault(at, "not JSON but a binary file (byte 0x%02x): %s", c, record)
	}
	return fault(at, "not JSON (it starts with %q): %s", c, record)
}

const yaml = "YAML, not JSON: " + record
