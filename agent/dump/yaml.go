package dump

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"sync"

	"gopkg.in/yaml.v3"
)

// TextAfterEnd is the kind under which Stats.Others counts text between the end of a document (...) and the next marker
// (---). kubectl ignores such text, and it is skipped.
const TextAfterEnd = "text behind ..."

// wholeDocument is the size up to which a document is converted as a whole. Of a larger List each item is converted on its
// own, and anchors cannot be used across items.
const wholeDocument = 256 << 10

// yamlReader converts a stream of YAML to JSON, one object for each document. The memory that it needs does not depend on the
// length of a List.
type yamlReader struct {
	lines      *bufio.Reader
	err        error // what lines ended with
	leftOut    func(*Error)
	countOther func(kind string)
	inFolder   bool // documents that are lists are passed on, for the reader to skip

	text  []byte   // the lines so far of the document or list item
	place position // of text
	next  position // of the next line
	start int64    // offset of the first line

	list      yamlList
	ended     bool // the document has ended, and the next marker has not come
	skipped   bool // there was text after the end
	unrelated bool // the document is too large and not a Kubernetes object: its text is dropped
	count     int  // objects so far

	fast  fastYAML
	json  []byte // to be read
	given int    // how much of json was read
	base  int64  // offset of json[0] in all JSON
	marks []sourceMark
}

// yamlList is the state of a document that may be a large List.
type yamlList struct {
	itemsEnd int // the end of the line "items:" in text; 0: none
	dash     int // the column of the dashes of the items; -1: not known yet
	active   bool
	batch    itemBatch // items to be converted
	after    bool      // all items were read, and other keys follow
	written  int       // items written
}

// position is a place in the YAML.
type position struct {
	offset int64
	line   int
}

// sourceMark says which place the JSON from an offset on was made from.
type sourceMark struct {
	json int64
	position
}

// yamlReaders keeps the buffers of readers: a scan may read thousands of small files.
var yamlReaders = sync.Pool{New: func() any { return &yamlReader{lines: bufio.NewReaderSize(nil, 64<<10)} }}

// newYAMLReader returns a reader, to be released after use.
func newYAMLReader(r io.Reader, first position, leftOut func(*Error)) *yamlReader {
	y := yamlReaders.Get().(*yamlReader)
	y.lines.Reset(r)
	y.next, y.place, y.start, y.list.dash, y.leftOut = first, first, first.offset, -1, leftOut
	return y
}

func (y *yamlReader) release() {
	const most = 1 << 20
	if cap(y.text)+cap(y.json)+cap(y.fast.json) > most || len(y.list.batch.all) > 0 {
		return
	}
	y.lines.Reset(nil)
	*y = yamlReader{lines: y.lines, text: y.text[:0], json: y.json[:0], marks: y.marks[:0],
		fast: fastYAML{keys: y.fast.keys[:0], items: y.fast.items[:0], scratch: y.fast.scratch[:0]}}
	yamlReaders.Put(y)
}

// Read implements io.Reader.
func (y *yamlReader) Read(p []byte) (int, error) {
	for y.given == len(y.json) {
		if y.err != nil {
			return 0, y.err
		}
		y.base += int64(len(y.json))
		y.json, y.given = y.json[:0], 0
		y.fill()
	}
	n := copy(p, y.json[y.given:])
	y.given += n
	return n, nil
}

// positionOf returns the place of the object that an offset of the JSON is in.
func (y *yamlReader) positionOf(offset int64) position {
	if len(y.marks) == 0 {
		return y.place
	}
	i := sort.Search(len(y.marks), func(i int) bool { return y.marks[i].json > offset })
	return y.marks[max(i-1, 0)].position
}

// mark notes that the JSON from an index on comes from a place.
func (y *yamlReader) mark(i int, at position) {
	// The window over the JSON has at most maxItem+1 bytes: older marks are not needed.
	json := y.base + int64(i)
	if old := sort.Search(len(y.marks), func(i int) bool { return y.marks[i].json >= json-2*maxItem }); old > len(y.marks)/2 && old > 1024 {
		y.marks = append(y.marks[:0], y.marks[old-1:]...)
	}
	for len(y.marks) > 0 && y.marks[len(y.marks)-1].json >= json { // of JSON that was discarded
		y.marks = y.marks[:len(y.marks)-1]
	}
	y.marks = append(y.marks, sourceMark{json, at})
}

// fill reads lines until there is JSON, an error or the end.
func (y *yamlReader) fill() {
	for len(y.json) == 0 && y.err == nil {
		line, err := y.line()
		if err == nil {
			err = y.take(line)
			if y.err == nil {
				y.err = err
			}
			continue
		}
		y.err = err
		if errors.Is(err, io.EOF) {
			y.endDocument()
		} else if err := y.writeItems(); err != nil { // an earlier error
			y.err = err
		}
	}
}

