package dump

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"gopkg.in/yaml.v3"
)

// TextAfterEnd is what text counts as behind the end of a document (a line ...) and before the next marker: kubectl does not
// read it, and it is left out.
const TextAfterEnd = "text behind ..."

// wholeDocument is how large a document of YAML may be, in bytes, before a list in it is taken apart by its lines. A
// smaller one is read as a whole, with anchors that reach from one item to another.
const wholeDocument = 256 << 10

// yamlReader is a reader of the JSON that a stream of YAML stands for: each document is an object, and of a large List
// each item is converted on its own, so that what it holds does not depend on the length of the list.
type yamlReader struct {
	lines      *bufio.Reader
	err        error // what lines ended with
	leftOut    func(*Error)
	countOther func(kind string)
	among      bool // lists are passed on, to be left out

	text   []byte // of the document or item that is being gathered
	faulty []byte // the text in which a fault is found
	place  position
	next   position // of the next line

	itemsEnd int   // where the line "items:" ends in text, of a document that may be a large list; 0: there is none
	start    int64 // the offset of the first line
	dash     int   // the column of the list's dashes; -1: not known yet
	inList   bool
	gathered itemBatch // of the list, and not written yet
	behind   bool      // the items of a list were all read, and what follows are its other keys
	ended    bool      // the document has ended, and the next marker has not come
	skipped  bool      // something stands there
	foreign  bool      // the document is too large, and not of Kubernetes: nothing is gathered of it
	items    int       // written of the list
	count    int       // objects so far

	plain fastYAML
	json  []byte
	given int
	base  int64 // offset of json[0] in all that was given
	marks []sourceMark
}

// position is where something stands in the YAML.
type position struct {
	offset int64
	line   int
}

// sourceMark says what the JSON from an offset on was made of.
type sourceMark struct {
	json int64
	position
}

// yamlReaders are used again, with the room that they have for text.
var yamlReaders = sync.Pool{New: func() any { return &yamlReader{lines: bufio.NewReaderSize(nil, 64<<10)} }}

// newYAMLReader takes a reader, which release gives back.
func newYAMLReader(r io.Reader, first position, leftOut func(*Error)) *yamlReader {
	y := yamlReaders.Get().(*yamlReader)
	y.lines.Reset(r)
	y.next, y.place, y.start, y.dash, y.leftOut = first, first, first.offset, -1, leftOut
	return y
}

