package dump

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// plainScan is nesting one byte at a time. A backslash outside of a string, which no JSON has, hides a quote there too.
func plainScan(b []byte) (end int, bad bool) {
	var open []byte
	inString, escaped := false, false
	for i, c := range b {
		hidden := escaped
		escaped = c == '\\' && !hidden
		switch {
		case c == '"':
			inString = inString != !hidden
		case inString:
		case c == '{' || c == '[':
			if open = append(open, c+2); len(open) > maxDepth {
				return i, true
			}
		case c == '}' || c == ']':
			if open[len(open)-1] != c {
				return i, true
			}
			if open = open[:len(open)-1]; len(open) == 0 {
				return i + 1, false
			}
		}
	}
	return -1, false
}

// scanPieces gives nesting the bytes in pieces.
func scanPieces(b []byte, sizes []int) (end int, bad bool) {
	var n bracketScanner
	for at, k := 0, 0; at < len(b); k++ {
		size := len(b) - at
		if len(sizes) > 0 {
			size = min(size, sizes[k%len(sizes)])
		}
		end, bad := n.scan(b[at : at+size])
		if bad != nil {
			return at + bad.at, true
		}
		if end >= 0 {
			return at + end, false
		}
		at += size
	}
	return -1, false
}

func TestBracketScannerEqualsPlainScan(t *testing.T) {
	// Bytes that share bits with those that matter, in every lane of a word, and long runs of backslashes; lone closing
	// brackets are few, as they end most inputs.
	pieces := rapid.SampledFrom([]string{
		"}", "]", "{}", "[]", "[{}]", `{"a":[]}`, `"`, `""`, `\`, `\\`, `\"`, `"a"`, `"{"`, `"]"`, `"\""`, `"\\"`, " ", "        ", "\n", ",", ":", "a", "Y", "y", "_",
		"\x7f", "\x00", "\x01", "\xdb", "\xdd", "\xfb", "\xfd", "\xa2", "\xdc", "\xff", "é", strings.Repeat(" ", 63), strings.Repeat(`\`, 64), strings.Repeat("x", 61),
		strings.Repeat("[", 30), strings.Repeat("]", 30),
	})
	brackets := rapid.SampledFrom([]string{"{}", "[]"})
	rapid.Check(t, func(t *rapid.T) {
		around := many(t, brackets, 1, 190, "around")
		b := []byte(strings.Join(many(t, pieces, 0, 80, "pieces"), ""))
		for _, pair := range around {
			b = append(append([]byte{pair[0]}, b...), pair[1])
		}
		sizes := rapid.SliceOfN(rapid.IntRange(1, 130), 0, 6).Draw(t, "sizes")
		end, bad := plainScan(b)
		if gotEnd, gotBad := scanPieces(b, sizes); gotEnd != end || gotBad != bad {
			t.Fatalf("%q in pieces of %v: end %d, bad %t; want %d, %t", b, sizes, gotEnd, gotBad, end, bad)
		}
	})
}

// many draws a slice whose length is spread evenly: rapid's own are short.
func many(t *rapid.T, of *rapid.Generator[string], least, most int, label string) []string {
	n := least + int(rapid.Uint16().Draw(t, label+" length")*40503)%(most-least+1)
	return rapid.SliceOfN(of, n, n).Draw(t, label)
}

func TestBracketScannerOfEveryByte(t *testing.T) {
	// Each byte value, in each place of a block, outside of a string and within one.
	for c := range 256 {
		for pad := range 70 {
			for _, format := range []string{"[%s%c]", `["%s%c"]`, `["%s\%c"]`} {
				b := []byte(fmt.Sprintf(strings.Replace(format, "%c", "%s", 1), strings.Repeat(" ", pad), string([]byte{byte(c)})))
				end, bad := plainScan(b)
				if gotEnd, gotBad := scanPieces(b, nil); gotEnd != end || gotBad != bad {
					t.Fatalf("%q: end %d, bad %t; want %d, %t", b, gotEnd, gotBad, end, bad)
				}
			}
		}
	}
}

func TestBracketScannerDepthLimit(t *testing.T) {
	for _, outside := range []int{0, 1, 150} {
		for _, depth := range []int{maxDepth - outside, maxDepth - outside + 1} {
			n := bracketScanner{outside: outside}
			b := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
			end, bad := n.scan(b)
			if fits := outside+depth <= maxDepth; fits != (bad == nil && end == len(b)) {
				t.Errorf("%d levels within %d: end %d, %+v", depth, outside, end, bad)
			}
		}
	}
}
