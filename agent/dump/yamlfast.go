package dump

import (
	"bytes"
	"unicode/utf8"
	"unsafe"
)

// fastYAML converts the YAML that kubectl prints and most people write: block collections, scalars of one line, literals, and
// flow collections of one line. It makes one pass over the lines and builds no nodes, which takes a seventh of the time of the
// fastest library (sigs.k8s.io/yaml, goccy/go-yaml and yaml.v3 were measured). Methods return false for anything else, also for
// invalid YAML: parseYAML decides then. What it writes equals the output of yamlWriter byte for byte.
type fastYAML struct {
	text []byte
	json []byte

	// The current line, which is neither blank nor a comment.
	from, to int // its first byte that is not a space, and its end
	indent   int // the column of from; -1 at the end of the text
	line     int // 1-based
	next     int // the start of the next line

	depth   int
	keys    []span // the keys of the open mappings, in json
	scratch []byte
	breaks  lineBreaks
	items   []itemMark // the elements of the root's items
}

// itemMark is the place of an element of the root's items, in the JSON and in the text.
type itemMark struct{ json, offset, line int }

const (
	fastDepth     = 100 // deeper YAML is left to parseYAML
	fastKeyLength = 900 // YAML limits a key on one line to 1024 characters
	manyKeys      = 24  // from here on a map finds duplicate keys
	noParent      = -1
)

// lineBreaks copies the line breaks of the YAML to the JSON, so that lines can be counted in it. The first node is on line first.
type lineBreaks struct{ first, line int }

// to appends the line breaks up to the line of a node. The target of an alias may be on an earlier line, and gets none.
func (b *lineBreaks) to(json []byte, line int) []byte {
	if b.first == 0 {
		b.first, b.line = line, line
	}
	for ; b.line < line; b.line++ {
		json = append(json, '\n')
	}
	return json
}

// begin starts with another text, whose JSON is appended to json.
func (p *fastYAML) begin(json, text []byte) bool {
	p.text, p.json = text, json
	p.line, p.next, p.depth = 0, 0, 0
	p.keys, p.items, p.breaks = p.keys[:0], p.items[:0], lineBreaks{}
	return isPlainText(text)
}

// document appends the JSON of a document that is an object. It appends nothing if the document is empty or null.
func (p *fastYAML) document(to, text []byte) bool {
	if !p.begin(to, text) {
		return false
	}
	if bytes.HasPrefix(text, []byte("---")) { // take allows only a comment after it
		p.line = 1
		if p.next = bytes.IndexByte(text, '\n') + 1; p.next == 0 {
			return true
		}
	}
	if !p.advance() {
		return false
	}
	switch {
	case p.indent < 0:
		return true
	case p.text[p.from] == '%' || p.isDash(p.from):
		return false
	case p.isNull():
		return p.advance() && p.indent < 0
	case p.text[p.from] == '{':
		p.json = p.breaks.to(p.json, p.line)
		return p.flowValue(p.from, noParent)
	}
	return p.mapping(p.indent, true) && p.indent < 0
}

func (p *fastYAML) isNull() bool {
	word := string(bytes.TrimRight(p.text[p.from:p.to], " "))
	return word == "null" || word == "~"
}

// item appends the JSON of the one element of a list.
func (p *fastYAML) item(to, text []byte) bool {
	return p.begin(to, text) && p.advance() && p.indent >= 0 && p.isDash(p.from) && p.element(p.indent, false) && p.indent < 0
}

// advance goes to the next line that is neither blank nor a comment.
func (p *fastYAML) advance() bool {
	text := p.text
	for p.next < len(text) {
		start, end := p.next, len(text)
		if i := bytes.IndexByte(text[start:], '\n'); i >= 0 {
			end = start + i
		}
		p.next = min(end+1, len(text))
		p.line++
		if end > start && text[end-1] == '\r' {
			end--
		}
		i := start
		for i < end && text[i] == ' ' {
			i++
		}
		if i == end || text[i] == '#' {
			continue
		}
		p.from, p.to, p.indent = i, end, i-start
		return text[i] != '\t'
	}
	p.from, p.to, p.indent = len(text), len(text), -1
	return true
}

func (p *fastYAML) isDash(i int) bool {
	return p.text[i] == '-' && (i+1 == p.to || p.text[i+1] == ' ')
}

// spaces skips spaces.
func (p *fastYAML) spaces(i int) int {
	for i < p.to && p.text[i] == ' ' {
		i++
	}
	return i
}

// isEnd reports whether the line has only a comment from an index on, which follows a space.
func (p *fastYAML) isEnd(i int) bool { return i == p.to || p.text[i] == '#' && p.text[i-1] == ' ' }