func (y *yamlReader) release() {
	const most = 1 << 20
	if cap(y.text)+cap(y.json)+cap(y.plain.json) > most || len(y.gathered.all) > 0 {
		return
	}
	y.lines.Reset(nil)
	*y = yamlReader{lines: y.lines, text: y.text[:0], json: y.json[:0], marks: y.marks[:0],
		plain: fastYAML{keys: y.plain.keys[:0], items: y.plain.items[:0], scratch: y.plain.scratch[:0]}}
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

// placeOf is where the object stands that an offset of the JSON is in.
func (y *yamlReader) placeOf(offset int64) position {
	i := sort.Search(len(y.marks), func(i int) bool { return y.marks[i].json > offset }) - 1
	if i < 0 {
		if len(y.marks) == 0 {
			return y.place
		}
		return y.marks[0].position
	}
	return y.marks[i].position
}

// mark notes that what is written next comes from a place.
func (y *yamlReader) mark(at position) { y.markAt(len(y.json), at) }

// markAt notes that the JSON from an index on comes from a place.
func (y *yamlReader) markAt(i int, at position) {
	// The window over the JSON is at most maxItem and a byte: nobody asks for what is further back.
	json := y.base + int64(i)
	if old := sort.Search(len(y.marks), func(i int) bool { return y.marks[i].json >= json-2*maxItem }); old > len(y.marks)/2 && old > 1024 {
		y.marks = append(y.marks[:0], y.marks[old-1:]...)
	}
	for len(y.marks) > 0 && y.marks[len(y.marks)-1].json >= json { // of what was given up
		y.marks = y.marks[:len(y.marks)-1]
	}
	y.marks = append(y.marks, sourceMark{json, at})
}

// fill reads lines until there is JSON to give, or an end.
func (y *yamlReader) fill() {
	for len(y.json) == 0 && y.err == nil {
		line, err := y.line()
		if err != nil {
			y.err = err
			if errors.Is(err, io.EOF) {
				y.endDocument()
			} else if err := y.writeItems(); err != nil { // what came before
				y.err = err
			}
			return
		}
		if err := y.take(line); err != nil && y.err == nil {
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

// take adds a line to what is gathered, or ends that with it.
func (y *yamlReader) take(line []byte) error {
	at := y.next
	y.next = position{at.offset + int64(len(line)), at.line + 1}
	if text, ok := bytes.CutPrefix(line, byteOrderMark); ok && (startsDocument(text, "---") || y.isAtStart()) {
		at.offset += int64(len(byteOrderMark)) // of a file behind another one
		line = text
		if !startsDocument(text, "---") {
			y.text, y.place = y.text[:0], at
		}
	}
	switch {
	case bytes.HasPrefix(line, []byte("---")):
		y.endDocument()
		y.place, y.ended, y.skipped = at, false, false
		if rest := bytes.TrimSpace(line[3:]); len(rest) > 0 && (rest[0] != '#' || line[3] == '#' && at.offset == y.start) {
			y.count++
			if oddBreaks.Match(line) {
				return y.errorAt(1, errOddBreak)
			}
			return y.errorAt(1, errors.New("text on the line of the document marker ---, which kubectl does not read: put it on the next line"))
		}
	case y.ended:
		y.skipLine(line)
		return nil
	case startsDocument(line, "..."):
		return y.endMarker(at)
	case y.inList && !y.behind:
		return y.listLine(line, at)
	case y.foreign && isOwnKey(line):
		return &Error{Item: y.count + 1, Offset: at.offset, Err: fmt.Errorf("line %d: %w", at.line, errTooLarge), placed: true}
	case y.foreign:
		return nil
	}
	y.text = append(y.text, line...)
	if y.itemsEnd == 0 && isItemsKey(line) {
		y.itemsEnd = len(y.text)
	} else if y.itemsEnd > 0 && y.dash < 0 && !isBlank(line) {
		if y.dash = dashOf(line); y.dash < 0 {
			y.itemsEnd = 0
		}
	}
	switch {
	case len(y.text) > wholeDocument && y.dash >= 0 && !y.inList:
		return y.beginList()
	case len(y.text) > maxItem && y.among && !y.hasOwnKey():
		y.foreign, y.text = true, y.text[:0]
	case len(y.text) > maxItem:
		return y.errorAt(1, errTooLarge)
	}
	return nil
}

// endMarker ends the document that was gathered. Kubectl takes no end without a beginning, which a marker is on the first
// line alone: it cuts the input at the others.
func (y *yamlReader) endMarker(at position) error {
	if began := y.place.offset == y.start && bytes.HasPrefix(y.text, []byte("---")); y.isAtStart() && !began {
		y.place, y.faulty = at, nil
		y.count++
		return y.errorAt(1, errors.New("invalid YAML: the end of a document (...) that has not begun: remove the line"))
	}
	y.endDocument()
	y.place, y.ended = y.next, true
	return nil
}

// skipLine passes over a line behind the end of a document, up to the next marker: kubectl does not read that. It counts
// as an object that was left out.
func (y *yamlReader) skipLine(line []byte) {
	if !isBlank(line) && !y.skipped {
		y.skipped = true
		y.countOther(TextAfterEnd)
	}
}

// hasOwnKey says that a key of Kubernetes is among those that were gathered of the document.
func (y *yamlReader) hasOwnKey() bool {
	for line := range bytes.Lines(y.text) {
		if isOwnKey(line) {
			return true
		}
	}
	return false
}

// isOwnKey says that a line begins with a key of Kubernetes, or with an object that may have one.
func isOwnKey(line []byte) bool {
	if len(line) > 0 && line[0] == '{' {
		return true
	}
	line = bytes.TrimLeft(line, `"'`)
	for _, key := range []string{"apiVersion", "kind", "metadata", "spec", "items"} {
		if rest, ok := bytes.CutPrefix(line, []byte(key)); ok && len(bytes.TrimLeft(rest, `"' `)) > 0 && bytes.TrimLeft(rest, `"' `)[0] == ':' {
			return true
		}
	}
	return false
}

// isAtStart says that nothing was gathered of the document yet but its marker.
func (y *yamlReader) isAtStart() bool {
	for line := range bytes.Lines(bytes.TrimPrefix(y.text, []byte("---"))) {
		if !isBlank(line) {
			return false
		}
	}
	return !y.inList
}

func startsDocument(line []byte, marker string) bool {
	return bytes.HasPrefix(line, []byte(marker)) && (len(line) == 3 || bytes.IndexByte([]byte(" \t\r\n"), line[3]) >= 0)
}

// isItemsKey says that a line is the key items of a document, with its value on the lines that follow.
func isItemsKey(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("items:"))
	return ok && isBlank(rest)
}

// isBlank says that a line has nothing, or a comment.
func isBlank(line []byte) bool {
	line = bytes.TrimLeft(line, " \t\r\n")
	return len(line) == 0 || line[0] == '#'
}

// dashOf is the column of the dash that a line begins with, -1 where it begins with something else.
func dashOf(line []byte) int {
	rest := bytes.TrimLeft(line, " ")
	if len(rest) == 0 || rest[0] != '-' || len(rest) > 1 && bytes.IndexByte([]byte(" \t\r\n"), rest[1]) < 0 {
		return -1
	}
	return len(line) - len(rest)
}

// beginList writes the keys that stand before the items of a large list, and turns to the items.
func (y *yamlReader) beginList() error {
	text, place := y.text, y.place
	y.inList, y.items = true, 0
	root, err := y.parse(text[:y.itemsEnd])
	if err != nil {
		return err
	}
	y.mark(place)
	y.json = append(y.json, '{')
	if root != nil && root.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(root.Content); i += 2 {
			if root.Content[i].Value == "items" {
				root.Content = append(root.Content[:i:i], root.Content[i+2:]...)
				break
			}
		}
		before := len(y.json)
		if y.json, err = appendMembers(y.json, root, false); err != nil {
			return y.explain(err)
		}
		if len(y.json) > before {
			y.json = append(y.json, ',')
		}
	}
	y.json = append(y.json, `"items":[`...)
	at := position{place.offset + int64(y.itemsEnd), place.line + bytes.Count(text[:y.itemsEnd], []byte{'\n'})}
	rest := bytes.Clone(text[y.itemsEnd:])
	y.text, y.place = y.text[:0], at
	for line := range bytes.Lines(rest) {
		if err := y.listLine(line, at); err != nil {
			return err
		}
		at = position{at.offset + int64(len(line)), at.line + 1}
	}
	return nil
}

// listLine takes one line among the items of a large list.
func (y *yamlReader) listLine(line []byte, at position) error {
	switch dash := dashOf(line); {
	case y.behind:
	case dash == y.dash:
		y.endItem()
		if y.gathered.enough() {
			if err := y.writeItems(); err != nil {
				return err
			}
		}
		y.place = at
	case !isBlank(line) && len(line)-len(bytes.TrimLeft(line, " ")) <= y.dash:
		y.endItem()
		if err := y.writeItems(); err != nil {
			return err
		}
		y.behind, y.place = true, at
		y.json = append(y.json, ']')
	}
	if y.text = append(y.text, line...); len(y.text) > maxItem {
		place := y.place
		if err := y.writeItems(); err != nil { // a fault before this one
			return err
		}
		y.text, y.place = y.text[:0], place
		y.count++
		return y.errorAt(1, errTooLarge)
	}
	return nil
}

// endItem ends the item that is being gathered.
func (y *yamlReader) endItem() {
	if len(bytes.TrimSpace(y.text)) > 0 {
		y.gathered.add(y.text, y.place)
	}
	y.text = y.text[:0]
}

// writeItems writes the items that were gathered, in their order.
func (y *yamlReader) writeItems() error {
	y.gathered.convert()
	for i := range y.gathered.all {
		if err := y.writeItem(&y.gathered.all[i]); err != nil {
			return err
		}
	}
	y.gathered.clear()
	return nil
}

func (y *yamlReader) writeItem(item *batchItem) error {
	y.count++
	if item.err != nil {
		y.text, y.faulty, y.place = item.text, item.text, item.place // where the fault is found
		err := y.skipError(y.explain(item.err))
		y.text = nil
		return err
	}
	if len(item.json) == 0 {
		return nil // comments before the first item
	}
	if y.items > 0 {
		y.json = append(y.json, ',')
	}
	y.mark(placeIn(item.text, item.place, item.line))
	y.json = append(y.json, item.json...)
	y.items++
	return nil
}

// endDocument writes the document that was gathered.
func (y *yamlReader) endDocument() {
	err := y.finish()
	if err != nil && y.err == nil || err != nil && errors.Is(y.err, io.EOF) {
		y.err = err
	}
	y.text, y.itemsEnd, y.dash, y.inList, y.behind, y.foreign = y.text[:0], 0, -1, false, false, false
}

func (y *yamlReader) finish() error {
	if y.foreign { // which an empty object stands for
		y.count++
		y.mark(y.place)
		y.json = append(y.json, "{}\n"...)
		return nil
	}
	if y.inList && !y.behind {
		y.endItem()
		if err := y.writeItems(); err != nil {
			return err
		}
		y.json = append(y.json, "]}\n"...)
		return nil
	}
	text := y.text
	if !y.inList {
		if y.finishPlain() {
			return nil
		}
		y.count++
	}
	root, err := y.parse(text)
	if err == nil && root != nil && root.Kind != yaml.MappingNode && !(y.among && root.Kind == yaml.SequenceNode && !y.inList) {
		err = y.errorAt(root.Line, fmt.Errorf("a document that is %s, not an object: %s", yamlKind(root), record))
	}
	if y.inList {
		return y.endList(root, err)
	}
	if err != nil {
		return y.skipError(err)
	}
	if root == nil {
		y.count-- // comments alone
		return nil
	}
	before := len(y.json)
	y.mark(y.placeOfLine(root.Line))
	w := yamlWriter{json: y.json, start: before, items: itemsOf(root), element: y.markItems()}
	if err = w.value(root); err == nil {
		y.json = w.json
	} else {
		y.json = y.json[:before]
		return y.skipError(y.explain(err))
	}
	y.json = append(y.json, '\n')
	return nil
}

// finishPlain writes a document of plain YAML.
func (y *yamlReader) finishPlain() bool {
	before := len(y.json)
	if !y.plain.document(y.json, y.text) || len(y.plain.json)-before > maxItem {
		return false
	}
	if y.json = y.plain.json; len(y.json) == before {
		return true // there is nothing in it
	}
	y.count++
	y.markAt(before, y.placeOfLine(y.plain.breaks.first))
	for _, item := range y.plain.items {
		y.markAt(item.json, position{y.place.offset + int64(item.offset), y.place.line + item.line - 1})
	}
	y.json = append(y.json, '\n')
	return true
}

// itemsOf is the list of the items in a document; nil where there is none.
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

// markItems is what marks the items of a document, which come in the order of their lines: each line is looked for from the
// one before.
func (y *yamlReader) markItems() func(json []byte, item *yaml.Node) {
	at, text, line := y.place, y.text[:cap(y.text)], 1
	return func(json []byte, item *yaml.Node) {
		for ; line < item.Line; line++ {
			i := bytes.IndexByte(text, '\n')
			if i < 0 {
				break
			}
			text = text[i+1:]
			at = position{at.offset + int64(i) + 1, at.line + 1}
		}
		y.markAt(len(json), at)
	}
}

// endList writes the keys that stand behind the items of a large list.
func (y *yamlReader) endList(root *yaml.Node, err error) error {
	if err != nil {
		return err
	}
	if root != nil {
		y.mark(y.place)
		if y.json, err = appendMembers(y.json, root, true); err != nil {
			return y.explain(err)
		}
	}
	y.json = append(y.json, "}\n"...)
	return nil
}

func yamlKind(n *yaml.Node) string {
	switch resolved(n).Kind {
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a string or number"
	}
}

func appendMembers(to []byte, root *yaml.Node, more bool) ([]byte, error) {
	w := yamlWriter{json: to, start: len(to)}
	err := w.members(root, more)
	return w.json, err
}

// skipError passes over the fault of one document or item, where that is wanted.
func (y *yamlReader) skipError(err error) error {
	var e *Error
	if err == nil || y.leftOut == nil || !errors.As(err, &e) {
		return err
	}
	y.leftOut(e)
	return nil
}

func (y *yamlReader) parse(text []byte) (*yaml.Node, error) {
	y.text, y.faulty = text, text
	root, err := parseYAML(text)
	if err != nil {
		err = y.explain(err)
	}
	y.text = text[:0]
	return root, err
}

// explain makes a fault in what was gathered one in the input.
func (y *yamlReader) explain(err error) error {
	var at *nodeError
	if errors.As(err, &at) {
		return y.errorAt(at.line, at.err)
	}
	return y.errorAt(1, err)
}

// fault is an error at a line of what was gathered.
func (y *yamlReader) errorAt(line int, err error) error {
	if bytes.Contains(y.faulty, []byte(action)) && !errors.Is(err, errTooLarge) {
		err = fmt.Errorf("%w: the text holds {{ and is %w", err, ErrTemplate)
	}
	at := y.placeOfLine(line)
	return &Error{Item: y.count, Offset: at.offset, Err: fmt.Errorf("line %d: %w", at.line, err), placed: true}
}

// placeOfLine is where a line, 1-based, of what was gathered stands.
func (y *yamlReader) placeOfLine(line int) position {
	return placeIn(y.text[:cap(y.text)], y.place, line) // also when it was let go of
}

// placeIn is where a line, 1-based, of a text stands that begins at a place.
func placeIn(text []byte, at position, line int) position {
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
