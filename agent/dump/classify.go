package dump

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// A FileClass is what a file turns out to be that lies in a folder and cannot be read as manifests or a recording.
type FileClass uint8

const (
	// NotManifest is a file of something else: it does not have both an apiVersion and a kind.
	NotManifest FileClass = iota
	// Template is a file in which there are actions of a template: {{.
	Template
	// Empty is a file in which there is nothing, or comments alone.
	Empty
	// Broken is a manifest, or a recording, that cannot be read.
	Broken
)

// ClassifyFile looks at a regular file that Read has failed on. It reads the file by lines, however large it is.
func ClassifyFile(path string) (FileClass, error) {
	f, err := openFile(path)
	if err != nil {
		return Broken, &Error{Name: path, Offset: -1, Err: err}
	}
	defer func() { _ = f.Close() }() // it is only read
	text, err := Decompress(f)
	if err != nil {
		return Broken, &Error{Name: path, Offset: -1, Err: err}
	}
	var s markers
	if err := s.read(text); err != nil {
		return Broken, &Error{Name: path, Offset: -1, Err: err}
	}
	return s.class(), nil
}

// IsTooLarge reports whether an error says that an object is larger than any that can hold pods.
func IsTooLarge(err error) bool { return errors.Is(err, errTooLarge) }

// OtherKinds counts the documents of a file of YAML by their kinds, by the lines that begin with kind. It is false where one
// of them may hold pods, or where there is none.
func OtherKinds(path string) (map[string]int, bool) {
	f, err := openFile(path)
	if err != nil {
		return nil, false
	}
	defer func() { _ = f.Close() }() // it is only read
	text, err := Decompress(f)
	if err != nil {
		return nil, false
	}
	s := markers{kinds: make(map[string]int)}
	if err := s.read(text); err != nil || s.json || s.items || len(s.kinds) == 0 {
		return nil, false
	}
	for kind := range s.kinds {
		if kind == "" || kind == "Pod" || workloads[kind] || strings.HasSuffix(kind, "List") {
			return nil, false
		}
	}
	return s.kinds, true
}

// markers are what tells the class of a text.
type markers struct {
	some             bool           // there is more than comments
	json             bool           // it begins as JSON does
	action           bool           // of a template
	apiVersion, kind bool           // at the start of a line; anywhere in JSON
	kinds            map[string]int // of the lines that begin with kind; nil where that is not asked
	items            bool           // at the start of a line: kubectl prints the kind of a list behind them, where a cut takes it off
}

func (s *markers) class() FileClass {
	switch {
	case !s.some:
		return Empty
	case s.action:
		return Template
	case s.apiVersion && (s.kind || s.items && !s.json):
		return Broken
	}
	return NotManifest
}

func (s *markers) read(from io.Reader) error {
	text := bufio.NewReaderSize(from, 64<<10)
	var before []byte // the end of what was read, in which a word may begin
	atStart := true
	for {
		part, err := text.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return err
		}
		if atStart {
			s.line(part)
		}
		before = append(before, part...)
		s.words(before)
		if errors.Is(err, io.EOF) {
			return nil
		}
		atStart = err == nil
		before = before[:copy(before, before[max(0, len(before)-len(`"apiVersion"`)):])]
	}
}

// line looks at the start of a line.
func (s *markers) line(line []byte) {
	if isBlank(line) {
		return
	}
	if !s.some {
		s.some = true
		s.json = line[0] == '{' || line[0] == '['
	}
	s.apiVersion = s.apiVersion || bytes.HasPrefix(line, []byte("apiVersion:"))
	if kind, ok := bytes.CutPrefix(line, []byte("kind:")); ok {
		s.kind = true
		if s.kinds != nil && len(s.kinds) < 256 {
			s.kinds[strings.Trim(string(kind), " \t\r\n\"'")]++
		}
	}
	s.items = s.items || bytes.HasPrefix(line, []byte("items:"))
}

// words looks for what may stand anywhere.
func (s *markers) words(text []byte) {
	s.action = s.action || bytes.Contains(text, []byte(action))
	if s.json {
		s.apiVersion = s.apiVersion || bytes.Contains(text, []byte(`"apiVersion"`))
		s.kind = s.kind || bytes.Contains(text, []byte(`"kind"`))
	}
}