// block writes the mapping or sequence that begins on the line.
func (p *fastYAML) block() bool {
	if p.isDash(p.from) {
		return p.sequence(p.indent, false)
	}
	return p.mapping(p.indent, false)
}

// mapping writes the mapping whose first key is at a column of the line.
func (p *fastYAML) mapping(indent int, root bool) bool {
	if p.depth++; p.depth > fastDepth {
		return false
	}
	p.json = append(p.breaks.to(p.json, p.line), '{')
	own := keySet{first: len(p.keys)}
	for {
		p.json = p.breaks.to(p.json, p.line)
		at := len(p.json)
		behind, ok := p.key(p.from, false)
		if !ok || !own.add(p, span{at, len(p.json)}) {
			return false
		}
		if !p.member(behind, indent, root && string(p.json[at:]) == `"items":`) {
			return false
		}
		if p.indent != indent {
			break
		}
		p.json = append(p.json, ',')
	}
	p.keys = p.keys[:own.first]
	p.json = append(p.json, '}')
	p.depth--
	return p.indent < indent
}

// member writes the value after a colon.
func (p *fastYAML) member(i, indent int, items bool) bool {
	if i = p.spaces(i); !p.isEnd(i) {
		if items && p.text[i] == '[' && !bytes.HasPrefix(p.text[i:], []byte("[]")) {
			return false // the positions of its items are not noted
		}
		return p.inline(i, indent)
	}
	if !p.advance() {
		return false
	}
	switch {
	case p.indent > indent && items && p.isDash(p.from), p.indent == indent && p.isDash(p.from):
		return p.sequence(p.indent, items)
	case p.indent > indent:
		return p.block()
	}
	p.json = append(p.json, "null"...)
	return true
}

// sequence writes the sequence whose first dash is at a column of the line.
func (p *fastYAML) sequence(indent int, items bool) bool {
	if p.depth++; p.depth > fastDepth {
		return false
	}
	p.json = append(p.breaks.to(p.json, p.line), '[')
	for {
		if !p.element(indent, items) {
			return false
		}
		if p.indent != indent || !p.isDash(p.from) {
			break
		}
		p.json = append(p.json, ',')
	}
	p.json = append(p.json, ']')
	p.depth--
	return p.indent <= indent
}

// element writes the value after a dash at a column.
func (p *fastYAML) element(indent int, items bool) bool {
	i, line := p.spaces(p.from+1), p.line
	if p.isEnd(i) {
		offset := p.from - p.indent
		if !p.advance() {
			return false
		}
		if p.indent > indent {
			p.note(items, p.from-p.indent, p.line)
			return p.block()
		}
		p.note(items, offset, line)
		p.json = append(p.breaks.to(p.json, line), "null"...)
		return true
	}
	p.note(items, p.from-p.indent, line)
	column := p.indent + i - p.from
	switch {
	case p.isDash(i):
		p.from, p.indent = i, column
		return p.sequence(column, false)
	case p.isKey(i):
		p.from, p.indent = i, column
		return p.mapping(column, false)
	}
	p.json = p.breaks.to(p.json, p.line)
	return p.inline(i, indent)
}

func (p *fastYAML) note(items bool, offset, line int) {
	if items {
		p.items = append(p.items, itemMark{len(p.json), offset, line})
	}
}

// keyEnd finds the end of a key before its colon. In a flow collection, the value may follow the colon of a quoted key without a
// space, as in JSON.
func (p *fastYAML) keyEnd(i int, flow bool) (end int, quoted, ok bool) {
	switch c := p.text[i]; {
	case c == '"' || c == '\'':
		if end, ok = p.closing(i); !ok {
			return 0, true, false
		}
		end++
		return end, true, end < p.to && p.text[end] == ':' && (flow || end+1 == p.to || p.text[end+1] == ' ')
	case !isWord[c] || c == '-' || c == ':' || c == '@' || c == '%':
		return 0, false, false
	}
	for end = i; end < p.to && isWord[p.text[end]]; end++ {
		if p.text[end] == ':' && (end+1 == p.to || p.text[end+1] == ' ') {
			return end, false, true
		}
	}
	return 0, false, false
}

func (p *fastYAML) isKey(i int) bool {
	_, _, ok := p.keyEnd(i, false)
	return ok
}

// key writes a key and its colon, and returns where its value may start.
func (p *fastYAML) key(i int, flow bool) (behind int, ok bool) {
	end, quoted, ok := p.keyEnd(i, flow)
	if !ok || end-i > fastKeyLength {
		return 0, false
	}
	if quoted {
		if !p.quoted(i, end-1) {
			return 0, false
		}
	} else {
		key := view(p.text[i:end])
		if !isText(key) {
			return 0, false // kubectl converts it to a string by rules of its own
		}
		p.json = append(append(append(p.json, '"'), key...), '"')
	}
	p.json = append(p.json, ':')
	return end + 1, true
}

