package dump

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
	"gopkg.in/yaml.v3"
)

// byteOrderMark is what some editors begin a file of UTF-8 with.
var byteOrderMark = []byte("\xef\xbb\xbf")

// decompressors are the supported compressions, by the bytes that the input begins with.
var decompressors = map[string]func(io.Reader) (io.Reader, error){"\x1f\x8b": newGunzip, "\x28\xb5\x2f\xfd": newUnzstd}

// Decompress returns a reader that removes gzip or zstd compression and a byte order mark.
func Decompress(r io.Reader) (io.Reader, error) {
	text := bufio.NewReader(r)
	for magic, open := range decompressors {
		// A read error comes again when the returned reader is read.
		if start, _ := text.Peek(len(magic)); string(start) != magic {
			continue
		}
		plain, err := open(text)
		if err != nil {
			return nil, err
		}
		text = bufio.NewReader(plain)
		break
	}
	if start, _ := text.Peek(len(byteOrderMark)); bytes.Equal(start, byteOrderMark) {
		_, _ = text.Discard(len(byteOrderMark)) // they are buffered
	}
	return text, nil
}

// open decompresses the input, decodes UTF-16, and converts YAML.
func (d *reader) open() error {
	in := d.in
	if err := in.look(4); err != nil {
		return err
	}
	for magic, open := range decompressors {
		if !in.starts(magic) {
			continue
		}
		plain, err := open(in.unread(0))
		if err != nil {
			return &Error{Offset: -1, Err: err}
		}
		in.reset(plain)
		if err := in.look(4); err != nil {
			return err
		}
		break
	}
	if in.starts(string(byteOrderMark)) {
		in.pos += len(byteOrderMark)
		in.keep = in.pos
	}
	if err := in.decodeUTF16(); err != nil {
		return err
	}
	c, err := in.nextDocument(false)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil || c == '{' || c == '[' || c == '/' && d.inFolder || in.detect() != "" {
		return err
	}
	d.startYAML()
	return nil
}

// decodeUTF16 decodes UTF-16 with a byte order mark, as PowerShell's > writes it.
func (in *input) decodeUTF16() error {
	head := in.buf[in.pos:in.end]
	switch {
	case in.starts("\xff\xfe\x00\x00"), in.starts("\x00\x00\xfe\xff"): // UTF-32
	case in.starts("\xfe\xff"), in.starts("\xff\xfe"):
		in.reset(transform.NewReader(in.unread(0), unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder()))
	case len(head) >= 2 && (head[0] == 0) != (head[1] == 0):
		encoding := "UTF-16LE"
		if head[0] == 0 {
			encoding = "UTF-16BE"
		}
		return errorAt(0, "UTF-16 without a byte order mark: convert it with `iconv -f %s -t UTF-8`", encoding)
	}
	return nil
}

// startYAML converts the rest of the input, from keep on, to JSON.
func (d *reader) startYAML() {
	in := d.in
	in.countLines()
	first := position{in.offset(in.keep), in.lines + 1}
	convert := newYAMLReader(in.unread(in.keep), first, d.skipper())
	convert.inFolder, convert.countOther, convert.count = d.inFolder, d.countOther, d.count
	in.reset(convert)
	in.convert = convert
}