// line reads one line, with its break.
func (y *yamlReader) line() ([]byte, error) {
	line, err := y.lines.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		whole := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(whole) > maxItem {
				return nil, &Error{Offset: y.next.offset, Err: errTooLarge, placed: true}
			}
			line, err = y.lines.ReadSlice('\n')
			whole = append(whole, line...)
		}
		line = whole
	}
	if len(line) > 0 && errors.Is(err, io.EOF) {
		return line, nil
	}
	return line, err
}

// take adds a line to the document or ends the document.
func (y *yamlReader) take(line []byte) error {
	at := y.next
	y.next = position{at.offset + int64(len(line)), at.line + 1}
	if text, ok := bytes.CutPrefix(line, byteOrderMark); ok && (startsDocument(text, "---") || y.isAtStart()) {
		at.offset += int64(len(byteOrderMark)) // files were concatenated
		line = text
		if !startsDocument(text, "---") {
			y.text, y.place = y.text[:0], at
		}
	}
	switch {
	case bytes.HasPrefix(line, []byte("---")):
		if err := y.marker(line, at); err != nil {
			return err
		}
	case y.ended:
		if !isBlank(line) && !y.skipped {
			y.skipped = true
			y.countOther(TextAfterEnd)
		}
		return nil
	case startsDocument(line, "..."):
		return y.endMarker(at)
	case y.list.active && !y.list.after:
		return y.listLine(line, at)
	case y.unrelated && isOwnKey(line):
		return &Error{Item: y.count + 1, Offset: at.offset, Err: fmt.Errorf("line %d: %w", at.line, errTooLarge), placed: true}
	case y.unrelated:
		return nil
	}
	y.text = append(y.text, line...)
	if rest, ok := bytes.CutPrefix(line, []byte("items:")); ok && y.list.itemsEnd == 0 && isBlank(rest) {
		y.list.itemsEnd = len(y.text)
	} else if y.list.itemsEnd > 0 && y.list.dash < 0 && !isBlank(line) {
		if y.list.dash = dashOf(line); y.list.dash < 0 {
			y.list.itemsEnd = 0
		}
	}
	switch {
	case len(y.text) > wholeDocument && y.list.dash >= 0 && !y.list.active:
		return y.beginList()
	case len(y.text) > maxItem && y.inFolder && !y.hasOwnKey():
		y.unrelated, y.text = true, y.text[:0]
	case len(y.text) > maxItem:
		return y.errorAt(1, errTooLarge)
	}
	return nil
}

// marker begins a document. kubectl ignores the rest of the line; on the first line of the input, "---#" is not a marker to it.
func (y *yamlReader) marker(line []byte, at position) error {
	y.endDocument()
	y.place, y.ended, y.skipped = at, false, false
	rest := bytes.TrimSpace(line[3:])
	if len(rest) == 0 || rest[0] == '#' && (line[3] != '#' || at.offset != y.start) {
		return nil
	}
	y.count++
	if oddBreaks.Match(line) {
		return y.errorIn(line, at, errLineBreak)
	}
	return y.errorIn(line, at, errors.New("kubectl ignores text after the document marker (---): move it to the next line"))
}

// endMarker ends a document. kubectl does not accept an end without a beginning, and only a marker on the first line is a
// beginning to it.
func (y *yamlReader) endMarker(at position) error {
	if began := y.place.offset == y.start && bytes.HasPrefix(y.text, []byte("---")); y.isAtStart() && !began {
		y.place, y.text = at, y.text[:0]
		y.count++
		return y.errorAt(1, errors.New("invalid YAML: document end marker (...) without a document: remove the line"))
	}
	y.endDocument()
	y.place, y.ended = y.next, true
	return nil
}

// hasOwnKey reports whether the document so far has a key of Kubernetes objects.
func (y *yamlReader) hasOwnKey() bool {
	for line := range bytes.Lines(y.text) {
		if isOwnKey(line) {
			return true
		}
	}
	return false
}

// isOwnKey reports whether a line begins with a key of Kubernetes objects, or with an object that may have one.
func isOwnKey(line []byte) bool {
	if len(line) > 0 && line[0] == '{' {
		return true
	}
	line = bytes.TrimLeft(line, `"'`)
	return slices.ContainsFunc(ownKeys, func(key string) bool {
		rest, ok := bytes.CutPrefix(line, []byte(key))
		return ok && bytes.HasPrefix(bytes.TrimLeft(rest, `"' `), []byte{':'})
	})
}

// isAtStart reports whether the document has nothing but its marker and comments so far.
func (y *yamlReader) isAtStart() bool {
	for line := range bytes.Lines(bytes.TrimPrefix(y.text, []byte("---"))) {
		if !isBlank(line) {
			return false
		}
	}
	return !y.list.active
}