// inline writes the value that begins on the line of its key or dash, and goes to the next line.
func (p *fastYAML) inline(i, parent int) bool {
	switch c := p.text[i]; c {
	case '"', '\'':
		end, ok := p.closing(i)
		return ok && p.quoted(i, end) && p.ends(end+1, parent)
	case '|':
		return p.literal(i, parent)
	case '[', '{':
		return p.flowValue(i, parent)
	case '?', ',', ']', '}', '#', '&', '*', '!', '>', '%', '@', '`', '\t':
		return false
	case '-', ':':
		if i+1 == p.to || p.text[i+1] == ' ' || p.text[i+1] == '\t' {
			return false
		}
	}
	end := i
	for ; end < p.to; end++ {
		switch c := p.text[end]; {
		case c == '\t', c == ':' && (end+1 == p.to || p.text[end+1] == ' ' || p.text[end+1] == '\t'):
			return false
		case c == '#' && p.text[end-1] == ' ':
			return p.plain(i, end) && p.goOn(parent)
		}
	}
	return p.plain(i, end) && p.goOn(parent)
}

// plain writes a scalar without quotes.
func (p *fastYAML) plain(i, end int) bool {
	for p.text[end-1] == ' ' {
		end--
	}
	scalar := view(p.text[i:end])
	if isText(scalar) {
		p.json = appendQuoted(p.json, scalar)
		return true
	}
	value := plainScalar(scalar)
	var err error
	p.json, err = appendValue(p.json, value)
	return err == nil
}

// ends goes to the next line, if only a comment follows the value that ends before an index.
func (p *fastYAML) ends(i, parent int) bool { return p.isEnd(p.spaces(i)) && p.goOn(parent) }

// goOn goes to the next line, which must not continue the value.
func (p *fastYAML) goOn(parent int) bool { return p.advance() && p.indent <= parent }

// closing finds the quote on the line that closes the one at an index.
func (p *fastYAML) closing(i int) (int, bool) {
	quote := p.text[i]
	for i++; i < p.to; i++ {
		switch c := p.text[i]; {
		case c == '\\' && quote == '"':
			i++
		case c == quote && quote == '\'' && i+1 < p.to && p.text[i+1] == quote:
			i++
		case c == quote:
			return i, true
		}
	}
	return 0, false
}

// quoted writes the scalar between two quotes.
func (p *fastYAML) quoted(i, end int) bool {
	raw := p.text[i+1 : end]
	p.scratch = p.scratch[:0]
	switch {
	case p.text[i] == '\'' && bytes.IndexByte(raw, '\'') >= 0:
		for k := 0; k < len(raw); k++ {
			p.scratch = append(p.scratch, raw[k])
			if raw[k] == '\'' {
				k++ // a pair of quotes, which closing has checked
			}
		}
		raw = p.scratch
	case p.text[i] == '"' && bytes.IndexByte(raw, '\\') >= 0:
		for k := 0; k < len(raw); k++ {
			c := raw[k]
			if c == '\\' {
				k++
				if c = unescaped[raw[k]]; c == 0 {
					return false
				}
			}
			p.scratch = append(p.scratch, c)
		}
		raw = p.scratch
	}
	p.json = appendQuoted(p.json, view(raw))
	return true
}

// unescaped are the escapes of one byte, by their letter.
var unescaped = [256]byte{'n': '\n', 't': '\t', 'r': '\r', '"': '"', '\\': '\\', '/': '/'}

// literal writes the text after a bar: the lines that are indented more than the parent.
func (p *fastYAML) literal(i, parent int) bool {
	i++
	strip := i < p.to && p.text[i] == '-'
	if strip {
		i++
	}
	if !p.isEnd(p.spaces(i)) || p.next == len(p.text) {
		return false
	}
	p.json = append(p.json, '"')
	indent, blank := 0, 0 // of the first line with text; blank lines since the last line with text
	for p.next < len(p.text) {
		start := p.next
		end := bytes.IndexByte(p.text[start:], '\n')
		if end < 0 {
			return false // the last line break counts
		}
		end += start
		after := end + 1
		if end > start && p.text[end-1] == '\r' {
			end--
		}
		at := start
		for at < end && p.text[at] == ' ' && (indent == 0 || at-start < indent) {
			at++
		}
		if at == end {
			if indent == 0 && at > start {
				return false
			}
			blank++
			p.next = after
			p.line++
			continue
		}
		if indent == 0 {
			if indent = at - start; indent <= parent || indent == 0 || p.text[at] == '\t' {
				return false
			}
		} else {
			if at-start < indent {
				break
			}
			p.json = append(p.json, `\n`...)
		}
		if len(bytes.TrimLeft(p.text[at:end], " \t")) == 0 {
			return false
		}
		for ; blank > 0; blank-- {
			p.json = append(p.json, `\n`...)
		}
		p.json = appendEscaped(p.json, view(p.text[at:end]))
		p.next = after
		p.line++
	}
	if indent == 0 {
		return false
	}
	if !strip {
		p.json = append(p.json, `\n`...)
	}
	p.json = append(p.json, '"')
	return p.goOn(parent)
}

