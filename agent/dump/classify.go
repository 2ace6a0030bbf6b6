package dump

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// FileClass is what a file in a folder is that cannot be read.
type FileClass uint8

const (
	// NotManifest is a file without both an apiVersion and a kind.
	NotManifest FileClass = iota
	// Template is a file with actions of a template: {{.
	Template
	// Empty is a file without anything but comments.
	Empty
	// Broken is a manifest or recording that cannot be read.
	Broken
)

// ClassifyFile classifies a regular file that Read failed on. It reads the file by lines, however large it is.
func ClassifyFile(path string) (FileClass, error) {
	m, err := readMarkers(path)
	switch {
	case err != nil:
		return Broken, &Error{Name: path, Offset: -1, Err: err}
	case !m.some:
		return Empty, nil
	case m.action:
		return Template, nil
	case m.apiVersion && (len(m.kinds) > 0 || m.items && !m.json):
		return Broken, nil
	}
	return NotManifest, nil
}

// IsTooLarge reports whether an error says that an object is larger than any that can have pods.
func IsTooLarge(err error) bool { return errors.Is(err, errTooLarge) }

// OtherKinds counts the documents of a YAML file by kind. It returns false if one of them may have pods, or if there is none.
func OtherKinds(path string) (map[string]int, bool) {
	m, err := readMarkers(path)
	if err != nil || m.json || m.items || len(m.kinds) == 0 {
		return nil, false
	}
	for kind := range m.kinds {
		if kind == "" || kind == "Pod" || workloads[kind] || strings.HasSuffix(kind, "List") {
			return nil, false
		}
	}
	return m.kinds, true
}

// markers are what the class of a file depends on.
type markers struct {
	some       bool // there is more than comments
	json       bool // it begins like JSON
	action     bool // of a template
	apiVersion bool // at the start of a line; in JSON, anywhere
	items      bool // at the start of a line: a truncated list does not have the kind, which kubectl prints last
	kinds      map[string]int
}

// readMarkers reads a file by lines. A line may be longer than the buffer.
func readMarkers(path string) (*markers, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it is only read
	plain, err := Decompress(f)
	if err != nil {
		return nil, err
	}
	m := markers{kinds: make(map[string]int)}
	text := bufio.NewReaderSize(plain, 64<<10)
	var before []byte // the end of the previous part, in which a word may begin
	atStart := true
	for {
		part, err := text.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if atStart && !isBlank(part) {
			m.line(part)
		}
		before = append(before, part...)
		m.action = m.action || bytes.Contains(before, []byte(action))
		if m.json {
			m.apiVersion = m.apiVersion || bytes.Contains(before, []byte(`"apiVersion"`))
			if bytes.Contains(before, []byte(`"kind"`)) {
				m.kinds[""]++
			}
		}
		if errors.Is(err, io.EOF) {
			return &m, nil
		}
		atStart = err == nil
		before = before[:copy(before, before[max(0, len(before)-len(`"apiVersion"`)):])]
	}
}

// line looks at the start of a line.
func (m *markers) line(line []byte) {
	if !m.some {
		m.some = true
		m.json = line[0] == '{' || line[0] == '['
	}
	m.apiVersion = m.apiVersion || bytes.HasPrefix(line, []byte("apiVersion:"))
	m.items = m.items || bytes.HasPrefix(line, []byte("items:"))
	if kind, ok := bytes.CutPrefix(line, []byte("kind:")); ok && len(m.kinds) < 256 {
		m.kinds[strings.Trim(string(kind), " \t\r\n\"'")]++
	}
}