// unread returns a reader of the input from an index of the window on.
func (in *input) unread(from int) io.Reader {
	return io.MultiReader(bytes.NewReader(bytes.Clone(in.buf[from:in.end])), &rest{in.r, in.err})
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

// errFlow says that a document that begins like JSON is YAML.
var errFlow = errors.New("YAML in flow style")

// isFlow reports whether a document at an offset, one of the first two, is YAML in flow style instead of JSON, as kubectl
// would read it. The document must still be in the window.
func (d *reader) isFlow(start int64) bool {
	in := d.in
	if in.convert != nil || start < in.base || d.documents > 1 {
		return false
	}
	keep, pos := in.offset(in.keep), in.offset(in.pos)
	in.keep = int(start - in.base)
	text := in.restOfDocument()
	// Where the JSON is valid the error is elsewhere, and parsing it as YAML would take seconds.
	if json.NewDecoder(bytes.NewReader(text)).Decode(new(json.RawMessage)) != nil {
		root, err := parseYAML(text)
		if err == nil && root != nil && root.Kind == yaml.MappingNode && new(yamlWriter).value(root) == nil {
			return true
		}
	}
	in.keep, in.pos = int(keep-in.base), int(pos-in.base)
	return false
}

// restOfDocument returns what follows keep up to the next document marker, as far as the window can grow.
func (in *input) restOfDocument() []byte {
	marker := []byte("\n---")
	from := 0
	for {
		if i := bytes.Index(in.buf[in.keep+from:in.end], marker); i >= 0 {
			return in.buf[in.keep : in.keep+from+i+1]
		}
		from = max(0, in.end-in.keep-len(marker))
		if in.more() != nil { // the caller has an error already
			return in.buf[in.keep:in.end]
		}
	}
}

// skipper is what the YAML reader calls for a document that it skips; nil if the first error ends the reading.
func (d *reader) skipper() func(*Error) {
	if d.leftOut == nil {
		return nil
	}
	return func(e *Error) {
		d.passed = true
		d.leftOut(&Error{Name: d.name, Item: e.Item, Offset: e.Offset, Err: e.Err})
	}
}

// look reads until the window has so many bytes, or the input ends.
func (in *input) look(bytes int) error {
	for in.end-in.pos < bytes {
		if err := in.more(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (in *input) starts(prefix string) bool {
	return bytes.HasPrefix(in.buf[in.pos:in.end], []byte(prefix))
}

// decompressor explains the errors of a reader.
type decompressor struct {
	r       io.Reader
	explain func(error) error
}

func (u *decompressor) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	if err != nil {
		err = u.explain(err)
	}
	return n, err
}

func newGunzip(r io.Reader) (io.Reader, error) {
	z, err := gzip.NewReader(bufio.NewReaderSize(r, 64<<10))
	if err != nil {
		return nil, explainGzip(err)
	}
	return &decompressor{z, explainGzip}, nil
}

func explainGzip(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the gzip data is truncated: record it again")
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.As(err, &corrupt):
		return fmt.Errorf("the gzip data is damaged: %w", err)
	}
	return err
}

// maxWindow bounds the memory of zstd: it is the largest window that the zstd command accepts by default.
const maxWindow = 128 << 20

func newUnzstd(r io.Reader) (io.Reader, error) {
	source := &errorRecorder{r: r}
	// With a concurrency of 1 the decoder starts no goroutines and needs no Close.
	z, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	explain := func(err error) error { return explainZstd(err, source.err) }
	if err != nil {
		return nil, explain(err)
	}
	return &decompressor{z, explain}, nil
}

// errorRecorder keeps the error of a reader, to distinguish it from an error in the data.
type errorRecorder struct {
	r   io.Reader
	err error
}

func (s *errorRecorder) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func explainZstd(err, reading error) error {
	switch {
	case errors.Is(err, io.EOF):
		return err
	case reading != nil:
		return reading
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the zstd data is truncated: record it again")
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return fmt.Errorf("the zstd data needs more than %d MiB to decompress: decompress it with `zstd -dc --long=31`", maxWindow>>20)
	}
	return fmt.Errorf("the zstd data is damaged: %w", err)
}

// isTemplate reports whether the input continues with an action of a Go template instead of an object.
func (in *input) isTemplate() bool {
	_ = in.look(len(action)) // a single brace at the end is not an action
	return in.starts(action)
}

const action = "{{"

const (
	tarMagic = 257 // offset in the header of the first file
	utf32    = "UTF-32 is not supported: convert it with `iconv -f UTF-32 -t UTF-8`"
)

var (
	table = regexp.MustCompile(`^(NAME|NAMESPACE) +[A-Z]`)
	bzip2 = regexp.MustCompile(`^BZh[1-9]`)
)

// detect describes an input that is neither JSON nor YAML. It returns an empty text if the YAML parser must decide.
func (in *input) detect() string {
	// The beginning is enough for a guess; the caller sees a read error when it reads on.
	_ = in.look(tarMagic + len("ustar"))
	head := in.buf[in.pos:in.end]
	switch {
	case len(head) > tarMagic && bytes.HasPrefix(head[tarMagic:], []byte("ustar")):
		return "tar archives are not supported: extract it and scan the folder"
	case table.Match(head):
		return "this is the table that kubectl prints without -o: " + record
	case bzip2.Match(head):
		return "bzip2 is not supported: decompress it with `bzip2 -dc`"
	}
	for _, format := range []struct{ start, message string }{
		{"No resources found", "kubectl found no pods: " + record},
		{"[", "this is a JSON array, not a List: " + record + ", or split it with `jq '.[]'`"},
		{"PK\x03\x04", "zip archives are not supported: extract it and scan the folder"},
		{"\xfd7zXZ\x00", "xz is not supported: decompress it with `xz -dc`"},
		{"\xff\xfe\x00\x00", utf32},
		{"\x00\x00\xfe\xff", utf32},
	} {
		if in.starts(format.start) {
			return format.message
		}
	}
	r, size := utf8.DecodeRune(head)
	if c := head[0]; c < ' ' || c == 0x7f || r == utf8.RuneError && size == 1 {
		return fmt.Sprintf("this is a binary file (byte 0x%02x): %s", c, record)
	}
	return ""
}

// notAnObject is the error of an input that does not start with an object.
func (in *input) notAnObject() error {
	at := in.offset(in.pos)
	if in.isTemplate() {
		return errorAt(at, "%w", ErrTemplate)
	}
	what := in.detect()
	if what == "" {
		what = fmt.Sprintf("expected JSON, got %q: %s", in.buf[in.pos], record)
	}
	return errorAt(at, "%s", what)
}