func startsDocument(line []byte, marker string) bool {
	return bytes.HasPrefix(line, []byte(marker)) && (len(line) == 3 || bytes.IndexByte([]byte(" \t\r\n"), line[3]) >= 0)
}

// isBlank reports whether a line is blank or a comment.
func isBlank(line []byte) bool {
	line = bytes.TrimLeft(line, " \t\r\n")
	return len(line) == 0 || line[0] == '#'
}

// dashOf returns the column of the dash that a line begins with, or -1.
func dashOf(line []byte) int {
	rest := bytes.TrimLeft(line, " ")
	if len(rest) == 0 || rest[0] != '-' || len(rest) > 1 && bytes.IndexByte([]byte(" \t\r\n"), rest[1]) < 0 {
		return -1
	}
	return len(line) - len(rest)
}

// beginList writes the keys before the items of a large list, and begins with the items.
func (y *yamlReader) beginList() error {
	head, at := y.text[:y.list.itemsEnd], y.place
	y.list.active, y.list.written = true, 0
	root, err := y.parse(head)
	if err != nil {
		return err
	}
	y.mark(len(y.json), at)
	y.json = append(y.json, '{')
	if root != nil && root.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(root.Content); i += 2 {
			if root.Content[i].Value == "items" {
				root.Content = slices.Delete(root.Content, i, i+2)
				break
			}
		}
		before := len(y.json)
		if err := y.writeMembers(root, false); err != nil {
			return err
		}
		if len(y.json) > before {
			y.json = append(y.json, ',')
		}
	}
	y.json = append(y.json, `"items":[`...)
	at = positionIn(y.text, at, lineAt(y.text, len(head)))
	rest := bytes.Clone(y.text[len(head):])
	y.text, y.place = y.text[:0], at
	for line := range bytes.Lines(rest) {
		if err := y.listLine(line, at); err != nil {
			return err
		}
		at = position{at.offset + int64(len(line)), at.line + 1}
	}
	return nil
}

// writeMembers writes the members of the root of y.text, after a comma if there are members before them.
func (y *yamlReader) writeMembers(root *yaml.Node, more bool) error {
	w := yamlWriter{json: y.json, start: len(y.json)}
	err := w.members(root, more)
	y.json = w.json
	return y.explain(err)
}

// listLine takes one line among the items of a large list.
func (y *yamlReader) listLine(line []byte, at position) error {
	switch dash := dashOf(line); {
	case y.list.after:
	case dash == y.list.dash:
		y.endItem()
		if y.list.batch.enough() {
			if err := y.writeItems(); err != nil {
				return err
			}
		}
		y.place = at
	case !isBlank(line) && len(line)-len(bytes.TrimLeft(line, " ")) <= y.list.dash:
		y.endItem()
		if err := y.writeItems(); err != nil {
			return err
		}
		y.list.after, y.place = true, at
		y.json = append(y.json, ']')
	}
	if y.text = append(y.text, line...); len(y.text) > maxItem {
		if err := y.writeItems(); err != nil { // an earlier error
			return err
		}
		y.count++
		return y.errorAt(1, errTooLarge)
	}
	return nil
}

// endItem adds the item to the batch.
func (y *yamlReader) endItem() {
	if len(bytes.TrimSpace(y.text)) > 0 {
		y.list.batch.add(y.text, y.place)
	}
	y.text = y.text[:0]
}

// writeItems writes the items of the batch, in their order.
func (y *yamlReader) writeItems() error {
	y.list.batch.convert()
	for i := range y.list.batch.all {
		item := &y.list.batch.all[i]
		y.count++
		if item.err != nil {
			if err := y.skipError(y.errorIn(item.text, item.place, item.err)); err != nil {
				return err
			}
			continue
		}
		if len(item.json) == 0 {
			continue // comments before the first item
		}
		if y.list.written > 0 {
			y.json = append(y.json, ',')
		}
		y.mark(len(y.json), positionIn(item.text, item.place, item.line))
		y.json = append(y.json, item.json...)
		y.list.written++
	}
	y.list.batch.clear()
	return nil
}

// endDocument writes the document.
func (y *yamlReader) endDocument() {
	if err := y.finish(); err != nil && (y.err == nil || errors.Is(y.err, io.EOF)) {
		y.err = err
	}
	y.text, y.unrelated = y.text[:0], false
	y.list = yamlList{dash: -1, batch: y.list.batch}
}

