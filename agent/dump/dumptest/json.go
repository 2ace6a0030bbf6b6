package dumptest

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
)

// member is one key of an object and its value: a string, bool, int, object, list, or nil for null.
type member struct {
	key   string
	value any
}

// object is a JSON object. It prints with its keys sorted, whatever the order of its members, as kubectl prints.
type object []member

// list is a JSON array.
type list []any

// set adds a member. Keys are not looked up: who sets one twice prints it twice.
func (o *object) set(key string, value any) { *o = append(*o, member{key, value}) }

// appendIndented prints a value as encoding/json does with an indent of four spaces, which is how kubectl prints. The
// tests hold it to that; printing by hand is some twenty times faster, and the large benchmarks wait for it.
func appendIndented(b []byte, v any, depth int) []byte {
	switch v := v.(type) {
	case object:
		if len(v) == 0 {
			return append(b, "{}"...)
		}
		slices.SortFunc(v, func(a, c member) int { return cmp.Compare(a.key, c.key) })
		b = append(b, '{')
		for i, m := range v {
			b = appendNewline(b, i, depth+1)
			b = appendString(b, m.key)
			b = append(b, ": "...)
			b = appendIndented(b, m.value, depth+1)
		}
		return append(appendNewline(b, 0, depth), '}')
	case list:
		if len(v) == 0 {
			return append(b, "[]"...)
		}
		b = append(b, '[')
		for i, e := range v {
			b = appendNewline(b, i, depth+1)
			b = appendIndented(b, e, depth+1)
		}
		return append(appendNewline(b, 0, depth), ']')
	case string:
		return appendString(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case bool:
		return strconv.AppendBool(b, v)
	default:
		return append(b, "null"...)
	}
}

// appendNewline starts the line of element i, after the comma that ends the line before it.
func appendNewline(b []byte, i, depth int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	b = append(b, '\n')
	for range depth {
		b = append(b, "    "...)
	}
	return b
}

// appendString prints a string. Only the rare one that needs an escape goes through encoding/json.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			if err != nil {
				panic("dumptest: a string always encodes: " + err.Error())
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
