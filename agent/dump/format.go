package dump

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/klauspost/compress/zstd"
)

// byteOrderMark is what some editors begin a file of UTF-8 with.
var byteOrderMark = []byte("\xef\xbb\xbf")

// unpackers are what a recording may be packed with, by the bytes that it begins with.
var unpackers = map[string]func(io.Reader) (io.Reader, error){"\x1f\x8b": newGunzip, "\x28\xb5\x2f\xfd": newUnzstd}

// Unpacked is a reader of what another one has, without gzip, zstd or a byte order mark.
func Unpacked(r io.Reader) (io.Reader, error) {
	text := bufio.NewReader(r)
	for magic, open := range unpackers {
		// Where less can be read there is less to read: whoever reads it is told why.
		if start, _ := text.Peek(len(magic)); string(start) != magic {
			continue
		}
		unpacked, err := open(text)
		if err != nil {
			return nil, err
		}
		text = bufio.NewReader(unpacked)
		break
	}
	if start, _ := text.Peek(len(byteOrderMark)); bytes.Equal(start, byteOrderMark) {
		_, _ = text.Discard(len(byteOrderMark)) // they are there
	}
	return text, nil
}

// open looks at the first bytes, and takes off what the JSON may be wrapped in.
func (d *reader) open() error {
	in := d.in
	if err := in.look(4); err != nil {
		return err
	}
	for magic, open := range unpackers {
		if !in.starts(magic) {
			continue
		}
		packed := io.MultiReader(bytes.NewReader(in.buf[:in.end]), &rest{in.r, in.err})
		unpacked, err := open(packed)
		if err != nil {
			return &Error{Offset: -1, Err: err}
		}
		*in = *newInput(in.ctx, unpacked, len(in.buf))
		if err := in.look(4); err != nil {
			return err
		}
		break
	}
	if in.starts(string(byteOrderMark)) {
		in.pos += len(byteOrderMark)
		in.keep = in.pos
	}
	return d.openYAML()
}

// openYAML makes JSON of YAML, if that is what there is.
func (d *reader) openYAML() error {
	in := d.in
	c, err := in.next()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil || c == '{' {
		return err
	}
	// A live recording is not waited for longer than it takes to see one line.
	for !hasLine(in.buf[in.pos:in.end]) && in.end-in.pos < 4<<10 {
		if err := in.more(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	if !isYAML(in.buf[in.pos:in.end]) {
		return nil
	}
	in.countLines()
	first := yamlPlace{in.offset(in.pos), in.lines + 1}
	text := io.MultiReader(bytes.NewReader(bytes.Clone(in.buf[in.pos:in.end])), &rest{in.r, in.err})
	convert := newYAMLReader(text, first, d.leaveOut())
	convert.among = d.among
	*in = *newInput(in.ctx, convert, len(in.buf))
	in.convert = convert
	return nil
}

// leaveOut is what YAML calls for a document that it passes over; nil where the first fault ends the reading.
func (d *reader) leaveOut() func(*Error) {
	if d.leftOut == nil {
		return nil
	}
	return func(e *Error) {
		d.passed = true
		d.leftOut(&Error{Name: d.name, Item: e.Item, Offset: e.Offset, Err: e.Err})
	}
}

var yamlStart = regexp.MustCompile(`^(---([ \t\r\n]|$)|%YAML |- |["']?[A-Za-z_][-A-Za-z0-9_./]*["']?:([ \t\r\n]|$))`)

// hasLine says that there is a whole line that is no comment.
func hasLine(text []byte) bool {
	for line := range bytes.Lines(text) {
		if !isBlank(line) {
			return line[len(line)-1] == '\n'
		}
	}
	return false
}

// isYAML guesses from the first line that is no comment.
func isYAML(text []byte) bool {
	comment := false
	for line := range bytes.Lines(text) {
		if isBlank(line) {
			comment = true
			continue
		}
		return yamlStart.Match(line) || comment && (line[0] == '{' || line[0] == '[')
	}
	return comment
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

// unpacker says in its errors what is wrong with the file.
type unpacker struct {
	r     io.Reader
	fault func(error) error
}

func (u *unpacker) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	if err != nil {
		err = u.fault(err)
	}
	return n, err
}

func newGunzip(r io.Reader) (io.Reader, error) {
	z, err := gzip.NewReader(bufio.NewReaderSize(r, 64<<10))
	if err != nil {
		return nil, gzipFault(err)
	}
	return &unpacker{z, gzipFault}, nil
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

// maxWindow is how far back zstd data may reach, which is what must be kept of them: as far as zstd itself takes without
// being told.
const maxWindow = 128 << 20

func newUnzstd(r io.Reader) (io.Reader, error) {
	source := &remembering{r: r}
	// Of one goroutine alone, which is ours: there is nothing to close.
	z, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	fault := func(err error) error { return zstdFault(err, source.err) }
	if err != nil {
		return nil, fault(err)
	}
	return &unpacker{z, fault}, nil
}

// remembering keeps the error of a reader, so that it can be told from a fault of what was read.
type remembering struct {
	r   io.Reader
	err error
}

func (s *remembering) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func zstdFault(err, reading error) error {
	switch {
	case errors.Is(err, io.EOF):
		return err
	case reading != nil:
		return reading
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the zstd data is truncated: record it again")
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("the zstd data needs more than %d MiB to unpack: unpack it with `zstd -dc --long=31`", maxWindow>>20)
	}
	return fmt.Errorf("the zstd data is damaged: %w", err)
}

// isTemplate tells that no object begins here, but an action of a Go template.
func (in *input) isTemplate() bool {
	_ = in.look(2) // one brace at the end of the input is none
	return in.starts(action)
}

const action = "{{"

const (
	tarMagic = 257 // where it stands in the head of the first file
	utf32    = "UTF-32, not UTF-8: write it anew, as with `iconv -f UTF-32 -t UTF-8`"
)

// notAnObject says what a recording is, which does not start with an object.
func (in *input) notAnObject() error {
	// What can be seen is enough to guess; a reader that fails now has nothing to add.
	_ = in.look(tarMagic + len("ustar"))
	at := in.offset(in.pos)
	if head := in.buf[in.pos:in.end]; len(head) > tarMagic && bytes.HasPrefix(head[tarMagic:], []byte("ustar")) {
		return fault(at, "a tar archive: unpack it, and name the folder")
	}
	for _, kind := range []struct{ start, what string }{
		{action, "a template, not YAML: render it first, as with `helm template`"},
		{"NAME", "the table that kubectl prints without -o, not JSON: " + record},
		{"No resources found", "it says that there are no pods: " + record},
		{"[", "a JSON array, not a List: " + record + ", or take it apart with `jq '.[]'`"},
		{"\"", "a JSON string, not an object: " + record},
		{"PK\x03\x04", "a zip archive: unpack it, and name the folder"},
		{"BZh", "packed by bzip2, not by gzip or zstd: pipe it through `bzip2 -dc`"},
		{"\xfd7zXZ\x00", "packed by xz, not by gzip or zstd: pipe it through `xz -dc`"},
		{"\xff\xfe\x00\x00", utf32},
		{"\x00\x00\xfe\xff", utf32},
		{"\xfe\xff", "UTF-16, not UTF-8: write it anew, as with `iconv -f UTF-16 -t UTF-8`"},
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
