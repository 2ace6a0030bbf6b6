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

// decompressors are what a recording may be packed with, by the bytes that it begins with.
var decompressors = map[string]func(io.Reader) (io.Reader, error){"\x1f\x8b": newGunzip, "\x28\xb5\x2f\xfd": newUnzstd}

// Decompress is a reader of what another one has, without gzip, zstd or a byte order mark.
func Decompress(r io.Reader) (io.Reader, error) {
	text := bufio.NewReader(r)
	for magic, open := range decompressors {
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
	for magic, open := range decompressors {
		if !in.starts(magic) {
			continue
		}
		packed := io.MultiReader(bytes.NewReader(bytes.Clone(in.buf[:in.end])), &rest{in.r, in.err})
		unpacked, err := open(packed)
		if err != nil {
			return &Error{Offset: -1, Err: err}
		}
		in.reset(unpacked)
		if err := in.look(4); err != nil {
			return err
		}
		break
	}
	if in.starts(string(byteOrderMark)) {
		in.pos += len(byteOrderMark)
		in.keep = in.pos
	}
	if err := d.openUTF16(); err != nil {
		return err
	}
	return d.openYAML()
}

// openUTF16 decodes UTF-16 that says so by a byte order mark, as PowerShell's > writes it.
func (d *reader) openUTF16() error {
	in := d.in
	if in.starts("\xff\xfe\x00\x00") {
		return nil // UTF-32
	}
	endianness := unicode.LittleEndian
	switch head := in.buf[in.pos:in.end]; {
	case in.starts("\xfe\xff"):
		endianness = unicode.BigEndian
	case in.starts("\xff\xfe"):
	case len(head) >= 2 && (head[0] == 0) != (head[1] == 0) && !in.starts("\x00\x00\xfe\xff"):
		return errorAt(0, "UTF-16 without a byte order mark: write it anew, as with `iconv -f %s -t UTF-8`", map[bool]string{true: "UTF-16BE", false: "UTF-16LE"}[head[0] == 0])
	default:
		return nil
	}
	packed := io.MultiReader(bytes.NewReader(bytes.Clone(in.buf[:in.end])), &rest{in.r, in.err})
	in.reset(transform.NewReader(packed, unicode.UTF16(endianness, unicode.UseBOM).NewDecoder()))
	return nil
}

// openYAML makes JSON of what is neither JSON nor a file of another kind. The parser of YAML says what is wrong with it.
func (d *reader) openYAML() error {
	c, err := d.in.nextDocument(false)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil || c == '{' || c == '[' || c == '/' && d.among || d.in.other() != "" {
		return err
	}
	d.startYAML()
	return nil
}

// startYAML makes JSON of what follows, from what is kept on.
func (d *reader) startYAML() {
	in := d.in
	in.countLines()
	first := position{in.offset(in.keep), in.lines + 1}
	convert := newYAMLReader(io.MultiReader(bytes.NewReader(bytes.Clone(in.buf[in.keep:in.end])), &rest{in.r, in.err}), first, d.skipper())
	convert.among, convert.countOther, convert.count = d.among, d.countOther, d.count
	in.reset(convert)
	in.convert = convert
}

// errFlow says that a document that begins like JSON is YAML.
var errFlow = errors.New("YAML in flow style")

// isFlow reports whether a document at a place, one of the first two, is YAML in flow style and not JSON. Kubectl reads it
// so. The document must still be in the window.
func (d *reader) isFlow(start int64) bool {
	in := d.in
	if in.convert != nil || start < in.base || d.documents > 1 {
		return false
	}
	keep, pos := in.offset(in.keep), in.offset(in.pos)
	in.keep = int(start - in.base)
	end := in.restOfDocument()
	text := in.buf[in.keep:end]
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(new(json.RawMessage)); err == nil {
		in.keep, in.pos = int(keep-in.base), int(pos-in.base)
		return false // the fault is in what the JSON says; to parse it as YAML takes seconds
	}
	root, err := parseYAML(text)
	if err == nil && root != nil && root.Kind == yaml.MappingNode {
		if _, err = appendYAML(nil, root); err == nil {
			return true
		}
	}
	in.keep, in.pos = int(keep-in.base), int(pos-in.base)
	return false
}

// restOfDocument reads up to the next marker, as far as a document may be large, and returns its end in the window.
func (in *input) restOfDocument() int {
	marker := []byte("\n---")
	from := 0
	for {
		if i := bytes.Index(in.buf[in.keep+from:in.end], marker); i >= 0 {
			return in.keep + from + i + 1
		}
		from = max(0, in.end-in.keep-len(marker))
		if in.more() != nil { // whatever it is, the fault of the JSON is told
			return in.end
		}
	}
}

// leaveOut is what YAML calls for a document that it passes over; nil where the first fault ends the reading.
func (d *reader) skipper() func(*Error) {
	if d.leftOut == nil {
		return nil
	}
	return func(e *Error) {
		d.passed = true
		d.leftOut(&Error{Name: d.name, Item: e.Item, Offset: e.Offset, Err: e.Err})
	}
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

// decompressor says in its errors what is wrong with the file.
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

// maxWindow is how far back zstd data may reach, which is what must be kept of them: as far as zstd itself takes without
// being told.
const maxWindow = 128 << 20

func newUnzstd(r io.Reader) (io.Reader, error) {
	source := &errorRecorder{r: r}
	// Of one goroutine alone, which is ours: there is nothing to close.
	z, err := zstd.NewReader(source, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	explain := func(err error) error { return explainZstd(err, source.err) }
	if err != nil {
		return nil, explain(err)
	}
	return &decompressor{z, explain}, nil
}

// errorRecorder keeps the error of a reader, so that it can be told from a fault of what was read.
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

var (
	table = regexp.MustCompile(`^(NAME|NAMESPACE) +[A-Z]`)
	bzip2 = regexp.MustCompile(`^BZh[1-9]`)
)

// other says what a recording is, which is neither JSON nor YAML: empty where the parser of YAML must judge.
func (in *input) other() string {
	// What can be seen is enough to guess; a reader that fails now has nothing to add.
	_ = in.look(tarMagic + len("ustar"))
	head := in.buf[in.pos:in.end]
	switch {
	case len(head) > tarMagic && bytes.HasPrefix(head[tarMagic:], []byte("ustar")):
		return "a tar archive: unpack it, and name the folder"
	case table.Match(head):
		return "the table that kubectl prints without -o, not JSON: " + record
	case bzip2.Match(head):
		return "packed by bzip2, not by gzip or zstd: pipe it through `bzip2 -dc`"
	}
	for _, kind := range []struct{ start, what string }{
		{"No resources found", "the output of kubectl says that there are no pods: " + record},
		{"[", "a JSON array, not a List: " + record + ", or take it apart with `jq '.[]'`"},
		{"PK\x03\x04", "a zip archive: unpack it, and name the folder"},
		{"\xfd7zXZ\x00", "packed by xz, not by gzip or zstd: pipe it through `xz -dc`"},
		{"\xff\xfe\x00\x00", utf32},
		{"\x00\x00\xfe\xff", utf32},
	} {
		if in.starts(kind.start) {
			return kind.what
		}
	}
	if c := head[0]; c < ' ' || c == 0x7f || c >= utf8.RuneSelf && !startsUTF8(head) {
		return fmt.Sprintf("not JSON but a binary file (byte 0x%02x): %s", c, record)
	}
	return ""
}

// startsUTF8 says that some bytes begin with a character of UTF-8.
func startsUTF8(b []byte) bool {
	r, size := utf8.DecodeRune(b)
	return r != utf8.RuneError || size > 1
}

// notAnObject says what a recording is, which does not start with an object.
func (in *input) notAnObject() error {
	at := in.offset(in.pos)
	if in.isTemplate() {
		return errorAt(at, "%w", ErrTemplate)
	}
	what := in.other()
	if what == "" {
		what = fmt.Sprintf("not JSON (it starts with %q): %s", in.buf[in.pos], record)
	}
	return errorAt(at, "%s", what)
}