func (y *yamlReader) finish() error {
	switch {
	case y.unrelated: // an empty object stands for it
		y.count++
		y.mark(len(y.json), y.place)
		y.json = append(y.json, "{}\n"...)
		return nil
	case y.list.active && !y.list.after:
		y.endItem()
		if err := y.writeItems(); err != nil {
			return err
		}
		y.json = append(y.json, "]}\n"...)
		return nil
	case y.list.active:
		return y.endList()
	case y.finishFast():
		return nil
	}
	y.count++
	root, err := y.parseObject(y.inFolder)
	if err != nil {
		return y.skipError(err)
	}
	if root == nil {
		y.count--
		return nil
	}
	before := len(y.json)
	y.mark(before, y.positionOfLine(root.Line))
	w := yamlWriter{json: y.json, start: before, items: itemsOf(root), element: y.markItems()}
	if err := w.value(root); err != nil {
		return y.skipError(y.explain(err))
	}
	y.json = w.json
	y.json = append(y.json, '\n')
	return nil
}

// parseObject parses a document that must be an object, or may also be a list.
func (y *yamlReader) parseObject(orList bool) (*yaml.Node, error) {
	root, err := y.parse(y.text)
	if err != nil || root == nil || root.Kind == yaml.MappingNode || orList && root.Kind == yaml.SequenceNode {
		return root, err
	}
	kind := "a string or number"
	if resolved(root).Kind == yaml.SequenceNode {
		kind = "a list"
	}
	return nil, y.errorAt(root.Line, fmt.Errorf("a document must be an object, got %s: %s", kind, record))
}

// endList writes the keys after the items of a large list.
func (y *yamlReader) endList() error {
	root, err := y.parseObject(false)
	if err != nil {
		return err
	}
	if root != nil {
		y.mark(len(y.json), y.place)
		if err := y.writeMembers(root, true); err != nil {
			return err
		}
	}
	y.json = append(y.json, "}\n"...)
	return nil
}

// finishFast writes a document that the fast path can convert.
func (y *yamlReader) finishFast() bool {
	before := len(y.json)
	if !y.fast.document(y.json, y.text) || len(y.fast.json)-before > maxItem {
		return false
	}
	if y.json = y.fast.json; len(y.json) == before {
		return true // an empty document
	}
	y.count++
	y.mark(before, y.positionOfLine(y.fast.breaks.first))
	for _, item := range y.fast.items {
		y.mark(item.json, position{y.place.offset + int64(item.offset), y.place.line + item.line - 1})
	}
	y.json = append(y.json, '\n')
	return true
}

// itemsOf returns the list of the items of a document, or nil.
func itemsOf(root *yaml.Node) *yaml.Node {
	if root.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if items := resolved(root.Content[i+1]); root.Content[i].Value == "items" && items.Kind == yaml.SequenceNode {
			return items
		}
	}
	return nil
}

// markItems returns a function that marks the items of a document, which come in the order of their lines.
func (y *yamlReader) markItems() func(json []byte, item *yaml.Node) {
	at, text, line := y.place, y.text, 1
	return func(json []byte, item *yaml.Node) {
		if item.Line > line {
			from := at
			at = positionIn(text, from, item.Line-line+1)
			text, line = text[at.offset-from.offset:], item.Line
		}
		y.mark(len(json), at)
	}
}

// skipError passes the error of one document or item to leftOut, if KeepGoing is set.
func (y *yamlReader) skipError(err error) error {
	var e *Error
	if err == nil || y.leftOut == nil || !errors.As(err, &e) {
		return err
	}
	y.leftOut(e)
	return nil
}

func (y *yamlReader) parse(text []byte) (*yaml.Node, error) {
	root, err := parseYAML(text)
	return root, y.explain(err)
}

// explain converts an error in y.text to one in the input.
func (y *yamlReader) explain(err error) error {
	if err == nil {
		return nil
	}
	return y.errorIn(y.text, y.place, err)
}

// errorAt returns an error at a line of y.text.
func (y *yamlReader) errorAt(line int, err error) error { return y.explain(&nodeError{line, err}) }

// errorIn converts an error in a text at a place to one in the input.
func (y *yamlReader) errorIn(text []byte, place position, err error) error {
	line := 1
	var node *nodeError
	if errors.As(err, &node) {
		line, err = node.line, node.err
	}
	if bytes.Contains(text, []byte(action)) && !errors.Is(err, errTooLarge) {
		err = fmt.Errorf("%w (the text contains {{): %w", err, ErrTemplate)
	}
	at := positionIn(text, place, line)
	return &Error{Item: y.count, Offset: at.offset, Err: fmt.Errorf("line %d: %w", at.line, err), placed: true}
}

// positionOfLine returns the place of a 1-based line of y.text.
func (y *yamlReader) positionOfLine(line int) position { return positionIn(y.text, y.place, line) }

// positionIn returns the place of a 1-based line of a text at a place.
func positionIn(text []byte, at position, line int) position {
	for range line - 1 {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			break
		}
		text = text[i+1:]
		at.offset += int64(i) + 1
		at.line++
	}
	return at
}