// flowValue writes a flow collection of one line, and goes to the next line.
func (p *fastYAML) flowValue(i, parent int) bool {
	end, ok := p.flow(i)
	return ok && p.ends(end, parent)
}

// flow writes the flow collection at an index, and returns its end.
func (p *fastYAML) flow(i int) (int, bool) {
	if p.depth++; p.depth > fastDepth {
		return 0, false
	}
	opening := p.text[i]
	closing := opening + 2 // in ASCII, for both
	own := keySet{first: len(p.keys)}
	p.json = append(p.json, opening)
	i = p.spaces(i + 1)
	for first := true; i < p.to && p.text[i] != closing; first = false {
		if !first {
			if p.text[i] != ',' {
				return 0, false
			}
			p.json = append(p.json, ',')
			i = p.spaces(i + 1)
		}
		var ok bool
		if opening == '{' {
			if i, ok = p.flowKey(i, &own); !ok {
				return 0, false
			}
		}
		if i, ok = p.flowElement(i); !ok {
			return 0, false
		}
		i = p.spaces(i)
	}
	if i >= p.to {
		return 0, false
	}
	p.keys = p.keys[:own.first]
	p.json = append(p.json, closing)
	p.depth--
	return i + 1, true
}

func (p *fastYAML) flowKey(i int, own *keySet) (int, bool) {
	if i >= p.to {
		return 0, false
	}
	at := len(p.json)
	i, ok := p.key(i, true)
	if !ok || !own.add(p, span{at, len(p.json)}) {
		return 0, false
	}
	return p.spaces(i), true
}

func (p *fastYAML) flowElement(i int) (int, bool) {
	if i >= p.to {
		return 0, false
	}
	switch c := p.text[i]; {
	case c == '[' || c == '{':
		return p.flow(i)
	case c == '"' || c == '\'':
		end, ok := p.closing(i)
		return end + 1, ok && p.quoted(i, end)
	case !isWord[c] || c == ':' || c == '@' || c == '%' || c == '-':
		return 0, false
	}
	end := i
	for end < p.to && (isWord[p.text[end]] || p.text[end] == ' ') {
		if p.text[end] == ':' && (end+1 == p.to || !isWord[p.text[end+1]] || p.text[end+1] == ':') {
			return 0, false
		}
		end++
	}
	// Anything but the end of the element belongs to the scalar.
	if end == p.to || p.text[end] != ',' && p.text[end] != ']' && p.text[end] != '}' {
		return 0, false
	}
	return end, p.plain(i, end)
}

// isWord are the bytes that have no special meaning in plain keys and in plain scalars of flow collections. The first byte and
// colons need further checks.
var isWord = func() (is [256]bool) {
	for c := range 128 {
		is[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || bytes.IndexByte([]byte("_./-$@%+=:~()"), byte(c)) >= 0
	}
	return is
}()

// keySet finds duplicate keys in one mapping. Its keys are those of p.keys from first on.
type keySet struct {
	first int
	many  map[string]struct{}
}

func (s *keySet) add(p *fastYAML, key span) bool {
	name := p.json[key.start:key.end]
	if s.many == nil {
		for _, other := range p.keys[s.first:] {
			if string(p.json[other.start:other.end]) == string(name) {
				return false
			}
		}
		if p.keys = append(p.keys, key); len(p.keys)-s.first < manyKeys {
			return true
		}
		s.many = make(map[string]struct{})
		for _, other := range p.keys[s.first:] {
			s.many[string(p.json[other.start:other.end])] = struct{}{}
		}
		return true
	}
	if _, known := s.many[string(name)]; known {
		return false
	}
	s.many[string(name)] = struct{}{}
	return true
}

// isPlainText reports whether a text has only LF and CRLF as line breaks, and only characters that YAML allows.
func isPlainText(text []byte) bool {
	var all byte
	for i, c := range text {
		all |= c
		if c >= ' ' && c != 0x7f || c == '\n' || c == '\t' || c == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			continue
		}
		return false
	}
	if all < utf8.RuneSelf {
		return true
	}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff {
			return false
		}
		i += size
	}
	return true
}

// view returns a string that shares the memory of b.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
