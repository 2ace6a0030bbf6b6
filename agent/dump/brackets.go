package dump

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// maxDepth is how many levels an object may have, itself included. It equals the limit of package rules for a pod.
const maxDepth = 200

// bracketScanner finds the end of an object or array in a stream of bytes that comes in pieces of any size. It looks at strings
// and brackets only, and does not validate the JSON between them.
//
// It converts blocks of 64 bytes to bit masks with one bit a byte, as simdjson does (Langdale and Lemire, "Parsing gigabytes of
// JSON per second"), with 64-bit words instead of vectors. Strings and indentation, most of a dump, then cost no branches.
type bracketScanner struct {
	outside  int    // open brackets around the value, which count against maxDepth
	inString uint64 // all ones if the next byte is in a string, else zero
	escaped  uint64 // 1 if a backslash escapes the next byte
	depth    int
	braces   [maxDepth/64 + 1]uint64 // for each open bracket, by depth: 1 for a brace, 0 for a square bracket
}

// badBracket is a bracket that is not allowed, at an index of the argument of scan.
type badBracket struct {
	at  int
	why string
}

// scan takes the next bytes of the stream, which begins with the opening bracket. It returns the index after the closing bracket,
// or -1 if that is not in b.
func (n *bracketScanner) scan(b []byte) (int, *badBracket) {
	i := 0
	for ; len(b)-i >= 64; i += 64 {
		found := n.block((*[64]byte)(b[i:]), 64)
		if found == 0 {
			continue
		}
		if end, bad := n.count(b, i, found); end >= 0 || bad != nil {
			return end, bad
		}
	}
	if i == len(b) {
		return -1, nil
	}
	last := spaces
	size := copy(last[:], b[i:])
	return n.count(b, i, n.block(&last, uint(size)))
}

// spaces is a block without quotes, brackets and backslashes.
var spaces = func() (b [64]byte) {
	for i := range b {
		b[i] = ' '
	}
	return b
}()

// count counts the brackets of the block at b[i], and returns what scan returns.
func (n *bracketScanner) count(b []byte, i int, found uint64) (int, *badBracket) {
	for ; found != 0; found &= found - 1 {
		at := i + bits.TrailingZeros64(found)
		c := b[at]
		brace := uint64(c) >> 5 & 1 // bit 5 is set in {} and not in []
		switch c {
		case '{', '[':
			if n.outside+n.depth == maxDepth {
				return -1, &badBracket{at, errTooDeep.Error()}
			}
			word, bit := &n.braces[n.depth>>6], n.depth&63
			*word = *word&^(1<<bit) | brace<<bit
			n.depth++
		case '}', ']':
			n.depth--
			if n.braces[n.depth>>6]>>(n.depth&63)&1 != brace {
				return -1, &badBracket{at, fmt.Sprintf("invalid JSON: mismatched bracket %q", c)}
			}
			if n.depth == 0 {
				return at + 1, nil
			}
		}
	}
	return -1, nil
}

const (
	each  = 0x0101010101010101
	low7  = 0x7f * each
	high1 = 0x80 * each
)

// block returns a bit for each bracket outside of strings, and for the few letters that classes mistakes for brackets. The block
// has size bytes of the stream, followed by spaces.
func (n *bracketScanner) block(b *[64]byte, size uint) uint64 {
	q0, k0, s0 := classes(binary.LittleEndian.Uint64(b[0:]))
	q1, k1, s1 := classes(binary.LittleEndian.Uint64(b[8:]))
	q2, k2, s2 := classes(binary.LittleEndian.Uint64(b[16:]))
	q3, k3, s3 := classes(binary.LittleEndian.Uint64(b[24:]))
	q4, k4, s4 := classes(binary.LittleEndian.Uint64(b[32:]))
	q5, k5, s5 := classes(binary.LittleEndian.Uint64(b[40:]))
	q6, k6, s6 := classes(binary.LittleEndian.Uint64(b[48:]))
	q7, k7, s7 := classes(binary.LittleEndian.Uint64(b[56:]))
	quotes := q0<<0 | q1<<8 | q2<<16 | q3<<24 | q4<<32 | q5<<40 | q6<<48 | q7<<56
	brackets := k0<<0 | k1<<8 | k2<<16 | k3<<24 | k4<<32 | k5<<40 | k6<<48 | k7<<56
	slashes := s0 | s1 | s2 | s3 | s4 | s5 | s6 | s7

	if slashes&high1|n.escaped != 0 {
		quotes &^= n.escapes(b, size)
	}
	s := quotes
	s ^= s << 1
	s ^= s << 2
	s ^= s << 4
	s ^= s << 8
	s ^= s << 16
	s ^= s << 32
	s ^= n.inString
	n.inString = uint64(int64(s) >> 63)
	return brackets &^ s
}

// classes returns a bit for each quote and for each bracket of eight bytes. The bytes []{} have all bits of 0x59 set; so have Y, y,
// _ and DEL, which valid JSON does not have outside of strings. The third result has a high bit set if there is a backslash, and
// rarely otherwise. Nothing carries from one byte into the next.
func classes(w uint64) (quotes, brackets, slashes uint64) {
	ascii := high1 &^ w
	quotes = gather((high1 - (w&low7 ^ '"'*each)) & ascii)
	brackets = gather((w&(0x59*each) + 0x27*each) & ascii)
	return quotes, brackets, high1 - (w&low7 ^ '\\'*each)
}

// escapes returns a bit for each byte that a backslash escapes: it follows an odd number of backslashes.
func (n *bracketScanner) escapes(b *[64]byte, size uint) uint64 {
	var slashes uint64
	for k := 0; k < 64; k += 8 {
		w := binary.LittleEndian.Uint64(b[k:])
		slashes |= gather((high1-(w&low7^'\\'*each))&^w&high1) << k
	}
	const even = 0x5555555555555555
	slashes &^= n.escaped
	follows := slashes<<1 | n.escaped
	oddStarts := slashes &^ even &^ follows
	// The sum carries through each run that starts at an odd index, and sets a bit after its end.
	evenRuns, carry := bits.Add64(oddStarts, slashes, 0)
	escaped := (even ^ evenRuns<<1) & follows
	if n.escaped = carry; size < 64 {
		n.escaped = escaped >> size & 1
	}
	return escaped
}

// gather returns the high bits of eight bytes as eight bits; all other bits of m are zero.
func gather(m uint64) uint64 { return m * 0x0002040810204081 >> 56 }
