package scan

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"

	"github.com/kube-devops/kube-devops/agent/report"
	"github.com/kube-devops/kube-devops/rules"
)

// describe appends what the reports say of each violation of a pod beyond the verdict: the value, and in a manifest the line.
func (p *batched) describe(to []report.Detail, table *rules.Table, text, reduced []byte) []report.Detail {
	for i := range p.verdict.Violations {
		v := &p.verdict.Violations[i]
		detail := report.Detail{Detail: table.Detail(reduced, v)}
		if !p.Recorded && p.from.file != "" {
			detail.Line = p.lineOf(text, v.Path)
		}
		to = append(to, detail)
	}
	return to
}

// lineOf is the line on which a subject stands, given its path in the pod; that of the object where it is the pod itself, or
// cannot be found.
func (p *batched) lineOf(text []byte, path string) int {
	at, ok := offsetOf(text, path)
	if !ok {
		return p.Line
	}
	return p.Line + bytes.Count(text[:at], []byte{'\n'})
}

// offsetOf is the index of the first byte of what a path leads to: keys and indexes between dots. A dot in a key is written
// with a backslash before it.
func offsetOf(text []byte, path string) (int, bool) {
	if path == "" {
		return 0, false
	}
	at := gjson.Parse(unsafe.String(unsafe.SliceData(text), len(text)))
	for path != "" {
		var step string
		step, path = cutStep(path)
		if at = child(at, step); !at.Exists() {
			return 0, false
		}
	}
	// What was found is a part of the text, and nothing was copied.
	begin := uintptr(unsafe.Pointer(unsafe.StringData(at.Raw))) - uintptr(unsafe.Pointer(unsafe.SliceData(text)))
	return int(begin), begin < uintptr(len(text))
}

// cutStep is the first key or index of a path, and the rest.
func cutStep(path string) (step, rest string) {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path):
			i++
			b.WriteByte(path[i])
		case c == '.':
			return b.String(), path[i+1:]
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// child is an element of an object or array.
func child(of gjson.Result, step string) (found gjson.Result) {
	n, array := 0, of.IsArray()
	if !array && !of.IsObject() {
		return found
	}
	of.ForEach(func(key, value gjson.Result) bool {
		if !array && key.Str == step || array && isIndex(step, n) {
			found = value
		}
		n++
		return !found.Exists()
	})
	return found
}

func isIndex(step string, n int) bool {
	at := 0
	for _, c := range []byte(step) {
		if c < '0' || c > '9' || at > n {
			return false
		}
		at = at*10 + int(c-'0')
	}
	return step != "" && at == n
}

// details are what the reports say of violations, each list once: pods of one workload share theirs.
type details struct {
	known map[string]*[]report.Detail
	key   []byte
}

// of are the details of a pod; nil where nothing is known.
func (d *details) of(p *batched) *[]report.Detail {
	if !slices.ContainsFunc(p.details, func(detail report.Detail) bool { return detail != (report.Detail{}) }) {
		return nil
	}
	if !p.Recorded { // another one stands on other lines
		return kept(p.details)
	}
	d.key = d.key[:0]
	for _, detail := range p.details {
		d.key = binary.AppendUvarint(d.key, uint64(len(detail.Value)))
		d.key = strconv.AppendBool(append(d.key, detail.Value...), detail.Withheld)
	}
	if known, ok := d.known[string(d.key)]; ok {
		return known
	}
	if d.known == nil {
		d.known = make(map[string]*[]report.Detail)
	}
	own := kept(p.details)
	d.known[string(d.key)] = own
	return own
}

// kept is a copy that no batch has a part in.
func kept(of []report.Detail) *[]report.Detail {
	own := slices.Clone(of)
	for i := range own {
		own[i].Value = strings.Clone(own[i].Value)
	}
	return &own
}
